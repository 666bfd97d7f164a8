import { asyncScheduler, Observable, type OperatorFunction, type SchedulerLike } from 'rxjs'
import { checkDuration, checkFunction, checkLimit, checkOptions, invalid, type KnownOptions } from '../../options.js'
import type { ConsumeRecord } from '../../record.js'
import { subscribeLinked } from '../subscribe-linked.js'
import { followConcurrency, isChanging } from './concurrency.js'
import { type HandlerContext, Handling } from './handling.js'
import type { HandleOrder } from './lanes.js'
import type { Handled } from './result.js'

export interface HandleOptions {
  /**
   * How many calls of `project` may be under way; what comes beyond waits its turn. An integer ≥ 1 or `Infinity`.
   * Default: with order `'partition'` as many as there are partitions, otherwise 64.
   *
   * As an Observable of numbers it changes at run time: nothing begins before its first number, 0 pauses, and its completion
   * keeps the last. Where the limit falls below what is under way, that goes on. Its error, a number that is none of these, or
   * completion without any errors the stream.
   */
  readonly concurrency?: number | Observable<number> | undefined
  /**
   * `'partition'` (default): one at a time per partition that records are read from, partitions side by side. `'key'`:
   * one at a time per key, and none before those in front of it are completed; one that failed, by whomever, is so when
   * its route is done with it, and `redeliver` gives it here again before all behind it. Records without a key (null) are
   * in no order, nor are those of one array. `'none'`: in any order.
   */
  readonly order?: HandleOrder | undefined
  /** How long one call may take, ms; then its records fail with `HandlerTimeoutError`. Default: any time. */
  readonly timeout?: number | undefined
  /** The time of `timeout`; default `asyncScheduler`. */
  readonly scheduler?: SchedulerLike | undefined
  /**
   * When a batch of several records fails as a whole, by anything but a `BatchFailure`: `'fail'` (default) fails them all;
   * `'one-by-one'` calls the handler again with arrays of one, in order and one at a time, and each record is settled by its
   * own call. The records that the handler had done with by then are done again.
   */
  readonly onBatchFailure?: 'fail' | 'one-by-one' | undefined
}

/** What `handle` takes: records, or arrays of records that are handled and settled together. */
export type Handleable = ConsumeRecord<unknown> | readonly ConsumeRecord<unknown>[]
type RecordOf<I> = I extends readonly (infer R)[] ? R : I

/** How `handle` settled a record. */
export type Outcome<R = ConsumeRecord, T = unknown> =
  | { readonly record: R; readonly status: 'acked'; readonly value: T }
  | { readonly record: R; readonly status: 'failed'; readonly reason: unknown }

const known: KnownOptions<HandleOptions> = {
  concurrency: true,
  order: true,
  timeout: true,
  scheduler: true,
  onBatchFailure: true,
}

/**
 * Runs a handler for every record, acks the record when the handler is done and fails it when the handler fails.
 *
 * The handler returns a value, a promise, an Observable or an async iterable; of several values the last counts, and
 * done means complete. A throw, a rejection, an error and a timeout are failures of the record, never of the pipeline:
 * only errors of the source pass through. What starts, starts in the order it came. Each settlement that counted is
 * emitted as an {@link Outcome}; a record that was settled by other means, or that is no longer ours (revoked, lost),
 * has none, and if that is so before its turn its handler is not called at all.
 *
 * An array is handled in one call, without what is settled or taken away by then. When the handler fails they all fail,
 * unless it fails with a {@link BatchFailure}, which names those that did, or `onBatchFailure` says otherwise. With order
 * `'key'`, records that are delivered again are called for apart from the others of their array, those that came in one
 * array before together.
 *
 * At a timeout the handler's Observable is unsubscribed and its `signal` aborted. A promise that does not heed the signal
 * cannot be stopped: its result is ignored, and the next record of its partition goes on beside it; with order `'key'` once
 * the failed one is completed. Unsubscribing cancels everything the same way, and leaves the records under way unsettled, to
 * be delivered again.
 *
 * While the client gives partitions up in a rebalance, nothing begins of what waits here, and the rebalance waits only for
 * what is under way. What waits begins after it, or elsewhere where its partition went.
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
 * @throws ConfigurationError when the handler is no function, or an option is invalid or unknown.
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
