import { defer, Observable, type OperatorFunction, Subject, type Subscriber, takeUntil } from 'rxjs'
import { deliveryBehind } from '../../delivery.js'
import { ConfigurationError } from '../../errors.js'
import { checkFunction } from '../../options.js'
import type { ConsumeRecord } from '../../record.js'
import { isRecord, notRecord } from '../is-record.js'
import { RebalanceWatch } from '../rebalance-watch.js'
import { subscribeLinked } from '../subscribe-linked.js'
import { ForkedRecord } from './forked-record.js'

/**
 * Gives every record to every branch, and settles it once all branches have settled it. The safe `share()`.
 *
 * In a branch, a record has its own `ack`, `fail` and `settled`; everything else, `signal` too, is that of the source's
 * record. The record is acked once every branch has acked it. If some branches failed it, it fails once all are done, with
 * their reason (an `AggregateError` of several reasons); a retry runs every branch again. The values that the branches emit
 * are merged.
 *
 * ```
 * source                    -a--b-------|
 * branch 1                  -A--B-------|    both acked at once
 * branch 2                  ---A-----x--|    b fails
 * a, b                      ---A-----x       a is acked with the last branch, b fails with it
 * ```
 *
 * - A branch that errors fails its open records with that error. `fork` takes no more records then. The sources of the
 *   other branches complete, and once these have ended the result errors. With `retry()` after it, all branches start again.
 * - A branch that completes while the source continues gets no more records. It can no longer settle its part of its open
 *   records and of all later ones: these are reported as `leaked`. Put `take` and `takeUntil` before `fork` and not into a
 *   branch. When all branches have completed, the result completes.
 * - The operators of this package work inside a branch as they do outside. With `handle` and `order: 'key'`, the next
 *   record of a key begins in one branch once the previous one is completed in all branches.
 * - Records that are unsettled when `fork` is unsubscribed are delivered again, to every branch.
 *
 * @example
 * client.topic('orders', { retries: 3, dlq: true }).pipe(fork(
 *   handle(record => audit(record)),
 *   pipe(keep(record => record.value !== null), handle(record => charge(record), { order: 'key' })),
 * )).subscribe()
 *
 * @param branches Operators; at least one.
 * @throws ConfigurationError if there is no branch, or one is not a function.
 */
export function fork<R extends AnyRecord, A>(a: OperatorFunction<R, A>): OperatorFunction<R, A>
export function fork<R extends AnyRecord, A, B>(
  a: OperatorFunction<R, A>,
  b: OperatorFunction<R, B>,
): OperatorFunction<R, A | B>
export function fork<R extends AnyRecord, A, B, C>(
  a: OperatorFunction<R, A>,
  b: OperatorFunction<R, B>,
  c: OperatorFunction<R, C>,
): OperatorFunction<R, A | B | C>
export function fork<R extends AnyRecord, A, B, C, D>(
  a: OperatorFunction<R, A>,
  b: OperatorFunction<R, B>,
  c: OperatorFunction<R, C>,
  d: OperatorFunction<R, D>,
): OperatorFunction<R, A | B | C | D>
export function fork<R extends AnyRecord, A, B, C, D, E>(
  a: OperatorFunction<R, A>,
  b: OperatorFunction<R, B>,
  c: OperatorFunction<R, C>,
  d: OperatorFunction<R, D>,
  e: OperatorFunction<R, E>,
): OperatorFunction<R, A | B | C | D | E>
export function fork<R extends AnyRecord, A, B, C, D, E, F>(
  a: OperatorFunction<R, A>,
  b: OperatorFunction<R, B>,
  c: OperatorFunction<R, C>,
  d: OperatorFunction<R, D>,
  e: OperatorFunction<R, E>,
  f: OperatorFunction<R, F>,
): OperatorFunction<R, A | B | C | D | E | F>
export function fork<R extends AnyRecord, T>(
  first: OperatorFunction<R, T>,
  ...others: readonly OperatorFunction<R, T>[]
): OperatorFunction<R, T>
export function fork<R extends AnyRecord>(
  ...operators: readonly OperatorFunction<R, unknown>[]
): OperatorFunction<R, unknown> {
  if (operators.length === 0) throw new ConfigurationError('fork must be given at least one branch')
  operators.forEach((branch, at) => {
    checkFunction(`fork: branch ${at + 1}`, branch, 'an operator')
  })
  return source =>
    new Observable(subscriber => {
      new Fork(operators, subscriber).subscribe(source)
    })
}

type AnyRecord = ConsumeRecord<unknown>

interface Branch<R> {
  readonly input: Subject<R>
  ended: boolean
}

/** How many open records trigger the first removal of those that are over. */
const firstSweep = 1_024

class Fork<R extends ConsumeRecord<unknown>> {
  readonly #branches: Branch<R>[]
  /** Records that some branch has not settled. */
  readonly #open = new Set<ForkedRecord<unknown>>()
  readonly #done = (forked: ForkedRecord<unknown>): void => {
    this.#open.delete(forked)
  }
  #sweepAt = firstSweep
  readonly #rebalances = new RebalanceWatch(underWay => {
    if (!underWay) this.#sweep()
  })
  readonly #leave = new Subject<void>()
  /** Records being given to the branches. More than one if a branch makes the source emit synchronously. */
  #giving = 0
  /** True: no more records are taken. */
  #closed = false
  /** True: the sources of the branches have completed. */
  #ended = false
  #failure: { readonly error: unknown } | undefined

  constructor(
    readonly operators: readonly OperatorFunction<R, unknown>[],
    readonly subscriber: Subscriber<unknown>,
  ) {
    this.#branches = operators.map(() => ({ input: new Subject<R>(), ended: false }))
  }

  subscribe(source: Observable<R>): void {
    const { subscriber } = this
    subscriber.add(() => {
      this.#rebalances.end()
      this.#open.clear()
    })
    for (const [at, operator] of this.operators.entries()) {
      subscribeLinked(
        defer(() => operator(this.#branches[at]!.input)),
        subscriber,
        {
          next: value => subscriber.next(value),
          error: error => this.#branchErrored(at, error),
          complete: () => this.#branchEnded(at),
        },
      )
      if (subscriber.closed) return
    }
    if (this.#closed) return
    subscribeLinked(source.pipe(takeUntil(this.#leave)), subscriber, {
      next: record => this.#take(record),
      error: error => subscriber.error(error),
      complete: () => this.#endSource(),
    })
  }

  #take(record: R): void {
    if (this.#closed) return
    if (!isRecord(record)) return this.subscriber.error(notRecord('fork', record))
    const forked = new ForkedRecord(record, this.#branches.length, this.#done)
    this.#rebalances.attend(deliveryBehind(record))
    if (this.#open.size >= this.#sweepAt) this.#sweep()
    this.#open.add(forked)
    // Make all parts before giving any away: a branch that ends meanwhile also leaves the part open that it was not given.
    const parts = this.#branches.map(({ ended }, at) => (ended ? undefined : forked.part(at)))
    this.#giving++
    for (const [at, part] of parts.entries()) {
      if (part !== undefined && !this.subscriber.closed) this.#branches[at]!.input.next(part as unknown as R)
    }
    this.#giving--
    if (this.#closed) this.#endSource()
  }

  /** Removes records that were settled by other means or revoked. Runs if there are many, and after a rebalance. */
  #sweep(): void {
    for (const forked of this.#open) if (forked.isOver) this.#open.delete(forked)
    this.#sweepAt = Math.max(firstSweep, this.#open.size * 2)
  }

  #branchErrored(at: number, error: unknown): void {
    this.#failure ??= { error }
    this.#closed = true
    for (const forked of [...this.#open]) if (!forked.isOver) forked.failPart(at, error)
    // A record being given to the branches is still given to those that have not ended.
    if (this.#giving === 0) this.#endSource()
    this.#branchEnded(at)
  }

  #branchEnded(at: number): void {
    this.#branches[at]!.ended = true
    if (!this.#branches.every(({ ended }) => ended)) return
    if (this.#failure === undefined) this.subscriber.complete()
    else this.subscriber.error(this.#failure.error)
  }

  #endSource(): void {
    this.#closed = true
    if (this.#ended || this.#giving > 0) return
    this.#ended = true
    this.#leave.next()
    for (const { input } of this.#branches) input.complete()
  }
}
