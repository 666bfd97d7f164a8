import { Observable, type SchedulerLike, Subscription } from 'rxjs'
import type { Driver } from '../driver.js'
import { PublishError } from '../errors.js'
import type { Outgoing } from '../outgoing.js'
import { type ProduceResult, recognized } from '../produce-result.js'
import type { ProduceRecord, RecordMetadata } from '../publish.js'

/** How long a driver rests that gives a record back instead of trying again itself, ms. */
const againAfter = 1_000

/** Who waits for a record. One object a record and no closures: ten thousand may wait at once. */
export interface PublishListener {
  /** False: nobody does any more, and what was not sent yet is left out. */
  readonly wanted: boolean
  /** The record's place, or a refusal for good. */
  settle(result: ProduceResult): void
  /** It was left out. */
  abandoned(): void
  /** Why it is not written yet. */
  delayed(error: PublishError, lasting: boolean): void
}

/** What decides where a record goes. */
export type Address = Pick<ProduceRecord, 'topic' | 'key' | 'partition'>

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

  /**
   * Publishes one record and tells once it is acknowledged, or refused for good.
   *
   * @param make The record, made when it is sent: tens of thousands may wait for their turn.
   */
  send(address: Address, make: () => ProduceRecord, listener: PublishListener): void {
    this.#produce(new Sending(this, address, make, listener))
  }

  /** The same as an Observable: emits the place; a refusal for good errors; completes once it is `wanted` no more. */
  publish(
    record: ProduceRecord,
    waiting: Pick<PublishListener, 'delayed'> & { wanted(): boolean },
  ): Observable<RecordMetadata> {
    return new Observable(subscriber => {
      this.send(record, () => record, {
        get wanted() {
          return !subscriber.closed && waiting.wanted()
        },
        settle: result => {
          if (!result.ok) return subscriber.error(result.error)
          subscriber.next(result)
          subscriber.complete()
        },
        abandoned: () => subscriber.complete(),
        delayed: (error, lasting) => waiting.delayed(error, lasting),
      })
    })
  }

  /** Nothing is tried again any more. */
  end(): void {
    this.#ended = true
    this.#retries.unsubscribe()
  }

  /** A driver is to try again itself. One that gives back a refusal that may pass, or no result at all, is asked anew. */
  givenBack(sending: Sending, error: PublishError): void {
    const { listener } = sending
    if (this.#ended || !listener.wanted) return listener.abandoned()
    listener.delayed(error, true)
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

/** One record on its way. */
class Sending implements Outgoing {
  constructor(
    readonly publisher: Publisher,
    readonly address: Address,
    readonly make: () => ProduceRecord,
    readonly listener: PublishListener,
  ) {}

  get topic(): string {
    return this.address.topic
  }

  get key(): Outgoing['key'] {
    return this.address.key
  }

  get partition(): number | undefined {
    return this.address.partition
  }

  get wanted(): boolean {
    return this.listener.wanted
  }

  record(): ProduceRecord {
    return this.make()
  }

  settle(result: ProduceResult): void {
    const known = recognized(result, this.topic)
    if (known.ok) this.publisher.counters.published++
    if (known.ok || known.error.retriable === false) this.listener.settle(known)
    else this.publisher.givenBack(this, known.error)
  }

  abandoned(): void {
    this.listener.abandoned()
  }

  delayed(error: PublishError, lasting: boolean): void {
    this.listener.delayed(error, lasting)
  }
}
