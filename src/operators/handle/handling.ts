import { from, type ObservableInput, type SchedulerLike, type Subscriber, Subscription } from 'rxjs'
import { noClient, Operation, type ProcessMessage, processChannel } from '../../channels.js'
import { type Delivery, type DeliveryOwner, deliveryBehind, failedByHandle } from '../../delivery.js'
import { HandlerTimeoutError } from '../../errors.js'
import { Fifo } from '../../fifo.js'
import { isPromise } from '../is-promise.js'
import { isRecord, notRecord } from '../is-record.js'
import { RebalanceWatch } from '../rebalance-watch.js'
import { SupplyWatch } from '../supply-watch.js'
import { failuresIn, identityOf, isBatchFailure } from './batch-failure.js'
import { Again, type Attached, Call, type Signals, Singles } from './call.js'
import { CallSignal } from './call-signal.js'
import { type AnyRecord, deliveries, recordsOf, someDelivery, unsettled, whereOf } from './input.js'
import { type HandleOrder, Lanes, type Place } from './lanes.js'
import { hasUnawaited, isStream, isUnbegun } from './result.js'

/** The second argument of a handler. */
export interface HandlerContext {
  /**
   * Aborted when the work has become pointless: when this call times out (the reason is its `HandlerTimeoutError`), when all
   * partitions of its records are revoked or lost, when the client closes, and on unsubscribing (the reason is a
   * `DOMException` named `AbortError`). Not aborted when the call ends. Each call has its own signal, created when it is
   * first read; it may have any number of listeners.
   */
  readonly signal: AbortSignal
}

/**
 * The source is suspended once this many records, or `concurrency` if that is more, wait only for the limit. Records
 * that wait here occupy memory beyond the young generation; records that wait in Kafka occupy none.
 */
const minEnough = 256

const notSubscribed =
  'handle: the Observable of the handler emitted an Observable that nothing subscribes to; flatten it, with mergeMap in place of ' +
  'map for example'

const notAwaited =
  'handle: the handler returned an array with promises or Observables in it, which nothing waits for; return Promise.all() of it, ' +
  'or forkJoin()'

type AnyOutcome =
  | { readonly record: AnyRecord; readonly status: 'acked'; readonly value: unknown }
  | { readonly record: AnyRecord; readonly status: 'failed'; readonly reason: unknown }

interface HandlingOptions {
  /** The initial limit of calls in flight. 0: no call begins before `limitTo`. */
  readonly concurrency: number
  readonly order: HandleOrder
  readonly onBatchFailure: 'fail' | 'one-by-one'
  readonly timeout: number | undefined
  readonly scheduler: SchedulerLike
}

/**
 * A class with a getter, because most handlers do not read the signal. With one field, V8 inlines its constructor everywhere;
 * with two it did not where most calls begin.
 */
class Context<I> implements HandlerContext {
  readonly #call: Call<I>

  constructor(call: Call<I>) {
    this.#call = call
  }

  get signal(): AbortSignal {
    return this.#call.signals.signalOf(this.#call)
  }
}

/** The calls of one subscription to `handle`. */
export class Handling<I> implements Signals<I> {
  readonly #lanes: Lanes<Call<I>>
  /** Calls that are first in their lanes and wait for the limit. */
  readonly #ready = new Fifo<Call<I>>()
  /** Calls in flight that have something to cancel. */
  readonly #cancellable = new Set<Call<I>>()
  readonly #start = (call: Call<I>) => this.#ready.push(call)
  readonly #rebalances = new RebalanceWatch(underWay => this.#rebalanced(underWay))
  readonly #isGivenUp = (delivery: Delivery) => this.#rebalances.concerns(delivery)
  readonly #supply = new SupplyWatch()
  /** The assignment of the previous record. Its client and supply are watched. */
  #lastOwner: DeliveryOwner | undefined
  /** Calls that must not begin before a rebalance is over. */
  readonly #rested = new Fifo<Call<I>>()
  #limit: number
  /** How many ready calls suspend the supply. */
  #enough: number
  #underWay = 0
  #pumping = false
  #sourceCompleted = false

  constructor(
    readonly project: (input: I, context: HandlerContext) => unknown,
    readonly options: HandlingOptions,
    readonly subscriber: Pick<Subscriber<AnyOutcome>, 'closed' | 'next' | 'error' | 'complete'>,
  ) {
    this.#lanes = new Lanes(options.order)
    this.#limit = options.concurrency
    this.#enough = Math.max(minEnough, this.#limit)
  }

  /** Calls in flight beyond the new limit go on; no other begins until their number is below it. */
  limitTo(limit: number): void {
    this.#limit = limit
    this.#enough = Math.max(minEnough, limit)
    this.#pump()
  }

  take(input: I): void {
    if (!Array.isArray(input)) {
      const delivery = deliveryBehind(input)
      if (delivery === undefined && !isRecord(input)) return this.#refuse(input)
      if (delivery?.owner !== this.#lastOwner) {
        this.#lastOwner = delivery?.owner
        this.#rebalances.attend(delivery)
        // Not for arrays: the operator that gathers them may be waiting for more records.
        this.#supply.attend(delivery)
      }
    } else {
      const other = input.findIndex(one => !isRecord(one))
      if (other >= 0) return this.#refuse(input[other], 'an array with ')
      for (const delivery of deliveries(input)) this.#rebalances.attend(delivery)
    }
    const fresh = this.options.order === 'key' ? this.#takeAgain(input) : input
    if (fresh !== undefined) this.#enter(fresh)
    this.#pump()
  }

  #refuse(input: unknown, within = ''): void {
    this.subscriber.error(notRecord('handle', input, 'records or arrays of records', within))
  }

  /** A function of its own, because V8 inlines the constructor here, and does not in the longer `take`. */
  #enter(input: I): void {
    const call = new Call(input, this)
    if (this.#lanes.enter(call, input as AnyRecord | readonly AnyRecord[])) this.#ready.push(call)
    if (this.#isToRest(call)) call.rest()
  }

  /**
   * While partitions are given up, no waiting call of these begins, and the rebalance does not wait for it. Otherwise a long
   * queue would use up the time-out of every rebalance, and what ends after that is delivered again elsewhere.
   */
  #rebalanced(underWay: boolean): void {
    if (underWay) {
      this.#eachWaiting(call => {
        if (!call.resting && this.#isToRest(call)) call.rest()
      })
      return
    }
    const begin = [...this.#rested.drain(), ...this.#ready.drain()]
    for (const call of begin) this.#ready.push(call)
    this.#eachWaiting(call => {
      if (call.resting && !this.#isToRest(call)) call.restEnded()
    })
    this.#pump()
  }

  #isToRest({ input }: Call<I>): boolean {
    return this.#rebalances.underWay && someDelivery(input, this.#isGivenUp)
  }

  /** Visits all calls that have not begun; those that are first in their lanes, or in several lanes, more than once. */
  #eachWaiting(visit: (call: Call<I>) => void): void {
    this.#ready.forEach(visit)
    for (const call of this.#lanes.users()) {
      if (!call.begun) visit(call)
      else call.again?.waiting.forEach(visit)
    }
  }

  /**
   * Sends redelivered records to the places of their earlier delivery, and returns the others. An array is split by that: a
   * call that waited for the places of several calls could make these wait for each other.
   */
  #takeAgain(input: I): I | undefined {
    if (Array.isArray(input)) return this.#takeEachAgain(input)
    const place = this.#lanes.placeFor(input as AnyRecord)
    if (place === undefined) return input
    this.#enterAgain(place.user, input, [place])
    return undefined
  }

  #takeEachAgain(input: I & readonly AnyRecord[]): I | undefined {
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
    const call = new Call(input, this)
    call.earlier = { call: origin, places: within }
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

  /** Called after the source was unsubscribed. Its teardown may have returned waiting records, for the next subscriber. */
  sourceLeft(): void {
    if (this.#sourceCompleted) this.#pump()
  }

  cancel(): void {
    this.#rebalances.end()
    this.#supply.resume()
    this.#ready.clear()
    this.#rested.clear()
    // In one subscription, so that a teardown that throws does not prevent the others.
    const all = new Subscription()
    for (const call of this.#cancellable) {
      call.ended = true
      const { attached } = call
      all.add(attached?.work)
      all.add(attached?.timer)
      all.add(() => attached?.signal?.abort(unsubscribed()))
      all.add(() => attached?.operation?.cancelled())
    }
    this.#cancellable.clear()
    all.unsubscribe()
  }

  /** A loop and no recursion, because handlers that are done synchronously would grow the stack. */
  #pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    try {
      while (this.#underWay < this.#limit && !this.subscriber.closed) {
        const call = this.#ready.shift()
        if (call === undefined) break
        if (this.#isToRest(call)) this.#rested.push(call)
        else this.#begin(call)
      }
    } finally {
      this.#pumping = false
    }
    this.#regulate()
    if (this.#sourceCompleted && this.#underWay === 0) this.#completeIfIdle()
  }

  #completeIfIdle(): void {
    const waiting = this.#ready.size + this.#rested.size
    if (waiting === 0 && !this.#awaits) this.subscriber.complete()
  }

  #regulate(): void {
    // A source that has completed needs nothing more, and its topic may have another subscriber by now.
    const ready = this.#sourceCompleted ? 0 : this.#ready.size
    if (ready >= this.#enough) this.#supply.suspend()
    else if (ready <= this.#enough / 2) this.#supply.resume()
  }

  /** True: a record waits behind a failed one, and is still to be handled by this subscription. */
  get #awaits(): boolean {
    for (const { blockedIn, isAwaited } of this.#lanes.users()) if (blockedIn > 0 && isAwaited) return true
    return false
  }

  #begin(call: Call<I>): void {
    call.begun = true
    if (call.singles !== undefined) {
      this.#underWay++
      this.#goOnSingly(call)
      return
    }
    const input = unsettled(call.input)
    if (input === undefined) {
      this.#leave(call, false)
      return
    }
    call.handed = input
    this.#underWay++
    this.#run(call)
  }

  #run(call: Call<I>): void {
    if (processChannel.hasSubscribers) return this.#runObserved(call)
    try {
      this.#await(call, this.project(call.handed, new Context(call)))
    } catch (reason) {
      this.#end(call, false, reason)
    }
  }

  /** A function of its own: a closure in `#run` would cost a scope for every call. */
  #runObserved(call: Call<I>): void {
    const operation = new Operation(processChannel, processMessage(call.handed))
    call.attach().operation = operation
    try {
      this.#await(
        call,
        operation.run(() => this.project(call.handed, new Context(call))),
      )
    } catch (reason) {
      this.#end(call, false, reason)
    }
  }

  /**
   * Streams and timeouts have functions of their own. The functions that nearly every call runs are short, so that V8 inlines
   * them into each other, and have no variables in closures but `this` and the call.
   */
  #await(call: Call<I>, result: unknown): void {
    if (isPromise(result)) {
      Promise.resolve(result).then(
        value => this.#resolved(call, value),
        reason => this.#end(call, false, reason),
      )
      if (call.attached !== undefined || this.options.timeout !== undefined) this.#supervise(call)
    } else if (isStream(result)) this.#awaitStream(call, result)
    else this.#done(call, result)
  }

  /** What an `async` handler returns may still have to be done: `async record => client.publish(…)`. */
  #resolved(call: Call<I>, value: unknown): void {
    // Caught here: in a callback of the promise, nobody else could.
    try {
      if (isUnbegun(value) && !call.ended) this.#subscribe(call, value)
      else this.#done(call, value)
    } catch (reason) {
      this.#end(call, false, reason)
    }
  }

  #awaitStream(call: Call<I>, result: ObservableInput<unknown>): void {
    if (this.#subscribe(call, result)) this.#supervise(call)
  }

  /** Returns whether the work is in flight: it has neither ended nor been unsubscribed. */
  #subscribe(call: Call<I>, result: ObservableInput<unknown>): boolean {
    // If the handler itself has unsubscribed, what it returned must not begin.
    const operation = call.attached?.operation
    if (this.subscriber.closed) {
      operation?.cancelled()
      return false
    }
    let last: unknown
    const begin = () =>
      from(result).subscribe({
        next: value => {
          last = value
        },
        error: reason => this.#end(call, false, reason),
        complete: () => this.#completed(call, last),
      })
    const work = operation === undefined ? begin() : operation.again(begin)
    if (this.subscriber.closed) {
      work.unsubscribe()
      operation?.cancelled()
    }
    if (call.ended || this.subscriber.closed) return false
    call.attach().work = work
    this.#cancellable.add(call)
    return true
  }

  #completed(call: Call<I>, last: unknown): void {
    if (isUnbegun(last)) this.#end(call, false, new TypeError(notSubscribed))
    else this.#done(call, last)
  }

  /** A `BatchFailure` that is returned counts like one that is thrown: with an ack of its records, their failures would be lost. */
  #done(call: Call<I>, result: unknown): void {
    if (Array.isArray(result) && hasUnawaited(result)) this.#end(call, false, new TypeError(notAwaited))
    else this.#end(call, !isBatchFailure(result), result)
  }

  /** For a call in flight that may expire, or whose cancellation must be published. */
  #supervise(call: Call<I>): void {
    const operation = call.attached?.operation
    if (this.subscriber.closed) return operation?.cancelled()
    // A promise cannot be cancelled, but the operation must still be published as cancelled.
    if (operation !== undefined) this.#cancellable.add(call)
    const { scheduler, timeout } = this.options
    if (timeout === undefined) return
    call.attach().timer = scheduler.schedule(() => this.#expire(call), timeout)
    this.#cancellable.add(call)
  }

  #expire(call: Call<I>): void {
    if (call.ended) return
    const attached = call.attach()
    const error = new HandlerTimeoutError(`${whereOf(call.handed)} was not handled within ${this.options.timeout} ms`)
    try {
      attached.work?.unsubscribe()
    } catch (teardownError) {
      // Rethrown from a timer, it would end the process.
      error.cause = teardownError
    }
    attached.expired = error
    attached.signal?.abort(error)
    this.#end(call, false, error)
  }

  signalOf(call: Call<I>): AbortSignal {
    const attached = call.attach()
    if (attached.signal === undefined) {
      attached.signal = new CallSignal(recordsOf(call.handed))
      if (attached.expired !== undefined) attached.signal.abort(attached.expired)
      else if (this.subscriber.closed) attached.signal.abort(unsubscribed())
      else if (call.ended) attached.signal.release()
      else this.#cancellable.add(call)
    }
    return attached.signal.signal
  }

  #end(call: Call<I>, done: boolean, result: unknown): void {
    const { attached } = call
    // The result of a promise comes too late after a timeout or an unsubscribe.
    if (call.ended || this.subscriber.closed) return attached?.operation?.cancelled()
    call.ended = true
    if (attached === undefined) this.#goOn(call, this.#settleAll(call, done, result))
    else this.#endAttached(attached, call, done, result)
  }

  #endAttached({ operation, timer, signal }: Attached, call: Call<I>, done: boolean, result: unknown): void {
    this.#cancellable.delete(call)
    timer?.unsubscribe()
    signal?.release()
    if (operation === undefined) this.#goOn(call, this.#settleAll(call, done, result))
    else this.#endTraced(operation, call, done, result)
  }

  #endTraced(operation: Operation<ProcessMessage>, call: Call<I>, done: boolean, result: unknown): void {
    operation.outside(() => {
      let acked: boolean | undefined
      const settle = () => {
        acked = this.#settleAll(call, done, result)
      }
      if (done) operation.succeeded(result, settle)
      else operation.failed(result, settle)
      this.#goOn(call, acked)
    })
  }

  /**
   * Settles the records and emits their outcomes before the next call begins, so that outcomes are in the order of
   * settlements. Returns whether all records are acked; undefined if they are to be handled one by one.
   */
  #settleAll(call: Call<I>, done: boolean, result: unknown): boolean | undefined {
    const { handed } = call
    if (done && !Array.isArray(handed)) return this.#settle(handed as AnyRecord, true, result)
    return this.#settleEach(call, done, result)
  }

  /** A function of its own, so that `#settleAll` is short enough to be inlined. */
  #settleEach(call: Call<I>, done: boolean, result: unknown): boolean | undefined {
    const { handed } = call
    const failures = done ? undefined : failuresIn(result, recordsOf(handed))
    const reason = failures instanceof TypeError ? failures : result
    const partly = failures instanceof TypeError ? undefined : failures
    if (!done && partly === undefined && this.#isToGoSingly(call)) {
      call.singles = new Singles(recordsOf(handed), handed === call.input)
      return undefined
    }
    let acked = handed === call.input
    if (partly !== undefined) acked = this.#settlePartly(recordsOf(handed), partly) && acked
    else if (Array.isArray(handed)) for (const record of handed) acked = this.#settle(record, done, reason) && acked
    else acked = this.#settle(handed as AnyRecord, done, reason) && acked
    return acked
  }

  #goOn(call: Call<I>, acked: boolean | undefined): void {
    if (acked === undefined) return this.#goOnSingly(call)
    const { batch } = call
    if (batch === undefined) return this.#over(call, acked)
    if (!acked) batch.singles!.acked = false
    this.#goOnSingly(batch)
  }

  #over(call: Call<I>, acked: boolean): void {
    // Counted until it has left its lanes: `#pump`, which `#leave` may call, must not see an idle operator and complete.
    this.#leave(call, acked)
    this.#underWay--
    this.#pump()
  }

  #settlePartly(records: readonly AnyRecord[], failures: ReadonlyMap<unknown, unknown>): boolean {
    let acked = true
    for (const record of records) {
      const identity = identityOf(record)
      const done = !failures.has(identity)
      acked = this.#settle(record, done, failures.get(identity)) && acked
    }
    return acked
  }

  #isToGoSingly({ handed, batch }: Call<I>): boolean {
    // A batch of one has already failed as a record.
    const isBatch = batch === undefined && Array.isArray(handed) && handed.length > 1
    return isBatch && this.options.onBatchFailure === 'one-by-one'
  }

  /** Begins the records of a batch one after the other. A loop, because handlers may be done synchronously. */
  #goOnSingly(call: Call<I>): void {
    const singles = call.singles!
    if (singles.looping) return
    singles.looping = true
    while (!this.subscriber.closed) {
      const rests = this.#isToRest(call)
      if (rests || this.#underWay > this.#limit) {
        singles.looping = false
        return this.#interruptSingles(call, rests)
      }
      const record = singles.next()
      if (record === undefined) {
        singles.looping = false
        return this.#over(call, singles.acked)
      }
      const single = new Call([record] as I, this)
      single.batch = call
      this.#run(single)
      if (!single.ended) break
    }
    singles.looping = false
  }

  /** Called when partitions are given up, or the limit is lowered: the rest of the batch begins later, or elsewhere. */
  #interruptSingles(call: Call<I>, rests: boolean): void {
    call.begun = false
    if (rests) {
      call.rest()
      this.#rested.push(call)
    } else this.#ready.unshift(call)
    this.#underWay--
    this.#pump()
  }

  /** Returns true if the record was acked by this, so that it is completed. */
  #settle(record: AnyRecord, done: boolean, result: unknown): boolean {
    // If the handler failed the record itself, it stays failed. A settlement by another part of the pipeline is reported by the record.
    const delivery = deliveryBehind(record)
    if (done && delivery?.failedByHand) return false
    if (!(done ? record.ack() : record.fail(result, failedByHandle))) return false
    this.subscriber.next(
      done ? { record, status: 'acked', value: result } : { record, status: 'failed', reason: result },
    )
    // Only a part of a shared record is acked: the record may still fail because of another part, and be redelivered here.
    return done && delivery?.shared !== true
  }

  /** @param acked Whether all of its records are completed by that. */
  #leave(call: Call<I>, acked: boolean): void {
    // Keep the places: records returned to the next subscriber may have to wait behind others there.
    if (this.subscriber.closed) return
    if (call.earlier !== undefined) {
      const { call: origin, places } = call.earlier
      for (const place of places) this.#lanes.leaveAgain(place, this.#start)
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
   * Keeps the places of a call whose records may be redelivered: until such a record is completed, later records of its key
   * wait. Records without a key have no place.
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

function processMessage(handed: unknown): ProcessMessage {
  const records = recordsOf(handed)
  const client = deliveryBehind(records[0])?.owner.client ?? noClient
  return { ...client, record: records[0]!, records, batch: Array.isArray(handed) }
}

function unsubscribed(): DOMException {
  return new DOMException('handle was unsubscribed while the handler was under way', 'AbortError')
}
