import { BehaviorSubject, type Observable, type Subscription } from 'rxjs'
import type { ReadEvent } from '../driver.js'
import { Fifo } from '../fifo.js'
import type { ReadRecord } from '../read-record.js'

export type ReadBatch = Extract<ReadEvent, { readonly type: 'batch' }>

type Result = IteratorResult<ReadRecord, undefined>

interface Waiting {
  resolve(result: Result): void
  reject(error: unknown): void
}

/**
 * One loop over a read. The read begins with the first `next()` and ends with the loop. While a fetched batch waits for
 * `next()`, nothing more is fetched, except for fetches already in flight.
 */
export class ReadIterator implements AsyncIterableIterator<ReadRecord> {
  readonly #paused = new BehaviorSubject(false)
  readonly #batches = new Fifo<ReadBatch>()
  /** Pending calls of `next()`. */
  readonly #waiting = new Fifo<Waiting>()
  #current: ReadBatch | undefined
  #at = 0
  #subscription: Subscription | undefined
  #end: { readonly error?: unknown } | undefined

  constructor(
    readonly batches: (paused: Observable<boolean>) => Observable<ReadBatch>,
    readonly record: (batch: ReadBatch, at: number) => ReadRecord,
  ) {}

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<Result> {
    const answer = new Promise<Result>((resolve, reject) => this.#waiting.push({ resolve, reject }))
    this.#begin()
    this.#serve()
    return answer
  }

  return(): Promise<Result> {
    this.#leave()
    return Promise.resolve({ done: true, value: undefined })
  }

  throw(error: unknown): Promise<never> {
    this.#leave()
    return Promise.reject(error)
  }

  #begin(): void {
    if (this.#subscription !== undefined || this.#end !== undefined) return
    this.#subscription = this.batches(this.#paused).subscribe({
      next: batch => {
        this.#batches.push(batch)
        this.#serve()
        if (this.#batches.size > 0) this.#paused.next(true)
      },
      error: error => this.#ended({ error }),
      complete: () => this.#ended({}),
    })
  }

  #ended(end: { readonly error?: unknown }): void {
    this.#end ??= end
    this.#serve()
  }

  #leave(): void {
    this.#end = {}
    this.#batches.clear()
    this.#current = undefined
    this.#subscription?.unsubscribe()
    this.#serve()
  }

  #serve(): void {
    while (this.#waiting.size > 0) {
      const record = this.#take()
      if (record !== undefined) this.#waiting.shift()!.resolve({ done: false, value: record })
      else if (this.#end !== undefined) this.#answerEnd(this.#waiting.shift()!, this.#end)
      else return
    }
  }

  /** An error is thrown once. After that the loop is done. */
  #answerEnd({ resolve, reject }: Waiting, end: { readonly error?: unknown }): void {
    this.#end = {}
    if ('error' in end) reject(end.error)
    else resolve({ done: true, value: undefined })
  }

  #take(): ReadRecord | undefined {
    if (this.#current === undefined || this.#at === this.#current.to) {
      this.#current = this.#batches.shift()
      if (this.#current === undefined) return undefined
      this.#at = this.#current.from
      // The next batch is fetched while the last one is worked on.
      if (this.#batches.size === 0 && this.#paused.value) this.#paused.next(false)
    }
    return this.record(this.#current, this.#at++)
  }
}
