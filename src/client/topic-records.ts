import { Observable, type OperatorFunction } from 'rxjs'
import type { ConsumeRecord } from '../record.js'
import { type AskedStream, RecordIterator } from './record-iterator.js'

/**
 * The records of a topic, as an Observable and as an async iterable. Applying an operator gives an Observable only.
 *
 * The Observable emits records as they come, up to `maxInFlight` of each partition. The iterable gets one record when it asks
 * for it. Other records stay in Kafka: they are not in flight, and delay neither a rebalance nor a close.
 */
export class TopicRecords<R> extends Observable<R> implements AsyncIterable<R> {
  readonly #pushed: Observable<ConsumeRecord>
  readonly #asked: AskedStream
  readonly #steps: OperatorFunction<ConsumeRecord, R> | undefined

  /** @param steps Operators for each record. For a source of one record they emit at most one value, and complete. */
  constructor(pushed: Observable<ConsumeRecord>, asked: AskedStream, steps?: OperatorFunction<ConsumeRecord, R>) {
    const records = steps === undefined ? (pushed as unknown as Observable<R>) : pushed.pipe(steps)
    // `subscribe` passes on a Subscriber unchanged, so this costs nothing per record.
    super(subscriber => records.subscribe(subscriber))
    this.#pushed = pushed
    this.#asked = asked
    this.#steps = steps
  }

  /** The same stream with one more operator for each record, under the same condition as `steps`. */
  through<S>(step: OperatorFunction<R, S>): TopicRecords<S> {
    const steps = this.#steps
    return new TopicRecords<S>(
      this.#pushed,
      this.#asked,
      // Without steps, R is the type of the stream's records.
      steps === undefined ? (step as unknown as OperatorFunction<ConsumeRecord, S>) : source => step(steps(source)),
    )
  }

  /** Subscribes at the first call of `next`. */
  [Symbol.asyncIterator](): AsyncIterableIterator<R> & AsyncDisposable {
    return new RecordIterator(this.#asked, this.#steps)
  }
}
