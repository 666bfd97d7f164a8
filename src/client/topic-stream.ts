import { Observable, type Subscriber } from 'rxjs'
import type { Supply } from '../delivery.js'
import { TopicAlreadySubscribedError } from '../errors.js'
import type { StallReason } from '../events.js'
import { type ConsumeRecord, type DeliveredRecord, deliveryOf } from '../record.js'
import { ending } from './ending.js'
import { TopicRecords } from './topic-records.js'

/** A source of records for the stream, such as an assignment. */
export interface StreamFeed {
  /** Delivers what may be delivered now. */
  drain(): void
  /** Delivers after the current call has returned. */
  drainSoon(): void
  /** Delivers in another turn of the event loop, so that other work gets its turn. */
  drainLater(): void
  /** Runs the work in another turn, without delay. */
  soon(work: () => void): void
  /** The stream's subscription ended: records that it left unsettled wait, in order, for the next one. */
  rewind(stream: TopicStream): void
}

export type StreamEnd = { readonly error?: unknown }

/**
 * A registered stream as users see it: an Observable with one subscriber at a time. Its records come from every assignment
 * that reads its topics, or copies of their records on the retry and DLQ topics.
 */
export class TopicStream {
  readonly records: TopicRecords<ConsumeRecord>
  #subscriber: Subscriber<ConsumeRecord> | undefined
  /** True: the subscriber asks for each record, and has not asked for the next one. */
  #resting = false
  /** The feed that delivered the latest record to a subscriber that asks. */
  #lastFrom: object | undefined
  /** How many operators of its pipeline have suspended it. */
  #suspended = 0
  #end: StreamEnd | undefined
  /** True: a subscriber got the end. */
  #isEndDelivered = false
  #interrupted = false
  /** True: a record is being delivered, or waiting records are being delivered to a new subscriber. */
  #delivering = false
  /** True: the last subscriber ended while it was being subscribed. */
  #endedAtOnce = false

  constructor(
    /** The registration, as messages name it. */
    readonly name: string,
    /** The assignments that may hold records of its topics. */
    readonly assignments: () => Iterable<StreamFeed>,
  ) {
    this.records = new TopicRecords(new Observable(subscriber => this.#subscribe(subscriber, false)), {
      records: new Observable(subscriber => this.#subscribe(subscriber, true)),
      ask: () => this.#ask(),
      rest: record => {
        this.#resting = true
        this.#lastFrom = deliveryOf(record)?.owner
      },
    })
  }

  get open(): boolean {
    return this.#subscriber !== undefined && !this.#resting
  }

  /** True: an error ended its subscriber because its topic could not be read, and none has subscribed since. */
  get failed(): boolean {
    return this.#interrupted && this.#subscriber === undefined
  }

  /** Whether more records of its topics may be read. */
  get wantsMore(): boolean {
    return this.open && this.#suspended === 0
  }

  /** For the operators of its pipeline. */
  readonly supply: Supply = {
    suspend: () => {
      this.#suspended++
    },
    resume: () => {
      if (--this.#suspended > 0) return
      for (const assignment of this.assignments()) assignment.drainSoon()
    },
  }

  closedBecause(): StallReason | undefined {
    return this.#subscriber === undefined ? 'no-subscriber' : undefined
  }

  next(record: DeliveredRecord): void {
    const outer = this.#delivering
    this.#delivering = true
    // Gone if a subscriber of the channel `rxmika:receive` has unsubscribed it just now. The record waits for the next one.
    this.#subscriber?.next(record)
    this.#delivering = outer
  }

  /** No more records come: completes or errors the stream. */
  end(end: StreamEnd): void {
    if (this.#end !== undefined) return
    this.#end = end
    const subscriber = this.#subscriber
    if (subscriber === undefined) return
    this.#subscriber = undefined
    this.#deliverEnd(subscriber)
  }

  /**
   * Errors the subscriber because nothing can be read for now. Records that it left unsettled, and those that come once the
   * topic can be read again, are for the next subscriber.
   */
  interrupt(error: unknown): void {
    const subscriber = this.#subscriber
    if (subscriber === undefined) return
    this.#interrupted = true
    // Before the error, because the subscriber may subscribe again within it.
    this.#release(subscriber)
    ending(() => subscriber.error(error))
  }

  #release(subscriber: Subscriber<ConsumeRecord>): void {
    if (this.#subscriber !== subscriber) return
    this.#subscriber = undefined
    this.#resting = false
    this.#lastFrom = undefined
    for (const assignment of this.assignments()) assignment.rewind(this)
  }

  /** @param asks True: it gets the first record, and each further one when it asks. */
  #subscribe(subscriber: Subscriber<ConsumeRecord>, asks: boolean): (() => void) | undefined {
    if (this.#end !== undefined) {
      // Only one subscriber gets the end; later ones get nothing. Otherwise repeat() or retry() at the end of the pipeline
      // would subscribe for ever. A loop has no such operator, and would hang without an end.
      if (asks || !this.#isEndDelivered) this.#deliverEnd(subscriber)
      return
    }
    if (this.#subscriber !== undefined) {
      subscriber.error(new TopicAlreadySubscribedError(this.name))
      return
    }
    this.#subscriber = subscriber
    this.#interrupted = false
    // Teardown before delivery: a subscriber that ends while it is being subscribed (take(1)) returns the other records.
    subscriber.add(() => this.#release(subscriber))
    // retry() and repeat() subscribe again from within the end of the previous subscription. If a pipeline ends each time,
    // that would overflow the stack. So it gets its records in another turn.
    if (this.#delivering || this.#endedAtOnce) {
      this.#endedAtOnce = false
      for (const assignment of this.assignments()) assignment.drainLater()
      return
    }
    this.#delivering = true
    for (const assignment of this.assignments()) assignment.drain()
    this.#delivering = false
    this.#endedAtOnce = subscriber.closed
  }

  /** Delivers in another turn, because the caller may be in the middle of anything. Assignments take turns. */
  #ask(): void {
    const feeds = [...this.assignments()]
    const subscriber = this.#subscriber
    const next = feeds.indexOf(this.#lastFrom as StreamFeed) + 1
    const turn = () => {
      if (this.#subscriber !== subscriber) return
      // Not sooner: settling a record lets its assignment deliver, which must not happen before its turn.
      this.#resting = false
      for (const feed of [...feeds.slice(next), ...feeds.slice(0, next)]) {
        if (!this.open) return
        feed.drain()
      }
    }
    const [first] = feeds
    if (first === undefined) this.#resting = false
    else first.soon(turn)
  }

  #deliverEnd(subscriber: Subscriber<ConsumeRecord>): void {
    this.#isEndDelivered = true
    const end = this.#end
    ending(() => {
      if (end !== undefined && 'error' in end) subscriber.error(end.error)
      else subscriber.complete()
    })
  }
}
