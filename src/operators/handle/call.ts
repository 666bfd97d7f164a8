import type { Subscription } from 'rxjs'
import type { Operation, ProcessMessage } from '../../channels.js'
import type { Delivery } from '../../delivery.js'
import { Fifo } from '../../fifo.js'
import { isOpen } from '../is-open.js'
import type { CallSignal } from './call-signal.js'
import { type AnyRecord, deliveries } from './input.js'
import type { LaneUser, Place } from './lanes.js'

const nowhere: readonly never[] = []

/** One call of the handler, waiting, under way, or over with records that may be delivered again. */
export class Call<I> implements LaneUser<Call<I>> {
  places: Place<Call<I>> | undefined
  waitsFor = 0
  blockedIn = 0
  begun = false
  ended = false
  /** Not to begin before its client's rebalance is over. */
  resting = false
  /** The handler's Observable, where it is one. */
  work: Subscription | undefined
  timer: Subscription | undefined
  signal: CallSignal | undefined
  /** As `rxmika:process` has it, if anybody listened when it began. */
  operation: Operation<ProcessMessage> | undefined
  /** Why it is over before its handler is: the handler may ask for its signal only then. */
  expired: unknown
  /** A batch that failed as a whole, as it is handled record by record. */
  singles: Singles | undefined
  /** For one of these records: the call of the batch. */
  batch: Call<I> | undefined
  /** Whose places it stands in and which, where its records are other deliveries of what that call was given. */
  origin: Call<I> | undefined
  within: readonly Place<Call<I>>[] = nowhere
  /** What was delivered again of its records. */
  again: Again<I> | undefined

  constructor(
    readonly input: I,
    /** What the handler is given of it. */
    public handed: I = input,
  ) {}

  standsFor(record: Delivery): boolean {
    return deliveries(this.input).some(one => one.isSameRecord(record))
  }

  follows(record: Delivery): boolean {
    return deliveries(this.input).some(one => record.precedes(one))
  }

  blocked(): void {
    for (const record of this.#waiting()) record.hold('behind')
  }

  unblocked(): void {
    for (const record of this.#waiting()) {
      record.release()
      if (this.resting) record.hold('resting')
    }
  }

  /** No rebalance waits for it: whoever has its records after that begins them. */
  rest(): void {
    this.resting = true
    for (const record of this.#own()) record.hold('resting')
    this.again?.waiting.forEach(call => {
      call.rest()
    })
  }

  /** @param blocked It goes on to stand behind another. */
  restEnded(blocked = this.blockedIn > 0): void {
    this.resting = false
    for (const record of this.#own()) {
      if (record.phase !== 'resting') continue
      record.release()
      if (blocked) record.hold('behind')
    }
    this.again?.waiting.forEach(call => {
      call.restEnded(blocked)
    })
  }

  /** A record waits here and for nobody else: not where it was given back, to be delivered to another subscriber. */
  get isAwaited(): boolean {
    return this.#waiting().some(({ owner, phase }) => (phase === 'behind' || phase === 'resting') && !owner.ended)
  }

  #waiting(): readonly Delivery[] {
    const waiting = this.#own()
    this.again?.waiting.forEach(call => {
      waiting.push(...call.#waiting())
    })
    return waiting
  }

  #own(): Delivery[] {
    return deliveries(this.input).filter(({ settled }) => !settled)
  }
}

/** The records of a batch that failed as a whole: each is handled by itself, in order, in the places of the batch. */
export class Singles {
  readonly #waiting = new Fifo<AnyRecord>()
  /** One is being handled, from within the loop that begins them. */
  looping = false
  /** All that came so far was acked. */
  acked: boolean

  constructor(records: readonly AnyRecord[], complete: boolean) {
    for (const record of records) this.#waiting.push(record)
    this.acked = complete
  }

  /** The next that is still to be settled. */
  next(): AnyRecord | undefined {
    for (;;) {
      const record = this.#waiting.shift()
      if (record === undefined || isOpen(record)) return record
      this.acked = false
    }
  }
}

/**
 * What is delivered again of a call's records: handled one at a time once the call is over, in the places that it stood
 * in, and so ahead of all that came since.
 */
export class Again<I> {
  /** The call whose records they are has ended. */
  open = false
  underWay = false
  readonly waiting = new Fifo<Call<I>>()

  /** The next that may start. */
  next(): Call<I> | undefined {
    if (!this.open || this.underWay) return undefined
    const next = this.waiting.shift()
    this.underWay = next !== undefined
    return next
  }
}
