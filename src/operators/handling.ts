import {
  from,
  isObservable,
  type Observable,
  type ObservableInput,
  type SchedulerLike,
  type Subscriber,
  Subscription,
} from 'rxjs'
import { HandlerTimeoutError } from '../errors.js'
import { type ConsumeRecord, type DeliveredRecord, deliveryOf, type Rebalances } from '../record.js'
import { Fifo } from './fifo.js'
import { deliveries, type HandleOrder, Lanes, type LaneUser, type Place } from './lanes.js'

/** The value of what a handler returns; an Observable that emits nothing has none. */
export type Handled<P> =
  P extends PromiseLike<infer T>
    ? Awaited<T>
    : P extends Observable<infer T>
      ? T | undefined
      : P extends AsyncIterable<infer T>
        ? T | undefined
        : P extends Iterator<infer T>
          ? T | undefined
          : P

type AnyRecord = ConsumeRecord<unknown>
type AnyOutcome =
  | { readonly record: AnyRecord; readonly status: 'acked'; readonly value: unknown }
  | { readonly record: AnyRecord; readonly status: 'failed'; readonly reason: unknown }

interface HandlingOptions {
  readonly concurrency: number
  readonly order: HandleOrder
  readonly timeout: number | undefined
  readonly scheduler: SchedulerLike
}

const nowhere: readonly never[] = []

/** One call of the handler, waiting, under way, or over with records that may be delivered again. */
class Call<I> implements LaneUser<Call<I>> {
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

  standsFor({ owner, slot }: DeliveredRecord): boolean {
    return deliveries(this.input).some(one => one.owner === owner && one.slot === slot)
  }

  blocked(): void {
    for (const record of this.#waiting()) record.owner.hold(record, 'behind')
  }

  unblocked(): void {
    for (const record of this.#waiting()) {
      record.owner.release(record)
      if (this.resting) record.owner.hold(record, 'resting')
    }
  }

  /** No rebalance waits for it: whoever has its records after that begins them. */
  rest(): void {
    this.resting = true
    for (const record of this.#own()) record.owner.hold(record, 'resting')
    this.again?.waiting.forEach(call => {
      call.rest()
    })
  }

  /** @param blocked It goes on to stand behind another. */
  restEnded(blocked = this.blockedIn > 0): void {
    this.resting = false
    for (const record of this.#own()) {
      if (record.phase !== 'resting') continue
      record.owner.release(record)
      if (blocked) record.owner.hold(record, 'behind')
    }
    this.again?.waiting.forEach(call => {
      call.restEnded(blocked)
    })
  }

  /** A record waits here and for nobody else: not where it was given back, to be delivered to another subscriber. */
  get isAwaited(): boolean {
    return this.#waiting().some(({ owner, phase }) => (phase === 'behind' || phase === 'resting') && !owner.ended)
  }

  #waiting(): readonly DeliveredRecord[] {
    const waiting = this.#own()
    this.again?.waiting.forEach(call => {
      waiting.push(...call.#waiting())
    })
    return waiting
  }

  #own(): DeliveredRecord[] {
    return deliveries(this.input).filter(({ settled }) => !settled)
  }
}

/**
 * What is delivered again of a call's records: handled one at a time once the call is over, in the places that it stood
 * in, and so ahead of all that came since.
 */
class Again<I> {
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

/** The calls of one subscription to `handle`. */
export class Handling<I> {
  readonly #lanes: Lanes<Call<I>>
  /** First in their lanes, in want of a free place. */
  readonly #ready = new Fifo<Call<I>>()
  /** Those under way that can be cancelled. */
  readonly #cancellable = new Set<Call<I>>()
  readonly #start = (call: Call<I>) => this.#ready.push(call)
  readonly #clients = new Set<Rebalances>()
  readonly #listening = new Subscription()
  /** Those of them that give partitions up at present, and what does not begin before that is over. */
  readonly #rebalancing = new Set<Rebalances>()
  readonly #rested = new Fifo<Call<I>>()
  /** Of the record that came last: mostly, that of all. */
  #client: Rebalances | undefined
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
    if (!Array.isArray(input)) this.#attend(deliveryOf(input)?.owner.rebalances)
    else for (const { owner } of deliveries(input)) this.#attend(owner.rebalances)
    const fresh = this.options.order === 'key' ? this.#takeAgain(input) : input
    if (fresh !== undefined) {
      const call = new Call(fresh)
      if (this.#lanes.enter(call, fresh as AnyRecord | readonly AnyRecord[])) this.#ready.push(call)
      if (this.#isToRest(call)) call.rest()
    }
    this.#pump()
  }

  #attend(client: Rebalances | undefined): void {
    if (client === undefined || client === this.#client) return
    this.#client = client
    if (this.#clients.has(client)) return
    this.#clients.add(client)
    if (client.underWay) this.#rebalancing.add(client)
    this.#listening.add(client.changes.subscribe(() => this.#rebalanced(client)))
  }

  /**
   * While partitions are given up nothing is begun of what waits here, and nobody waits for it: a long queue would take up
   * the whole time-out of each rebalance, and what ends after that is delivered again elsewhere.
   */
  #rebalanced(client: Rebalances): void {
    if (client.underWay) {
      this.#rebalancing.add(client)
      for (const call of this.#notBegun()) if (this.#isToRest(call)) call.rest()
      return
    }
    this.#rebalancing.delete(client)
    const begin = [...this.#rested.drain(), ...this.#ready.drain()]
    for (const call of begin) this.#ready.push(call)
    for (const call of this.#notBegun()) if (call.resting && !this.#isToRest(call)) call.restEnded()
    this.#pump()
  }

  #isToRest(call: Call<I>): boolean {
    if (this.#rebalancing.size === 0) return false
    return deliveries(call.input).some(({ owner }) => this.#rebalancing.has(owner.rebalances))
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
    this.#listening.unsubscribe()
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
    if (!(done ? record.ack() : record.fail(result))) return false
    this.subscriber.next(
      done ? { record, status: 'acked', value: result } : { record, status: 'failed', reason: result },
    )
    return done
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
      record.owner.whenDone(record, () => {
        if (this.subscriber.closed) return
        this.#lanes.close(place, this.#start)
        this.#pump()
      })
    }
  }
}

/** Without what was settled or taken away while it waited; undefined when nothing is left. */
function unsettled<I>(input: I): I | undefined {
  if (!Array.isArray(input)) return isOurs(input as AnyRecord) ? input : undefined
  if (input.length > 0 && input.every(isOurs)) return input
  const left = input.filter(isOurs)
  return left.length > 0 ? (left as I) : undefined
}

function isOurs(record: AnyRecord): boolean {
  if (record.settled) return false
  const delivery = deliveryOf(record)
  return delivery === undefined ? !record.signal.aborted : !delivery.owner.ended
}

function isPromise(result: unknown): result is PromiseLike<unknown> {
  return isObject(result) && typeof result.then === 'function'
}

/** What is subscribed to. An array or a string is a value: it is what a handler has as a result, not as work to do. */
function isStream(result: unknown): result is ObservableInput<unknown> {
  if (!isObject(result)) return false
  if (isObservable(result)) return true
  return (
    typeof result[Symbol.observable ?? '@@observable'] === 'function' ||
    typeof result[Symbol.asyncIterator] === 'function' ||
    typeof result.getReader === 'function' ||
    // A generator has done nothing yet.
    (typeof result[Symbol.iterator] === 'function' && typeof result.next === 'function')
  )
}

function isObject(value: unknown): value is { readonly [name: PropertyKey]: unknown } {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
}

function whereOf(input: unknown): string {
  const records = (Array.isArray(input) ? input : [input]) as AnyRecord[]
  const { topic, partition, offset } = records[0]!.source
  const first = `the record at ${topic} partition ${partition} offset ${offset}`
  return records.length === 1 ? first : `${first} (and ${records.length - 1} more)`
}
