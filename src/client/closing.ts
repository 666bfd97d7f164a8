import { getMaxListeners, setMaxListeners } from 'node:events'
import { concat, defer, EMPTY, NEVER, Observable, type SchedulerLike, type Subject, take, takeUntil, timer } from 'rxjs'
import { catchError, ignoreElements } from 'rxjs/operators'

/** How long each step of closing may take, ms. What a broker that is gone cannot do is given up. */
export const closingSteps = { commit: 5_000, publish: 5_000, leave: 10_000, disconnect: 5_000 } as const

/** What closing does, in this order; each step is bounded, so the end always comes. */
export interface ClosingSteps {
  readonly scheduler: SchedulerLike
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
 */
export function closing(steps: ClosingSteps, patience: Observable<unknown>): Observable<never> {
  const { scheduler, changes } = steps
  return concat(
    until(() => steps.drained(), changes).pipe(takeUntil(patience.pipe(take(1)))),
    bounded(
      () => {
        steps.flushCommits()
        return until(() => steps.committed(), changes)
      },
      closingSteps.commit,
      scheduler,
    ),
    bounded(() => steps.leave(), closingSteps.leave, scheduler),
    bounded(() => until(() => steps.published(), changes), closingSteps.publish, scheduler),
    bounded(() => steps.disconnect(), closingSteps.disconnect, scheduler),
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
