import { asyncScheduler, Observable, type OperatorFunction, type SchedulerLike } from 'rxjs'
import {
  checkDuration,
  checkFunction,
  checkLimit,
  checkOptions,
  checkScheduler,
  invalid,
  type KnownOptions,
} from '../../options.js'
import type { ConsumeRecord } from '../../record.js'
import { subscribeLinked } from '../subscribe-linked.js'
import { followConcurrency, isChanging } from './concurrency.js'
import { type HandlerContext, Handling } from './handling.js'
import type { HandleOrder } from './lanes.js'
import type { Handled } from './result.js'

/** The options of `handle`. */
export interface HandleOptions {
  /**
   * The maximum number of calls of `project` in flight; further records wait. An integer ≥ 1 or `Infinity`. Default: unlimited with
   * order `'partition'` (which allows one call per partition), otherwise 64.
   *
   * An Observable of numbers changes it at run time. No call begins before its first number; 0 pauses; its completion keeps
   * the last number. Calls in flight go on if the limit drops below their count. The stream errors if this Observable
   * errors, emits an invalid number, or completes without any.
   */
  readonly concurrency?: number | Observable<number> | undefined
  /**
   * Which records may be handled at the same time:
   * - `'partition'` (default): one at a time per partition that records are read from; partitions in parallel.
   * - `'key'`: one at a time per key, and only when all earlier records of the key are completed. A record that failed is
   *   completed when its failure route has completed it. `redeliver` delivers it here again before all later ones of its
   *   key. Records without a key (null) have no order, nor do the records of one array.
   * - `'none'`: any.
   */
  readonly order?: HandleOrder | undefined
  /** The longest time of one call, ms. Then its records fail with `HandlerTimeoutError`. Default: unlimited. */
  readonly timeout?: number | undefined
  /** Times `timeout`; default `asyncScheduler`. */
  readonly scheduler?: SchedulerLike | undefined
  /**
   * What happens if a batch of several records fails with anything but a `BatchFailure`. `'fail'` (default): all records fail.
   * `'one-by-one'`: the handler is called again with arrays of one record, in order and one at a time, and each call settles
   * its record. Records that the failed call had already processed are processed again.
   */
  readonly onBatchFailure?: 'fail' | 'one-by-one' | undefined
}

/** The input of `handle`: records, or arrays of records that are handled and settled together. */
export type Handleable = ConsumeRecord<unknown> | readonly ConsumeRecord<unknown>[]
type RecordOf<I> = I extends readonly (infer R)[] ? R : I

/** How `handle` settled a record. */
export type Outcome<R = ConsumeRecord, T = unknown> =
  /** Its handler succeeded with this value. */
  | { readonly record: R; readonly status: 'acked'; readonly value: T }
  /** Its handler failed for this reason, or took too long. */
  | { readonly record: R; readonly status: 'failed'; readonly reason: unknown }

const known: KnownOptions<HandleOptions> = {
  concurrency: true,
  order: true,
  timeout: true,
  scheduler: true,
  onBatchFailure: true,
}

/**
 * Calls a handler for every record. Acks the record when the handler succeeds, and fails it when the handler fails.
 *
 * The handler returns a value, a promise, an Observable or an async iterable. The last of several values is the result; an
 * Observable succeeds when it completes. An Observable or a generator that a promise resolves with is subscribed to, so
 * `async record => client.publish(…)` publishes. An Observable whose last value is an Observable fails, because nothing
 * would subscribe to that. So does an array with promises or Observables in it, because nothing would wait for them. If the
 * handler throws, rejects, errors or times out, the record fails and the pipeline goes on: only an error of the source errors
 * the result. Calls begin in the order in which the records arrive.
 *
 * Every settlement by `handle` is emitted as an {@link Outcome}. A record that was settled by other means, or whose
 * assignment has ended (revoked, lost), has no outcome. If that happens before its turn, the handler is not called.
 *
 * An array is handled by one call, without the records that are settled or revoked by then. If the handler fails, all its
 * records fail, unless it fails with a {@link BatchFailure}, which names the failed ones, or `onBatchFailure` is set. With
 * order `'key'`, redelivered records are handled apart from the other records of their array; those that came in one
 * array the first time are handled together.
 *
 * At a timeout, the handler's Observable is unsubscribed and its `signal` aborted. A promise that ignores the signal cannot
 * be stopped: its result is ignored, and the next record of its partition begins beside it. With order `'key'` the next
 * record of its key begins once the failed one is completed. Unsubscribing cancels all calls in the same way; their records
 * stay unsettled and are delivered again.
 *
 * While the client gives up partitions in a rebalance, no waiting record of these begins, and the rebalance waits only for
 * calls in flight. Waiting records begin after it, here or at the new owner of their partition.
 *
 * @example
 * client.topic('orders').pipe(handle(record => charge(record), { concurrency: 64, order: 'key' })).subscribe()
 *
 * ```
 * source            -a-b---c-------|     one partition; each call takes 3 frames, and c's fails
 * handle            ----a--b--x----|
 * ```
 *
 * @example
 * client.topic('orders').pipe(handle((record, { signal }) => fetch(urlOf(record), { signal }), { timeout: 5_000 })).subscribe()
 *
 * @example
 * // In bulk: one call for many records, settled together.
 * client.topic('orders').pipe(
 *   bufferTime(50, null, 500),
 *   filter(records => records.length > 0),
 *   handle(records => insertMany(records), { order: 'none' }),
 * ).subscribe()
 *
 * @throws ConfigurationError if the handler is not a function, or an option is invalid or unknown.
 */
export function handle<I extends Handleable, P>(
  project: (input: I, context: HandlerContext) => P,
  options: HandleOptions = {},
): OperatorFunction<I, Outcome<RecordOf<I>, Handled<P>>> {
  checkFunction('handle: the handler', project)
  checkOptions('handle', options, known)
  const { order = 'partition', timeout, scheduler = asyncScheduler, onBatchFailure = 'fail' } = options
  const { concurrency = order === 'partition' ? Number.POSITIVE_INFINITY : 64 } = options
  if (order !== 'partition' && order !== 'key' && order !== 'none') {
    throw invalid('handle: order', order, "must be 'partition', 'key' or 'none'")
  }
  if (onBatchFailure !== 'fail' && onBatchFailure !== 'one-by-one') {
    throw invalid('handle: onBatchFailure', onBatchFailure, "must be 'fail' or 'one-by-one'")
  }
  const changing = isChanging(concurrency) ? concurrency : undefined
  if (changing === undefined) checkLimit('handle: concurrency', concurrency)
  const limit = changing === undefined ? (concurrency as number) : 0
  if (timeout !== undefined) checkDuration('handle: timeout', timeout, 1)
  checkScheduler('handle: scheduler', scheduler)
  return source =>
    new Observable(subscriber => {
      const handling = new Handling(
        project,
        { concurrency: limit, order, timeout, scheduler, onBatchFailure },
        subscriber,
      )
      subscriber.add(() => handling.cancel())
      if (changing !== undefined) {
        followConcurrency(changing, subscriber, to => handling.limitTo(to))
        if (subscriber.closed) return
      }
      subscribeLinked(source, subscriber, {
        next: input => handling.take(input),
        error: error => subscriber.error(error),
        complete: () => handling.sourceCompleted(),
      }).add(() => handling.sourceLeft())
    })
}
