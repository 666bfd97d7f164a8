import { Observable, type Subscriber } from 'rxjs'
import type { Supply } from '../delivery.js'
import { TopicAlreadySubscribedError } from '../errors.js'
import type { StallReason } from '../events.js'
import { type ConsumeRecord, type DeliveredRecord, deliveryOf } from '../record.js'
import { TopicRecords } from './topic-records.js'

/** What reads records for the stream, such as an assignment. */
export interface StreamFeed {
  /** Delivers what may be delivered now. */
  drain(): void
  /** Delivers once what is under way has returned. */
  drainSoon(): void
  /** Delivers in another turn, which leaves all else its own. */
  drainLater(): void
  /** Runs the work in another turn and at the same time. */
  soon(work: () => void): void
  /** The stream's subscription ended: what it left unsettled waits, in order, for the next one. */
  rewind(stream: TopicStream): void
}

export type StreamEnd = { readonly error?: unknown }

/**
 * What was registered as users see it: an Observable with one subscriber at a time, fed by every assignment that reads
 * records of its topics, from their own partitions or as copies on the retry and DLQ topics.
 */
export class TopicStream {
  readonly records: TopicRecords<ConsumeRecord>
  #subscriber: Subscriber<ConsumeRecord> | undefined
  /** The subscriber asks for each record, and has not asked for the next. */
  #resting = false
  /** Where the subscriber that asks has its newest record from. */
  #lastFrom: object | undefined
  /** How many operators of its pipeline have enough for now. */
  #suspended = 0
  #end: StreamEnd | undefined
  #told = false
  #interrupted = false
  /** A record is being delivered, or a subscriber given what waits for it. */
  #delivering = false
  /** The last subscriber ended before it was subscribed. */
  #endedAtOnce = false

  constructor(
    /** What was registered, as messages name it. */
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

  /** Its topic could not be read, which errored its subscriber, and nobody has subscribed since. */
  get failed(): boolean {
    return this.#interrupted && this.#subscriber === undefined
  }

  /** Whether more of the topic's own records may be taken in. */
  get wantsMore(): boolean {
    return this.open && this.#suspended === 0
  }

  /** For operators of its pipeline. */
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
    const around = this.#delivering
    this.#delivering = true
    this.#subscriber!.next(record)
    this.#delivering = around
  }

  /** No more records come: completes the stream, or errors it. */
  end(end: StreamEnd): void {
    if (this.#end !== undefined) return
    this.#end = end
    const subscriber = this.#subscriber
    if (subscriber === undefined) return
    this.#subscriber = undefined
    this.#tell(subscriber)
  }

  /**
   * Nothing can be read for now: errors the subscriber. What it left unsettled, and what comes once it can be read again, is
   * for whoever subscribes next.
   */
  interrupt(error: unknown): void {
    const subscriber = this.#subscriber
    if (subscriber === undefined) return
    this.#interrupted = true
    // Before it is told, for it may subscribe again from within.
    this.#release(subscriber)
    subscriber.error(error)
  }

  #release(subscriber: Subscriber<ConsumeRecord>): void {
    if (this.#subscriber !== subscriber) return
    this.#subscriber = undefined
    this.#resting = false
    this.#lastFrom = undefined
    for (const assignment of this.assignments()) assignment.rewind(this)
  }

  /** @param asks It is given the first record, and each further one when it asks. */
  #subscribe(subscriber: Subscriber<ConsumeRecord>, asks: boolean): (() => void) | undefined {
    if (this.#end !== undefined) {
      // Told once, it stays silent: repeat() or retry() at the end of the pipeline would subscribe for ever otherwise. A loop
      // over records has no such operator, and would hang.
      if (asks || !this.#told) this.#tell(subscriber)
      return
    }
    if (this.#subscriber !== undefined) {
      subscriber.error(new TopicAlreadySubscribedError(this.name))
      return
    }
    this.#subscriber = subscriber
    this.#interrupted = false
    // Teardown first, delivery second: a subscriber that is satisfied while it subscribes (take(1)) gives back the rest.
    subscriber.add(() => this.#release(subscriber))
    // retry() and repeat() subscribe again from within what ended the one before. A pipeline that ends each time would
    // fill the stack; so it is given records in another turn.
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

  /** In a turn of its own: whoever asks may be in the middle of anything. Assignments have their turns, too. */
  #ask(): void {
    const feeds = [...this.assignments()]
    const subscriber = this.#subscriber
    const next = feeds.indexOf(this.#lastFrom as StreamFeed) + 1
    const turn = () => {
      if (this.#subscriber !== subscriber) return
      // Not sooner: what was settled by who asks has its assignment deliver, before it is its turn.
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

  #tell(subscriber: Subscriber<ConsumeRecord>): void {
    this.#told = true
    if (this.#end !== undefined && 'error' in this.#end) subscriber.error(this.#end.error)
    else subscriber.complete()
  }
}
