import { type Observable, type OperatorFunction, of, type Subscription } from 'rxjs'
import type { ConsumeRecord } from '../record.js'

/** A topic's stream whose subscriber gets one record each time it asks. */
export interface AskedStream {
  /** Subscribing asks for the first record. */
  readonly records: Observable<ConsumeRecord>
  /** Asks for the next record. */
  ask(): void
  /** Called with each record: no further one is delivered before the next `ask`. */
  rest(record: ConsumeRecord): void
}

type Result<R> = IteratorResult<R, undefined>

/** A pending call of `next`. */
interface Call<R> {
  resolve(result: Result<R>): void
  reject(error: unknown): void
}

const done: Result<never> = Object.freeze({ done: true, value: undefined })

/** The prototype of all async iterators. In engines that have them, it has helpers such as `map` and `take`. */
const inherited: object = Object.getPrototypeOf(Object.getPrototypeOf(async function* () {}.prototype))

/**
 * Iterates over a topic's records, one at a time.
 *
 * It subscribes at the first `next`. Each `next` asks the stream for a record, and no record is delivered without being asked
 * for. Concurrent calls of `next` are answered in order.
 *
 * It ends with the stream, with the stream's error, and by `return` and `throw`, which a loop calls when it is left. Records
 * that were taken and not settled are then delivered again to the next subscriber, as with RxJS's `take`.
 */
export class RecordIterator<R> implements AsyncIterableIterator<R>, AsyncDisposable {
  readonly #stream: AskedStream
  readonly #steps: OperatorFunction<ConsumeRecord, R> | undefined
  readonly #calls: Call<R>[] = []
  #subscription: Subscription | undefined
  /** A record that is in its steps. */
  #underWay: Subscription | undefined
  /** The record that was taken last, if there are steps. */
  #taken: ConsumeRecord | undefined
  /** True: no more records come. */
  #completed = false
  /** An error that no call has been rejected with yet. */
  #failure: { readonly error: unknown } | undefined
  #over = false

  constructor(stream: AskedStream, steps: OperatorFunction<ConsumeRecord, R> | undefined) {
    this.#stream = stream
    this.#steps = steps
  }

  /** Resolves to the next record. Rejects once with the error that ended the stream. */
  next(): Promise<Result<R>> {
    if (this.#failure !== undefined) {
      const { error } = this.#failure
      this.#failure = undefined
      return Promise.reject(error)
    }
    if (this.#over) return Promise.resolve(done)
    return new Promise((resolve, reject) => {
      this.#calls.push({ resolve, reject })
      // A call behind another one asks when that one has its record.
      if (this.#calls.length > 1) return
      if (this.#subscription === undefined) this.#subscribe()
      else this.#stream.ask()
    })
  }

  /** Unsubscribes. Pending calls of `next` resolve as done. */
  return(): Promise<Result<R>> {
    this.#end()
    return Promise.resolve(done)
  }

  /** Unsubscribes as `return` does, and rejects with `error`. */
  throw(error?: unknown): Promise<Result<R>> {
    this.#end()
    return Promise.reject(error)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end()
  }

  #subscribe(): void {
    const subscription = this.#stream.records.subscribe({
      next: record => this.#take(record),
      error: error => this.#fail(error),
      complete: () => {
        this.#completed = true
        if (this.#underWay === undefined) this.#end()
        else this.#endWith(this.#taken!.signal)
      },
    })
    this.#subscription = subscription
    // It may have ended synchronously.
    if (this.#over) subscription.unsubscribe()
  }

  #take(record: ConsumeRecord): void {
    this.#stream.rest(record)
    if (this.#steps === undefined) return this.#give(record as unknown as R)
    this.#taken = record
    let ended = false
    const underWay = of(record)
      .pipe(this.#steps)
      .subscribe({
        next: value => this.#give(value),
        error: error => this.#fail(error),
        complete: () => {
          ended = true
          this.#underWay = undefined
          if (this.#completed) this.#end()
          // The steps dropped the record: the call still waits for one.
          else if (!this.#over && this.#calls.length > 0) this.#stream.ask()
        },
      })
    if (this.#over) underWay.unsubscribe()
    else if (!ended) this.#underWay = underWay
  }

  #give(value: R): void {
    this.#calls.shift()?.resolve({ done: false, value })
    // With steps, the next record is asked for when this one has left them.
    if (this.#steps === undefined && this.#calls.length > 0) this.#stream.ask()
  }

  #fail(error: unknown): void {
    const call = this.#calls.shift()
    if (call === undefined) this.#failure = { error }
    else call.reject(error)
    this.#finish()
  }

  /** The client closes. A step that never ends (a decoder that hangs) keeps the loop only until the client has closed. */
  #endWith(signal: AbortSignal): void {
    if (signal.aborted) this.#end()
    else signal.addEventListener('abort', () => this.#end(), { once: true })
  }

  #end(): void {
    this.#failure = undefined
    this.#finish()
  }

  #finish(): void {
    this.#over = true
    this.#underWay?.unsubscribe()
    this.#underWay = undefined
    this.#taken = undefined
    this.#subscription?.unsubscribe()
    for (const call of this.#calls.splice(0)) call.resolve(done)
  }
}

Object.setPrototypeOf(RecordIterator.prototype, inherited)
