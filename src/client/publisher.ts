import { Observable, type SchedulerLike, type Subscriber, Subscription } from 'rxjs'
import type { Driver } from '../driver.js'
import { PublishError } from '../errors.js'
import type { Outgoing } from '../outgoing.js'
import { type ProduceResult, recognized } from '../produce-result.js'
import type { ProduceRecord, RecordMetadata } from '../publish.js'

/** A record that the driver returns instead of retrying it is produced again after this time, ms. */
const againAfter = 1_000

/**
 * One record to publish, with the callbacks of its caller. One object per record and no closures: tens of thousands may wait.
 */
export abstract class Sending implements Outgoing {
  #publisher: Publisher | undefined

  abstract readonly topic: string
  abstract readonly key: Outgoing['key']
  abstract readonly partition: number | undefined
  /** False: the caller does not wait any more, and a record that is not sent yet is dropped. */
  abstract readonly wanted: boolean
  /** Makes the record, when it is sent. */
  abstract record(): ProduceRecord
  /** Called with the record's place, or with a permanent refusal. */
  protected abstract settled(result: ProduceResult): void
  /** Called if the record was dropped. */
  abstract abandoned(): void
  /** Called with the reason why the record is not written yet. */
  abstract delayed(error: PublishError, lasting: boolean): void

  /** Sets the publisher that is called if the driver returns the record. */
  sentBy(publisher: Publisher): void {
    this.#publisher = publisher
  }

  settle(result: ProduceResult): void {
    const known = recognized(result, this.topic)
    if (known.ok) this.#publisher!.counters.published++
    if (known.ok || known.error.retriable === false) this.settled(known)
    else this.#publisher!.givenBack(this, known.error)
  }
}

/**
 * Passes records to the driver, which keeps their order, batches them, and retries as long as they are wanted.
 */
export class Publisher {
  readonly #retries = new Subscription()
  #ended = false

  constructor(
    readonly driver: Pick<Driver, 'produce'>,
    readonly scheduler: SchedulerLike,
    /** Counts acknowledged records. */
    readonly counters: { published: number } = { published: 0 },
  ) {}

  /** Publishes one record. Settles it once the broker has acknowledged it or refused it for good. */
  send(sending: Sending): void {
    sending.sentBy(this)
    this.#produce(sending)
  }

  /** As an Observable: emits the place, errors with a permanent refusal, completes empty if it is no longer `wanted`. */
  publish(record: ProduceRecord, waiting: ObservedWaiting): Observable<RecordMetadata> {
    return new Observable(subscriber => this.send(new ObservedSending(record, waiting, subscriber)))
  }

  /** Stops all retries. */
  end(): void {
    this.#ended = true
    this.#retries.unsubscribe()
  }

  /** Called if the driver returns a retriable refusal or no valid result, although it should retry itself. */
  givenBack(sending: Sending, error: PublishError): void {
    if (this.#ended || !sending.wanted) return sending.abandoned()
    sending.delayed(error, true)
    const retry = this.scheduler.schedule(() => {
      this.#retries.remove(retry)
      this.#produce(sending)
    }, againAfter)
    this.#retries.add(retry)
  }

  #produce(sending: Sending): void {
    try {
      this.driver.produce(sending)
    } catch (cause) {
      const { topic } = sending
      this.givenBack(
        sending,
        new PublishError(`publishing to ${topic} was not acknowledged`, { cause, retriable: true, topic }),
      )
    }
  }
}

/** The callbacks of a record that is published as an Observable. */
export interface ObservedWaiting {
  wanted(): boolean
  delayed(error: PublishError, lasting: boolean): void
}

class ObservedSending extends Sending {
  constructor(
    readonly made: ProduceRecord,
    readonly waiting: ObservedWaiting,
    readonly subscriber: Subscriber<RecordMetadata>,
  ) {
    super()
  }

  get topic(): string {
    return this.made.topic
  }

  get key(): Outgoing['key'] {
    return this.made.key
  }

  get partition(): number | undefined {
    return this.made.partition
  }

  get wanted(): boolean {
    return !this.subscriber.closed && this.waiting.wanted()
  }

  record(): ProduceRecord {
    return this.made
  }

  protected settled(result: ProduceResult): void {
    if (!result.ok) return this.subscriber.error(result.error)
    this.subscriber.next(result)
    this.subscriber.complete()
  }

  abandoned(): void {
    this.subscriber.complete()
  }

  delayed(error: PublishError, lasting: boolean): void {
    this.waiting.delayed(error, lasting)
  }
}
