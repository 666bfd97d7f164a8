import { Observable, type SchedulerLike, type Subscriber, Subscription } from 'rxjs'
import type { Driver } from '../driver.js'
import { PublishError } from '../errors.js'
import type { Outgoing } from '../outgoing.js'
import { type ProduceResult, recognized } from '../produce-result.js'
import type { ProduceRecord, RecordMetadata } from '../publish.js'

/** How long a driver rests that gives a record back instead of trying again itself, ms. */
const againAfter = 1_000

/**
 * One record on its way, and who waits for it. One object a record and no closures: tens of thousands may wait at once.
 */
export abstract class Sending implements Outgoing {
  #publisher: Publisher | undefined

  abstract readonly topic: string
  abstract readonly key: Outgoing['key']
  abstract readonly partition: number | undefined
  /** False: nobody waits any more, and what was not sent yet is left out. */
  abstract readonly wanted: boolean
  /** Makes the record when it is sent. */
  abstract record(): ProduceRecord
  /** The record's place, or a refusal for good. */
  protected abstract settled(result: ProduceResult): void
  /** It was left out. */
  abstract abandoned(): void
  /** Why it is not written yet. */
  abstract delayed(error: PublishError, lasting: boolean): void

  /** Who is told if the driver gives it back. */
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
 * Hands records to the driver, which keeps their order, sends together what it can, and goes on trying for as long as they
 * are wanted.
 */
export class Publisher {
  readonly #retries = new Subscription()
  #ended = false

  constructor(
    readonly driver: Pick<Driver, 'produce'>,
    readonly scheduler: SchedulerLike,
    /** Where acknowledged records are counted. */
    readonly counters: { published: number } = { published: 0 },
  ) {}

  /** Publishes one record and tells it once it is acknowledged, or refused for good. */
  send(sending: Sending): void {
    sending.sentBy(this)
    this.#produce(sending)
  }

  /** The same as an Observable: emits the place; a refusal for good errors; completes once it is `wanted` no more. */
  publish(record: ProduceRecord, waiting: ObservedWaiting): Observable<RecordMetadata> {
    return new Observable(subscriber => this.send(new ObservedSending(record, waiting, subscriber)))
  }

  /** Nothing is tried again any more. */
  end(): void {
    this.#ended = true
    this.#retries.unsubscribe()
  }

  /** A driver is to try again itself. One that gives back a refusal that may pass, or no result at all, is asked anew. */
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

/** What else a record that is published as an Observable asks of whoever waits. */
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
