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

/** What closing may take once it does not wait for records any more, ms. What a broker that is gone cannot do is given up. */
export const closingBounds = {
  /** After the time-out of `closeGracefully`: whoever set it may kill the process soon after. */
  afterTimeout: 1_500,
  /** After `close()`, and where everything was settled before the time-out. */
  afterWaiting: 5_000,
} as const

/** What of that is kept for the steps behind each, ms: one that a broker does not answer leaves time for the others. */
const kept = { commit: 500, leave: 300, publish: 100, disconnect: 0 } as const

/** What closing does, in this order; each step is bounded, so the end always comes. */
export interface ClosingSteps {
  readonly clock: Clock
  /** Something changed that a step may wait for. */
  readonly changes: Subject<void>
  /** Everything delivered was settled and routed. */
  drained(): boolean
  flushCommits(): void
  committed(): boolean
  leave(): Observable<never>
  published(): boolean
  disconnect(): Observable<never>
}

/** Completes when the condition holds, looking again at every change. */
export function until(condition: () => boolean, changes: Observable<unknown>): Observable<never> {
  return new Observable(subscriber => {
    if (condition()) return subscriber.complete()
    const subscription = changes.subscribe(() => {
      if (condition()) subscriber.complete()
    })
    return () => subscription.unsubscribe()
  })
}

/** Completes with the work, or after `ms`, or when it fails: nothing holds up what comes after. */
export function bounded(work: () => Observable<unknown>, ms: number, scheduler: SchedulerLike): Observable<never> {
  return defer(work).pipe(
    ignoreElements(),
    takeUntil(timer(ms, scheduler)),
    catchError(() => EMPTY),
  )
}

/**
 * Closes in bounded time: waits for what was delivered while `patience` lasts, commits, leaves, lets publishes end, and
 * disconnects.
 *
 * @param patience Emits when there is to be no more waiting for records.
 * @param timeout When `patience` emits at the latest, ms from now: all is over `closingBounds.afterTimeout` ms after that.
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
      const step = (name: keyof typeof kept, work: () => Observable<unknown>) =>
        defer(() => bounded(work, Math.max(0, end - kept[name] - clock.monotonic()), clock.scheduler))
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

/** Emits on the abort of the signal; never without one. */
export function aborted(signal: AbortSignal | undefined): Observable<unknown> {
  if (signal === undefined) return NEVER
  return new Observable(subscriber => {
    const abort = () => subscriber.next(signal.reason)
    if (signal.aborted) return abort()
    // One of the listeners that Node warns of, where there are more than ten: a program may close any number of clients by it.
    changeMaxListeners(signal, 1)
    signal.addEventListener('abort', abort)
    return () => {
      signal.removeEventListener('abort', abort)
      changeMaxListeners(signal, -1)
    }
  })
}

/** Leaves alone what is unlimited, and signals that are not Node's own. */
function changeMaxListeners(signal: AbortSignal, change: 1 | -1): void {
  if (!(signal instanceof EventTarget)) return
  const max = getMaxListeners(signal)
  if (max > 0) setMaxListeners(max + change, signal)
}
