import { asyncScheduler, Observable, type OperatorFunction, Subscription } from 'rxjs'
import type { CommitPoint, Committed } from '../commit-point.js'
import type { Driver } from '../driver.js'
import { CommitError } from '../errors.js'

export interface CommitOffsetsOptions {
  /** Told of every refused commit, also of those that are tried again. */
  readonly onError?: (error: CommitError) => void
}

const firstRetry = 100
const longestRetry = 2_000

/**
 * Commits positions: one commit in flight at a time, the newest position of each partition wins, and never a lower one.
 *
 * Emits a {@link Committed} for every position the broker has confirmed. A point whose assignment has ended is dropped,
 * for the broker would accept it and rewind the new owner. A refused commit that may pass later is tried again with the
 * newest positions, after 100 ms at first and 2 s at most; one that never will errors. On completion of the source what
 * is pending is committed before the result completes.
 *
 * @param driver Where to commit.
 */
export function commitOffsets(
  driver: Pick<Driver, 'commit' | 'scheduler'>,
  options: CommitOffsetsOptions = {},
): OperatorFunction<CommitPoint, Committed> {
  const scheduler = driver.scheduler ?? asyncScheduler
  return source =>
    new Observable(subscriber => {
      /** By assignment, or by partition where there is none: a new assignment may rightly start lower. */
      const newest = new Map<object | string, CommitPoint>()
      let pending = new Map<object | string, CommitPoint>()
      let inFlight = false
      let sourceCompleted = false
      let refusals = 0

      const send = () => {
        inFlight = false
        for (const key of newest.keys())
          if (typeof key === 'object' && (key as { ended: boolean }).ended) newest.delete(key)
        const sent = new Map([...pending].filter(([, point]) => point.assignment?.ended !== true))
        pending = new Map()
        if (sent.size === 0) {
          if (sourceCompleted) subscriber.complete()
          return
        }
        inFlight = true
        const request = new Subscription()
        subscriber.add(request)
        request.add(
          driver.commit([...sent.values()]).subscribe({
            error: error => {
              subscriber.remove(request)
              refused(error, sent)
            },
            complete: () => {
              subscriber.remove(request)
              refusals = 0
              for (const { topic, partition, offset, metadata, assignment } of sent.values()) {
                if (assignment?.ended !== true) subscriber.next({ topic, partition, offset, metadata, assignment })
              }
              send()
            },
          }),
        )
      }

      const refused = (cause: unknown, sent: Map<object | string, CommitPoint>) => {
        const error =
          cause instanceof CommitError
            ? cause
            : new CommitError(`a commit failed: ${cause}`, { cause, retriable: false })
        options.onError?.(error)
        if (!error.retriable) return subscriber.error(error)
        for (const [key, point] of sent) if (!pending.has(key)) pending.set(key, point)
        const delay = Math.min(firstRetry * 2 ** refusals++, longestRetry)
        subscriber.add(scheduler.schedule(send, delay))
      }

      subscriber.add(
        source.subscribe({
          next: point => {
            const key = point.assignment ?? `${point.topic}/${point.partition}`
            const last = newest.get(key)
            if (last !== undefined && (point.offset < last.offset || isSame(point, last))) return
            newest.set(key, point)
            pending.set(key, point)
            if (!inFlight) send()
          },
          error: error => subscriber.error(error),
          complete: () => {
            sourceCompleted = true
            if (!inFlight) send()
          },
        }),
      )
    })
}

function isSame(one: CommitPoint, other: CommitPoint): boolean {
  return one.offset === other.offset && one.metadata === other.metadata
}
