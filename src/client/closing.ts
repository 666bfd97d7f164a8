import { getMaxListeners, setMaxListeners } from 'node:events'
import {
  catchError,
  concat,
  defer,
  EMPTY,
  ignoreElements,
  NEVER,
  Observable,
  type SchedulerLike,
  type Subject,
  take,
  takeUntil,
  timer,
} from 'rxjs'
import type { Clock } from '../clock.js'

/** How long closing may take after it has stopped waiting for records, ms. If no broker answers, the rest is skipped. */
export const closingBounds = {
  /** After the time-out of `closeGracefully`: its caller may kill the process soon after. */
  afterTimeout: 1_500,
  /** After `close()`, and if everything was settled before the time-out. */
  afterWaiting: 5_000,
} as const

/** How much of that time each step leaves for the later steps, ms, in case a broker does not answer it. */
const reserved = { commit: 500, leave: 300, publish: 100, disconnect: 0 } as const

/** The steps of closing, in this order. Each is bounded, so closing always ends. */
export interface ClosingSteps {
  readonly clock: Clock
  /** Emits when something changed that a step may wait for. */
  readonly changes: Subject<void>
  /** Whether everything delivered was settled and routed. */
  drained(): boolean
  flushCommits(): void
  committed(): boolean
  leave(): Observable<never>
  published(): boolean
  disconnect(): Observable<never>
}

/** Completes when the condition is true. Checks it at every change. */
export function until(condition: () => boolean, changes: Observable<unknown>): Observable<never> {
  return new Observable(subscriber => {
    if (condition()) return subscriber.complete()
    const subscription = changes.subscribe(() => {
      if (condition()) subscriber.complete()
    })
    return () => subscription.unsubscribe()
  })
}

/** Completes with the work, after `ms`, or when the work fails, so that the next step always begins. */
export function bounded(work: () => Observable<unknown>, ms: number, scheduler: SchedulerLike): Observable<never> {
  return defer(work).pipe(
    ignoreElements(),
    takeUntil(timer(ms, scheduler)),
    catchError(() => EMPTY),
  )
}

/**
 * Closes in bounded time: waits for the delivered records until `patience` emits, then commits, leaves the group, waits for
 * pending publishes, and disconnects.
 *
 * @param patience Emits when the wait for records must end.
 * @param timeout The latest time at which `patience` emits, in ms from now. Closing is over `closingBounds.afterTimeout` ms
 * after that.
 */
export function closing(
  steps: ClosingSteps,
  patience: Observable<unknown>,
  timeout = Number.POSITIVE_INFINITY,
): Observable<never> {
  const { clock, changes } = steps
  const latest = clock.monotonic() + timeout + closingBounds.afterTimeout
  return concat(
    until(() => steps.drained(), changes).pipe(takeUntil(patience.pipe(take(1)))),
    defer(() => {
      const end = Math.min(latest, clock.monotonic() + closingBounds.afterWaiting)
      const step = (name: keyof typeof reserved, work: () => Observable<unknown>) =>
        defer(() => bounded(work, Math.max(0, end - reserved[name] - clock.monotonic()), clock.scheduler))
      return concat(
        step('commit', () => {
          steps.flushCommits()
          return until(() => steps.committed(), changes)
        }),
        step('leave', () => steps.leave()),
        step('publish', () => until(() => steps.published(), changes)),
        step('disconnect', () => steps.disconnect()),
      )
    }),
  )
}

/** Emits when the signal aborts; never without a signal. */
export function aborted(signal: AbortSignal | undefined): Observable<unknown> {
  if (signal === undefined) return NEVER
  return new Observable(subscriber => {
    const abort = () => subscriber.next(signal.reason)
    if (signal.aborted) return abort()
    // Node warns of more than ten listeners. A program may close any number of clients with one signal.
    changeMaxListeners(signal, 1)
    signal.addEventListener('abort', abort)
    return () => {
      signal.removeEventListener('abort', abort)
      changeMaxListeners(signal, -1)
    }
  })
}

/** Skips unlimited signals, and those that are not Node's own. */
function changeMaxListeners(signal: AbortSignal, change: 1 | -1): void {
  if (!(signal instanceof EventTarget)) return
  const max = getMaxListeners(signal)
  if (max > 0) setMaxListeners(max + change, signal)
}
