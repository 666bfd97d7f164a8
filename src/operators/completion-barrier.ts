import { from, Observable, type ObservableInput, type OperatorFunction } from 'rxjs'
import type { CommitPoint } from '../commit-point.js'
import { checkOptions, type KnownOptions } from '../options.js'
import { type BarrierRecord, CompletedPrefix } from './completed-prefix.js'
import { subscribeLinked } from './subscribe-linked.js'

export type BarrierSignal =
  | { readonly type: 'delivered'; readonly record: BarrierRecord }
  | { readonly type: 'completed'; readonly record: BarrierRecord }
  /** Nothing more comes below `offset`: markers and gaps up to there are completed with what was delivered before them. */
  | {
      readonly type: 'passed'
      readonly topic: string
      readonly partition: number
      readonly offset: bigint | number
    }

export interface CompletionBarrierOptions {
  /**
   * Each value makes the barrier emit what is complete so far, even if that is fewer than `count` records, and begins a
   * new group. Its completion changes nothing, its error ends the result.
   */
  readonly flush?: ObservableInput<unknown> | undefined
}

const known: KnownOptions<CompletionBarrierOptions> = { flush: true }

/**
 * Buffers completions until the next `count` records, in delivery order, are all completed, then emits the position
 * after them.
 *
 * `bufferCount` for completions: records of one partition go in as `delivered` in their order and as `completed` in any
 * order; out comes a {@link CommitPoint} below which everything is completed. The barrier counts deliveries and never
 * computes with offsets, for compaction and transactions leave gaps. Where one completion fills several groups, the
 * newest position stands for them all. When the source completes, what is complete so far is emitted. Positions only
 * grow. A record that is delivered or completed again, or completed without having been delivered, changes nothing.
 *
 * Errors with a `RangeError` where a position would not be safe: when it is given the signals of another partition
 * (records on a retry topic count where they were read, see `record.source`), or deliveries out of the log's order.
 *
 * ```
 * source                 --a--b--c--B--A-----C--|    lower case: delivered, upper case: completed
 * completionBarrier(1)   --------------2-----3--|    the position after b, then after c
 * ```
 *
 * @param count How many records make a group; at least 1. `Infinity`: positions are emitted by `flush` alone.
 * @throws RangeError when `count` is neither an integer ≥ 1 nor `Infinity`; ConfigurationError for an unknown option.
 */
export function completionBarrier(
  count = 1,
  options: CompletionBarrierOptions = {},
): OperatorFunction<BarrierSignal, CommitPoint> {
  if (!(count >= 1) || (Number.isFinite(count) && !Number.isInteger(count))) {
    throw new RangeError(`completionBarrier: count must be an integer ≥ 1 or Infinity (got ${count})`)
  }
  checkOptions('completionBarrier', options, known)
  return source =>
    new Observable(subscriber => {
      const prefix = new CompletedPrefix(count)
      const emit = (point: CommitPoint | undefined) => {
        if (point !== undefined) subscriber.next(point)
      }
      if (options.flush !== undefined) {
        subscribeLinked(from(options.flush), subscriber, {
          next: () => emit(prefix.take()),
          error: error => subscriber.error(error),
          complete: () => {},
        })
        if (subscriber.closed) return
      }
      subscribeLinked(source, subscriber, {
        next: signal => {
          try {
            if (signal.type === 'delivered') return prefix.deliver(signal.record)
            if (signal.type === 'completed') prefix.complete(signal.record)
            else prefix.pass(signal.topic, signal.partition, signal.offset)
          } catch (error) {
            return subscriber.error(error)
          }
          emit(prefix.takeGroup())
        },
        error: error => subscriber.error(error),
        complete: () => {
          emit(prefix.take())
          subscriber.complete()
        },
      })
    })
}
