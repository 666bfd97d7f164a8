import type { Subscription } from 'rxjs'
import type { Operation, ProcessMessage } from '../../channels.js'
import type { Delivery } from '../../delivery.js'
import { Fifo } from '../../fifo.js'
import { isOpen } from '../is-open.js'
import type { CallSignal } from './call-signal.js'
import { type AnyRecord, eachDelivery, someDelivery } from './input.js'
import type { LaneUser, Place } from './lanes.js'

/**
 * The rarely used parts of a call in flight. They are in a separate object, because a call is allocated for every record, and
 * most calls have none of them.
 */
export class Attached {
  /** The subscription to the handler's Observable, if it returned one. */
  work: Subscription | undefined
  timer: Subscription | undefined
  signal: CallSignal | undefined
  /** The operation of `rxmika:process`, if the channel had a subscriber when the call began. */
  operation: Operation<ProcessMessage> | undefined
  /** The timeout error, if the call timed out. Kept because the handler may read its signal only after that. */
  expired: unknown
}

/** Makes the signals of calls. */
export interface Signals<I> {
  signalOf(call: Call<I>): AbortSignal
}

/** The places in the lanes of an earlier call that a call for redelivered records uses. */
export interface Earlier<I> {
  /** The call that had their earlier delivery. */
  readonly call: Call<I>
  /** The places of that call that this one uses. */
  readonly places: readonly Place<Call<I>>[]
}

/** One call of the handler: waiting, in flight, or ended with records that may be redelivered. */
export class Call<I> implements LaneUser<Call<I>> {
  // Set by the constructor: initializers of fields are a second function, with which V8 does not inline the constructor.
  declare places: Place<Call<I>> | undefined
  declare waitsFor: number
  declare blockedIn: number
  declare begun: boolean
  declare ended: boolean
  /** True: it must not begin before its client's rebalance is over. */
  declare resting: boolean
  /** What belongs to the call while it is in flight, if there is anything. Made by `attach`. */
  declare attached: Attached | undefined
  /** Set if a batch failed as a whole and its records are handled one by one. */
  declare singles: Singles | undefined
  /** For the call of one of these records: the call of the batch. */
  declare batch: Call<I> | undefined
  /** Set for redelivered records. */
  declare earlier: Earlier<I> | undefined
  /** The redeliveries of its records. */
  declare again: Again<I> | undefined
  declare readonly input: I
  /** The part of `input` that the handler was called with. */
  declare handed: I
  declare readonly signals: Signals<I>

  constructor(input: I, signals: Signals<I>) {
    this.places = undefined
    this.waitsFor = 0
    this.blockedIn = 0
    this.begun = false
    this.ended = false
    this.resting = false
    this.attached = undefined
    this.singles = undefined
    this.batch = undefined
    this.earlier = undefined
    this.again = undefined
    this.input = input
    this.handed = input
    this.signals = signals
  }

  attach(): Attached {
    this.attached ??= new Attached()
    return this.attached
  }

  hasDeliveryOf(record: Delivery): boolean {
    return someDelivery(this.input, one => one.isSameRecord(record))
  }

  follows(record: Delivery): boolean {
    return someDelivery(this.input, one => record.precedes(one))
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

  /** No rebalance waits for it: the next owner of its records begins them. */
  rest(): void {
    this.resting = true
    this.#eachOwn(record => record.hold('resting'))
    this.again?.waiting.forEach(call => {
      call.rest()
    })
  }

  /** @param blocked Whether it still waits for a redelivery of another record. */
  restEnded(blocked = this.blockedIn > 0): void {
    this.resting = false
    this.#eachOwn(record => {
      if (record.phase !== 'resting') return
      record.release()
      if (blocked) record.hold('behind')
    })
    this.again?.waiting.forEach(call => {
      call.restEnded(blocked)
    })
  }

  /** True: a record waits only here. False for records that were returned and are delivered to another subscriber. */
  get isAwaited(): boolean {
    return this.#waiting().some(({ owner, phase }) => (phase === 'behind' || phase === 'resting') && !owner.ended)
  }

  #waiting(): readonly Delivery[] {
    const waiting: Delivery[] = []
    this.#eachOwn(record => waiting.push(record))
    this.again?.waiting.forEach(call => {
      waiting.push(...call.#waiting())
    })
    return waiting
  }

  #eachOwn(act: (record: Delivery) => void): void {
    eachDelivery(this.input, record => {
      if (!record.settled) act(record)
    })
  }
}

/** The records of a batch that failed as a whole. Each is handled by its own call, in order, in the places of the batch. */
export class Singles {
  readonly #waiting = new Fifo<AnyRecord>()
  /** True while the loop that begins the records runs. */
  looping = false
  /** True: all records so far were acked. */
  acked: boolean

  constructor(records: readonly AnyRecord[], complete: boolean) {
    for (const record of records) this.#waiting.push(record)
    this.acked = complete
  }

  /** The next record that is neither settled nor revoked. */
  next(): AnyRecord | undefined {
    for (;;) {
      const record = this.#waiting.shift()
      if (record === undefined || isOpen(record)) return record
      this.acked = false
    }
  }
}

/**
 * The redeliveries of a call's records. They are handled one at a time once the call has ended, in its places, and so
 * before all records that arrived since.
 */
export class Again<I> {
  /** True: the call that had the records first has ended. */
  open = false
  underWay = false
  readonly waiting = new Fifo<Call<I>>()

  /** The next call that may begin. */
  next(): Call<I> | undefined {
    if (!this.open || this.underWay) return undefined
    const next = this.waiting.shift()
    this.underWay = next !== undefined
    return next
  }
}
