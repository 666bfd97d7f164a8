import { Observable, type OperatorFunction } from 'rxjs'
import type { ConsumeRecord } from '../record.js'
import { type AskedStream, RecordIterator } from './record-iterator.js'

/**
 * The records of a topic, as an Observable and as an async iterable. What an operator makes of it is an Observable alone.
 *
 * The Observable is given records as they come, up to `maxInFlight` of each partition. The iterable is given one when it
 * asks: what is not asked for stays in Kafka, is not in flight, and holds up neither a rebalance nor a close.
 */
export class TopicRecords<R> extends Observable<R> implements AsyncIterable<R> {
  readonly #pushed: Observable<ConsumeRecord>
  readonly #asked: AskedStream
  readonly #steps: OperatorFunction<ConsumeRecord, R> | undefined

  /** @param steps What each record goes through. Of a source of one record they emit at most one, and complete. */
  constructor(pushed: Observable<ConsumeRecord>, asked: AskedStream, steps?: OperatorFunction<ConsumeRecord, R>) {
    const records = steps === undefined ? (pushed as unknown as Observable<R>) : pushed.pipe(steps)
    // A Subscriber is handed on as it is: this costs nothing per record.
    super(subscriber => records.subscribe(subscriber))
    this.#pushed = pushed
    this.#asked = asked
    this.#steps = steps
  }

  /** The same, each record going through `step` too; which is bound as `steps` are. */
  through<S>(step: OperatorFunction<R, S>): TopicRecords<S> {
    const steps = this.#steps
    return new TopicRecords<S>(
      this.#pushed,
      this.#asked,
      // Without steps, R is what the stream has.
      steps === undefined ? (step as unknown as OperatorFunction<ConsumeRecord, S>) : source => step(steps(source)),
    )
  }

  /** Subscribes when `next` is called for the first time. */
  [Symbol.asyncIterator](): AsyncIterableIterator<R> & AsyncDisposable {
    return new RecordIterator(this.#asked, this.#steps)
  }
}
