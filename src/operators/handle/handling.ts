import { from, type SchedulerLike, type Subscriber, Subscription } from 'rxjs'
import { deliveryBehind, failedByHandle } from '../../delivery.js'
import { HandlerTimeoutError } from '../../errors.js'
import { Fifo } from '../fifo.js'
import { isPromise } from '../is-promise.js'
import { RebalanceWatch } from '../rebalance-watch.js'
import { Again, Call } from './call.js'
import { type AnyRecord, deliveries, unsettled, whereOf } from './input.js'
import { type HandleOrder, Lanes, type Place } from './lanes.js'
import { isStream } from './result.js'

type AnyOutcome =
  | { readonly record: AnyRecord; readonly status: 'acked'; readonly value: unknown }
  | { readonly record: AnyRecord; readonly status: 'failed'; readonly reason: unknown }

interface HandlingOptions {
  readonly concurrency: number
  readonly order: HandleOrder
  readonly timeout: number | undefined
  readonly scheduler: SchedulerLike
}

/** The calls of one subscription to `handle`. */
export class Handling<I> {
  readonly #lanes: Lanes<Call<I>>
  /** First in their lanes, in want of a free place. */
  readonly #ready = new Fifo<Call<I>>()
  /** Those under way that can be cancelled. */
  readonly #cancellable = new Set<Call<I>>()
  readonly #start = (call: Call<I>) => this.#ready.push(call)
  readonly #rebalances = new RebalanceWatch(underWay => this.#rebalanced(underWay))
  /** What does not begin before a rebalance is over. */
  readonly #rested = new Fifo<Call<I>>()
  #underWay = 0
  #pumping = false
  #sourceCompleted = false

  constructor(
    readonly project: (input: I) => unknown,
    readonly options: HandlingOptions,
    readonly subscriber: Pick<Subscriber<AnyOutcome>, 'closed' | 'next' | 'complete'>,
  ) {
    this.#lanes = new Lanes(options.order)
  }

  take(input: I): void {
    if (!Array.isArray(input)) this.#rebalances.attend(deliveryBehind(input))
    else for (const delivery of deliveries(input)) this.#rebalances.attend(delivery)
    const fresh = this.options.order === 'key' ? this.#takeAgain(input) : input
    if (fresh !== undefined) {
      const call = new Call(fresh)
      if (this.#lanes.enter(call, fresh as AnyRecord | readonly AnyRecord[])) this.#ready.push(call)
      if (this.#isToRest(call)) call.rest()
    }
    this.#pump()
  }

  /**
   * While partitions are given up nothing is begun of what waits here, and nobody waits for it: a long queue would take up
   * the whole time-out of each rebalance, and what ends after that is delivered again elsewhere.
   */
  #rebalanced(underWay: boolean): void {
    if (underWay) {
      for (const call of this.#notBegun()) if (this.#isToRest(call)) call.rest()
      return
    }
    const begin = [...this.#rested.drain(), ...this.#ready.drain()]
    for (const call of begin) this.#ready.push(call)
    for (const call of this.#notBegun()) if (call.resting && !this.#isToRest(call)) call.restEnded()
    this.#pump()
  }

  #isToRest(call: Call<I>): boolean {
    return this.#rebalances.underWay && deliveries(call.input).some(one => this.#rebalances.concerns(one))
  }

  #notBegun(): Iterable<Call<I>> {
    const calls = new Set<Call<I>>()
    const add = (call: Call<I>): void => {
      calls.add(call)
    }
    this.#ready.forEach(add)
    for (const call of this.#lanes.users()) {
      if (!call.begun) add(call)
      else call.again?.waiting.forEach(add)
    }
    return calls
  }

  /**
   * What is another delivery of a record that stands here goes where that stands; returns the others. An array is taken
   * apart by that, for a call that waited for the places of several would let these wait for each other.
   */
  #takeAgain(input: I): I | undefined {
    if (!Array.isArray(input)) {
      const place = this.#lanes.placeFor(input as AnyRecord)
      if (place === undefined) return input
      this.#enterAgain(place.user, input, [place])
      return undefined
    }
    let found: Map<Call<I>, Map<AnyRecord, Place<Call<I>>>> | undefined
    const others = input.filter(record => {
      const place = this.#lanes.placeFor(record)
      if (place === undefined) return true
      found ??= new Map()
      const places = found.get(place.user) ?? new Map()
      found.set(place.user, places.set(record, place))
      return false
    })
    if (found === undefined) return input
    for (const [origin, places] of found) {
      this.#enterAgain(origin, [...places.keys()] as I, [...new Set(places.values())])
    }
    return others.length > 0 ? (others as I) : undefined
  }

  #enterAgain(origin: Call<I>, input: I, within: readonly Place<Call<I>>[]): void {
    const call = new Call(input)
    call.origin = origin
    call.within = within
    for (const place of within) this.#lanes.enterAgain(place)
    origin.again ??= new Again()
    origin.again.waiting.push(call)
    if (origin.blockedIn > 0) call.blocked()
    if (this.#isToRest(call)) call.rest()
    this.#startAgain(origin)
  }

  #startAgain({ again }: Call<I>): void {
    const next = again?.next()
    if (next !== undefined) this.#ready.push(next)
  }

  sourceCompleted(): void {
    this.#sourceCompleted = true
    this.#pump()
  }

  /** After its completion: what waits here may have been given back by that, to be delivered to somebody else. */
  sourceLeft(): void {
    if (this.#sourceCompleted) this.#pump()
  }

  cancel(): void {
    this.#rebalances.end()
    this.#ready.clear()
    this.#rested.clear()
    // As one, so that a teardown that throws does not keep the others from running.
    const all = new Subscription()
    for (const call of this.#cancellable) {
      call.ended = true
      all.add(call.work)
      all.add(call.timer)
    }
    this.#cancellable.clear()
    all.unsubscribe()
  }

  /** A loop and no recursion: handlers that are done at once would pile up on the stack. */
  #pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    try {
      while (this.#underWay < this.options.concurrency && !this.subscriber.closed) {
        const call = this.#ready.shift()
        if (call === undefined) break
        if (this.#isToRest(call)) this.#rested.push(call)
        else this.#begin(call)
      }
    } finally {
      this.#pumping = false
    }
    const waiting = this.#ready.size + this.#rested.size
    if (this.#sourceCompleted && this.#underWay === 0 && waiting === 0 && !this.#awaits) {
      this.subscriber.complete()
    }
  }

  /** Something stands behind a failed record, and is still for whoever stands here. */
  get #awaits(): boolean {
    for (const { blockedIn, isAwaited } of this.#lanes.users()) if (blockedIn > 0 && isAwaited) return true
    return false
  }

  #begin(call: Call<I>): void {
    call.begun = true
    const input = unsettled(call.input)
    if (input === undefined) {
      this.#leave(call, false)
      return
    }
    call.handed = input
    this.#underWay++
    try {
      this.#await(call, this.project(input))
    } catch (reason) {
      this.#end(call, false, reason)
    }
  }

  #await(call: Call<I>, result: unknown): void {
    if (isPromise(result)) {
      Promise.resolve(result).then(
        value => this.#end(call, true, value),
        reason => this.#end(call, false, reason),
      )
    } else if (isStream(result)) {
      // The handler itself may have unsubscribed: what it returned is not to be begun any more.
      if (this.subscriber.closed) return
      let last: unknown
      const work = from(result).subscribe({
        next: value => {
          last = value
        },
        error: reason => this.#end(call, false, reason),
        complete: () => this.#end(call, true, last),
      })
      if (this.subscriber.closed) work.unsubscribe()
      if (call.ended || this.subscriber.closed) return
      call.work = work
      this.#cancellable.add(call)
    } else {
      this.#end(call, true, result)
      return
    }
    const { scheduler, timeout } = this.options
    if (timeout === undefined || this.subscriber.closed) return
    call.timer = scheduler.schedule(() => this.#expire(call), timeout)
    this.#cancellable.add(call)
  }

  #expire(call: Call<I>): void {
    if (call.ended) return
    const error = new HandlerTimeoutError(`${whereOf(call.handed)} was not handled within ${this.options.timeout} ms`)
    try {
      call.work?.unsubscribe()
    } catch (teardownError) {
      // Thrown on from a timer it would end the process.
      error.cause = teardownError
    }
    this.#end(call, false, error)
  }

  #end(call: Call<I>, done: boolean, result: unknown): void {
    // After a timeout or unsubscribing a promise's result comes too late.
    if (call.ended || this.subscriber.closed) return
    call.ended = true
    if (call.work !== undefined || call.timer !== undefined) {
      this.#cancellable.delete(call)
      call.timer?.unsubscribe()
    }
    // Settled and told before the next one starts, so that outcomes are in the order of settlements.
    const { handed } = call
    let acked = call.handed === call.input
    if (Array.isArray(handed)) for (const record of handed) acked = this.#settle(record, done, result) && acked
    else acked = this.#settle(handed as AnyRecord, done, result) && acked
    // Counted until it has left: `#pump`, which may be called from within that, must not take this for the end of all.
    this.#leave(call, acked)
    this.#underWay--
    this.#pump()
  }

  /** True when it is acked by that, and so done with. */
  #settle(record: AnyRecord, done: boolean, result: unknown): boolean {
    // What its handler failed by hand is to be failed. What another part of the pipeline settled is for the record to say.
    if (done && deliveryBehind(record)?.failedByHand) return false
    if (!(done ? record.ack() : record.fail(result, failedByHandle))) return false
    this.subscriber.next(
      done ? { record, status: 'acked', value: result } : { record, status: 'failed', reason: result },
    )
    // A part of a record that others settle, too, may still fail as a whole and be delivered here again.
    return done && deliveryBehind(record)?.shared !== true
  }

  /** @param acked All of its records are done with by that. */
  #leave(call: Call<I>, acked: boolean): void {
    // What stood here when its subscriber left may stand behind another in the next subscription.
    if (this.subscriber.closed) return
    const { origin } = call
    if (origin !== undefined) {
      for (const place of call.within) this.#lanes.leaveAgain(place, this.#start)
      origin.again!.underWay = false
      this.#startAgain(origin)
      return
    }
    if (this.options.order === 'key') {
      if (!acked) this.#keepPlaces(call)
      if (call.again !== undefined) {
        call.again.open = true
        this.#startAgain(call)
      }
    }
    for (let place = call.places; place !== undefined; place = place.beside) this.#lanes.leave(place, this.#start)
  }

  /**
   * A key's next record waits while an earlier one may be delivered here again: until it is completed, whoever failed it
   * and whenever. One without a key has no place to keep, and none to come back to.
   */
  #keepPlaces(call: Call<I>): void {
    call.again ??= new Again()
    for (const record of deliveries(call.input)) {
      const place = record.key === null ? undefined : this.#lanes.placeOf(call, record.key)
      if (place === undefined) continue
      place.open++
      record.whenDone(() => {
        if (this.subscriber.closed) return
        this.#lanes.close(place, this.#start)
        this.#pump()
      })
    }
  }
}
