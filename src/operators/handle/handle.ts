import { asyncScheduler, Observable, type OperatorFunction, type SchedulerLike } from 'rxjs'
import { checkDuration, checkFunction, checkLimit, checkOptions, invalid, type KnownOptions } from '../../options.js'
import type { ConsumeRecord } from '../../record.js'
import { subscribeLinked } from '../subscribe-linked.js'
import { Handling } from './handling.js'
import type { HandleOrder } from './lanes.js'
import type { Handled } from './result.js'

export interface HandleOptions {
  /**
   * How many calls of `project` may be under way; what comes beyond waits its turn. A whole number of at least 1 or
   * `Infinity`. Default: with order `'partition'` as many as there are partitions, otherwise 64.
   */
  readonly concurrency?: number
  /**
   * `'partition'` (default): one at a time per partition that records are read from, partitions side by side. `'key'`:
   * one at a time per key, and none before those in front of it are completed; one that failed, by whomever, is so when
   * its route is done with it, and `redeliver` gives it here again before all behind it. Records without a key (null) are
   * in no order, nor are those of one array. `'none'`: in any order.
   */
  readonly order?: HandleOrder
  /** How long one call may take, ms; then its records fail with `HandlerTimeoutError`. Default: any time. */
  readonly timeout?: number
  /** The time of `timeout`; default `asyncScheduler`. */
  readonly scheduler?: SchedulerLike
}

/** What `handle` takes: records, or arrays of records that are handled and settled together. */
export type Handleable = ConsumeRecord<unknown> | readonly ConsumeRecord<unknown>[]
type RecordOf<I> = I extends readonly (infer R)[] ? R : I

/** How `handle` settled a record. */
export type Outcome<R = ConsumeRecord, T = unknown> =
  | { readonly record: R; readonly status: 'acked'; readonly value: T }
  | { readonly record: R; readonly status: 'failed'; readonly reason: unknown }

const known: KnownOptions<HandleOptions> = { concurrency: true, order: true, timeout: true, scheduler: true }

/**
 * Runs a handler for every record, acks the record when the handler is done and fails it when the handler fails.
 *
 * The handler returns a value, a promise, an Observable or an async iterable; of several values the last counts, and
 * done means complete. A throw, a rejection, an error and a timeout are failures of the record, never of the pipeline:
 * only errors of the source pass through. What starts, starts in the order it came. Each settlement that counted is
 * emitted as an {@link Outcome}; a record that was settled by other means, or that is no longer ours (revoked, lost),
 * has none, and if that is so before its turn its handler is not called at all.
 *
 * An array is handled in one call, without what is settled or taken away by then. With order `'key'`, records that are
 * delivered again are called for apart from the others of their array, those that came in one array before together.
 *
 * At a timeout the handler's Observable is unsubscribed; a promise cannot be stopped, its result is ignored, and the
 * next record of its partition goes on beside it; with order `'key'` once the failed one is completed. Unsubscribing cancels everything the same way, and leaves the
 * records under way unsettled, to be delivered again.
 *
 * While the client gives partitions up in a rebalance, nothing begins of what waits here, and the rebalance waits only for
 * what is under way. What waits begins after it, or elsewhere where its partition went.
 *
 * @example
 * client.topic('orders').pipe(handle(record => charge(record), { concurrency: 64, order: 'key' })).subscribe()
 *
 * @example
 * // In bulk: one call for many records, settled together.
 * client.topic('orders').pipe(
 *   bufferTime(50, null, 500),
 *   filter(records => records.length > 0),
 *   handle(records => insertMany(records), { order: 'none' }),
 * ).subscribe()
 *
 * @throws ConfigurationError when the handler is no function, or an option is invalid or unknown.
 */
export function handle<I extends Handleable, P>(
  project: (input: I) => P,
  options: HandleOptions = {},
): OperatorFunction<I, Outcome<RecordOf<I>, Handled<P>>> {
  checkFunction('handle: the handler', project)
  checkOptions('handle', options, known)
  const { order = 'partition', timeout, scheduler = asyncScheduler } = options
  const { concurrency = order === 'partition' ? Number.POSITIVE_INFINITY : 64 } = options
  if (order !== 'partition' && order !== 'key' && order !== 'none') {
    throw invalid('handle: order', order, "must be 'partition', 'key' or 'none'")
  }
  checkLimit('handle: concurrency', concurrency)
  if (timeout !== undefined) checkDuration('handle: timeout', timeout, 1)
  return source =>
    new Observable(subscriber => {
      const handling = new Handling(project, { concurrency, order, timeout, scheduler }, subscriber)
      subscriber.add(() => handling.cancel())
      subscribeLinked(source, subscriber, {
        next: input => handling.take(input),
        error: error => subscriber.error(error),
        complete: () => handling.sourceCompleted(),
      }).add(() => handling.sourceLeft())
    })
}
