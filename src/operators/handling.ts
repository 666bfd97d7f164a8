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
import { type ConsumeRecord, deliveryOf } from '../record.js'
import { Fifo } from './fifo.js'
import { deliveries, type HandleOrder, type Lane, Lanes, type LaneUser } from './lanes.js'

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

  constructor(public input: I) {}
}

/** The calls of one subscription to `handle`. */
export class Handling<I> {
  readonly #lanes: Lanes<Call<I>>
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
    // Redelivered: it has its lane still, and all that came since stands behind it.
    if (!Array.isArray(input)) this.#enter(input, this.#lanes.isKeptFor(input as AnyRecord))
    else {
      const again = input.filter(record => this.#lanes.isKeptFor(record))
      if (again.length === 0) this.#enter(input, false)
      else {
        this.#enter(again as I, true)
        const others = input.filter(record => !again.includes(record))
        if (others.length > 0) this.#enter(others as I, false)
      }
    }
    this.#pump()
  }

  #enter(input: I, hasItsLane: boolean): void {
    const call = new Call(input)
    if (hasItsLane) this.#ready.push(call)
    else if (this.#lanes.enter(call, input as AnyRecord | readonly AnyRecord[])) this.#ready.push(call)
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
      this.#lanes.leave(call, this.#start)
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
    if (Array.isArray(input)) for (const record of input) this.#settle(record, done, result)
    else this.#settle(input as AnyRecord, done, result)
    this.#underWay--
    if (done || this.options.order !== 'key') this.#lanes.leave(call, this.#start)
    else this.#leaveWhenDone(call)
    this.#pump()
  }

  /** A key's next record waits while a failed one may be delivered here again: until its route is done with it. */
  #leaveWhenDone(call: Call<I>): void {
    const failed = deliveries(call.input)
    let left = 1
    const done = () => {
      if (--left > 0) return
      this.#lanes.leave(call, this.#start)
      this.#pump()
    }
    if (call.lanes.length > 0) {
      this.#lanes.keep(call, failed)
      left += failed.length
      for (const record of failed) record.owner.whenDone(record, done)
    }
    done()
  }

  #settle(record: AnyRecord, done: boolean, result: unknown): void {
    if (!(done ? record.ack() : record.fail(result))) return
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
