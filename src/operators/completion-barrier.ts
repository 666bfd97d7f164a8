import { from, Observable, type ObservableInput, type OperatorFunction } from 'rxjs'
import type { CommitPoint } from '../commit-point.js'
import { checkLimit, checkOptions, type KnownOptions } from '../options.js'
import { type BarrierRecord, CompletedPrefix } from './completed-prefix.js'
import { subscribeLinked } from './subscribe-linked.js'

/** What `completionBarrier` takes. Switch on `type`. */
export type BarrierSignal =
  /** The record was delivered to its pipeline. */
  | { readonly type: 'delivered'; readonly record: BarrierRecord }
  /** The record needs no more work. */
  | { readonly type: 'completed'; readonly record: BarrierRecord }
  /** Nothing more comes below `offset`. Markers and gaps up to it are completed together with the deliveries before them. */
  | {
      readonly type: 'passed'
      readonly topic: string
      readonly partition: number
      readonly offset: bigint | number
    }

/** The options of `completionBarrier`. */
export interface CompletionBarrierOptions {
  /**
   * Each value makes the barrier emit the completed prefix, even if it has fewer than `count` records, and begin a new
   * group. Its completion has no effect; its error errors the result.
   */
  readonly flush?: ObservableInput<unknown> | undefined
}

const known: KnownOptions<CompletionBarrierOptions> = { flush: true }

/**
 * Waits until the next `count` records, in delivery order, are all completed, then emits the position after them. This is
 * `bufferCount` for completions.
 *
 * It takes the records of one partition, as `delivered` in their order and as `completed` in any order, and emits a
 * {@link CommitPoint} below which everything is completed.
 *
 * - It counts deliveries and never computes with offsets, because compaction and transactions leave gaps.
 * - If one completion completes several groups, only the newest position is emitted. Positions only grow.
 * - When the source completes, the position of the completed prefix is emitted.
 * - A record that is delivered or completed twice, or completed without having been delivered, changes nothing.
 *
 * Errors with a `RangeError` if a position would not be safe: for signals of another partition (records of a retry topic
 * count where they were read, see `record.source`), or for deliveries out of the log's order.
 *
 * ```
 * source                 --a--b--c--B--A-----C--|    lower case: delivered, upper case: completed
 * completionBarrier(1)   --------------2-----3--|    the position after b, then after c
 * ```
 *
 * @param count How many records make a group; an integer ≥ 1, default 1. `Infinity`: only `flush` emits positions.
 * @throws ConfigurationError if `count` is neither an integer ≥ 1 nor `Infinity`, or for an unknown option.
 */
export function completionBarrier(
  count = 1,
  options: CompletionBarrierOptions = {},
): OperatorFunction<BarrierSignal, CommitPoint> {
  checkLimit('completionBarrier: count', count)
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
