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
import { type ConsumeRecord, type DeliveredRecord, deliveryOf } from '../record.js'
import { Fifo } from './fifo.js'
import { deliveries, type HandleOrder, Lane, type LaneKeeper, Lanes, type LaneUser } from './lanes.js'

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

/** One call of the handler, waiting or under way. */
class Call<I> implements LaneUser {
  lanes: readonly Lane[] = []
  waitsFor = 0
  ended = false
  /** The handler's Observable, where it is one. */
  work: Subscription | undefined
  timer: Subscription | undefined
  /** Its records are delivered again: those that keep their lanes for them. */
  keepers: ReadonlySet<Keeper> = nobody

  constructor(public input: I) {}
}

const nobody: ReadonlySet<never> = new Set()

/** Stands in the lanes of a call that failed until its records' routes, and what is delivered again of them, are done. */
class Keeper implements LaneKeeper {
  readonly again = new Lane(undefined)
  /** How many of its failed records are not done. */
  left: number

  constructor(
    readonly lanes: readonly Lane[],
    readonly failed: readonly DeliveredRecord[],
  ) {
    this.left = failed.length
  }
}

/** The calls of one subscription to `handle`. */
export class Handling<I> {
  readonly #lanes: Lanes<Call<I>, Keeper>
  /** First in their lanes, in want of a free place. */
  readonly #ready = new Fifo<Call<I>>()
  /** Those under way that can be cancelled. */
  readonly #cancellable = new Set<Call<I>>()
  readonly #start = (call: Call<I>) => this.#ready.push(call)
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
    if (!Array.isArray(input)) {
      const keeper = this.#lanes.keeperOf(input as AnyRecord)
      this.#enter(input, keeper === undefined ? nobody : new Set([keeper]))
    } else {
      const keepers = new Map<AnyRecord, Keeper>()
      for (const record of input) {
        const keeper = this.#lanes.keeperOf(record)
        if (keeper !== undefined) keepers.set(record, keeper)
      }
      if (keepers.size === 0) this.#enter(input, nobody)
      else {
        this.#enter([...keepers.keys()] as I, new Set(keepers.values()))
        const others = input.filter(record => !keepers.has(record))
        if (others.length > 0) this.#enter(others as I, nobody)
      }
    }
    this.#pump()
  }

  /** What is delivered again goes ahead of all that came since, which stands behind its keepers. */
  #enter(input: I, keepers: ReadonlySet<Keeper>): void {
    const call = new Call(input)
    call.keepers = keepers
    const mayStart =
      keepers.size > 0
        ? this.#lanes.enterAgain(call, keepers)
        : this.#lanes.enter(call, input as AnyRecord | readonly AnyRecord[])
    if (mayStart) this.#ready.push(call)
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
    this.#ready.clear()
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
        this.#begin(call)
      }
    } finally {
      this.#pumping = false
    }
    if (this.#sourceCompleted && this.#underWay === 0 && this.#ready.size === 0 && !this.#lanes.isAwaited) {
      this.subscriber.complete()
    }
  }

  #begin(call: Call<I>): void {
    const input = unsettled(call.input)
    if (input === undefined) {
      this.#leave(call)
      return
    }
    call.input = input
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
    if (timeout === undefined) return
    call.timer = scheduler.schedule(() => this.#expire(call), timeout)
    this.#cancellable.add(call)
  }

  #expire(call: Call<I>): void {
    if (call.ended) return
    const error = new HandlerTimeoutError(`${whereOf(call.input)} was not handled within ${this.options.timeout} ms`)
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
    const { input } = call
    const keeps = !done && this.options.order === 'key' && call.lanes.length > 0 && call.keepers.size === 0
    const failed: DeliveredRecord[] | undefined = keeps ? [] : undefined
    if (Array.isArray(input)) for (const record of input) this.#settle(record, done, result, failed)
    else this.#settle(input as AnyRecord, done, result, failed)
    this.#underWay--
    if (failed === undefined || failed.length === 0) this.#leave(call)
    else this.#leaveWhenDone(call, failed)
    this.#pump()
  }

  #leave(call: Call<I>): void {
    this.#lanes.leave(call, this.#start)
    for (const keeper of call.keepers) this.#leaveOnceDone(keeper)
  }

  /**
   * A key's next record waits while a failed one may be delivered here again: until its route is done with it. One that
   * its handler failed by itself is not waited for: it may stand behind this call already. Nor is one without a key,
   * which may come again in an array that has to wait here.
   */
  #leaveWhenDone(call: Call<I>, failed: readonly DeliveredRecord[]): void {
    const keeper = new Keeper(call.lanes, failed)
    this.#lanes.keep(keeper)
    for (const record of failed) {
      record.owner.whenDone(record, () => {
        keeper.left--
        this.#leaveOnceDone(keeper)
        this.#pump()
      })
    }
  }

  /** A handler may settle a record long before its own end. */
  #leaveOnceDone(keeper: Keeper): void {
    // What stood here when its subscriber left may stand behind another in the next subscription.
    if (this.subscriber.closed) return
    if (keeper.left === 0 && !keeper.again.taken) this.#lanes.leave(keeper, this.#start)
  }

  #settle(record: AnyRecord, done: boolean, result: unknown, failed: DeliveredRecord[] | undefined): void {
    if (!(done ? record.ack() : record.fail(result))) return
    if (failed !== undefined && record.key !== null) failed.push(...deliveries(record))
    const outcome: AnyOutcome = done
      ? { record, status: 'acked', value: result }
      : { record, status: 'failed', reason: result }
    this.subscriber.next(outcome)
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
