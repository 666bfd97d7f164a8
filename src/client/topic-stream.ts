import { Observable, type Subscriber } from 'rxjs'
import { TopicAlreadySubscribedError } from '../errors.js'
import type { StallReason } from '../events.js'
import type { ConsumeRecord, DeliveredRecord } from '../record.js'
import type { FailureRoute } from './failure-route.js'

/** What reads records for the stream, such as an assignment. */
export interface StreamFeed {
  /** Delivers what may be delivered now. */
  drain(): void
  /** Delivers in another turn, which leaves all else its own. */
  drainLater(): void
  /** The stream's subscription ended: what it left unsettled waits, in order, for the next one. */
  rewind(stream: TopicStream): void
}

export type StreamEnd = { readonly error?: unknown }

/**
 * A registered topic as users see it: an Observable with one subscriber at a time, fed by every assignment that reads
 * records of the topic, from its own partitions or as copies on the retry and DLQ topics.
 */
export class TopicStream {
  readonly records: Observable<ConsumeRecord>
  #subscriber: Subscriber<ConsumeRecord> | undefined
  #paused = false
  #end: StreamEnd | undefined
  #told = false
  /** A record is being delivered, or a subscriber given what waits for it. */
  #delivering = false
  /** The last subscriber ended before it was subscribed. */
  #endedAtOnce = false

  constructor(
    /** As users name it. */
    readonly name: string,
    readonly route: FailureRoute,
    /** The assignments that may hold records of this topic. */
    readonly assignments: () => Iterable<StreamFeed>,
  ) {
    this.records = new Observable(subscriber => this.#subscribe(subscriber))
  }

  get open(): boolean {
    return this.#subscriber !== undefined && !this.#paused
  }

  closedBecause(): StallReason | undefined {
    if (this.#subscriber === undefined) return 'no-subscriber'
    return this.#paused ? 'paused' : undefined
  }

  next(record: DeliveredRecord): void {
    const around = this.#delivering
    this.#delivering = true
    this.#subscriber!.next(record)
    this.#delivering = around
  }

  /** True when that changed something. */
  pause(): boolean {
    const changed = !this.#paused
    this.#paused = true
    return changed
  }

  /** True when that changed something; `drain` goes on delivering. */
  resume(): boolean {
    const changed = this.#paused
    this.#paused = false
    return changed
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

  #subscribe(subscriber: Subscriber<ConsumeRecord>): (() => void) | undefined {
    if (this.#end !== undefined) {
      // Told once, it stays silent: repeat() or retry() at the end of the pipeline would subscribe for ever otherwise.
      if (!this.#told) this.#tell(subscriber)
      return
    }
    if (this.#subscriber !== undefined) {
      subscriber.error(new TopicAlreadySubscribedError(this.name))
      return
    }
    this.#subscriber = subscriber
    // Teardown first, delivery second: a subscriber that is satisfied while it subscribes (take(1)) gives back the rest.
    subscriber.add(() => {
      if (this.#subscriber !== subscriber) return
      this.#subscriber = undefined
      for (const assignment of this.assignments()) assignment.rewind(this)
    })
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

  #tell(subscriber: Subscriber<ConsumeRecord>): void {
    this.#told = true
    if (this.#end !== undefined && 'error' in this.#end) subscriber.error(this.#end.error)
    else subscriber.complete()
  }
}
