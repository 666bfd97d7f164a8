import { filter, ignoreElements, type Observable, takeUntil, tap, timer } from 'rxjs'
import type { Clock } from '../clock.js'
import type { Reports } from './reports.js'

/** How long a member waits for its first partitions before the log says so, ms. */
const loggedAfter = 3_000

/** What a member without an assignment waits for. A process that was killed stays a member until its session ends. */
export function waitsForGroup(group: string): string {
  return (
    `waiting for group '${group}' to assign partitions: other members have to rejoin, at the latest after their ` +
    'rebalanceTimeout, and a member that was killed counts until its sessionTimeout is over'
  )
}

/** Logs once, if a member is not given partitions soon after it has begun to join. Completes when it runs, or closes. */
export function logsWaiting(group: string, clock: Clock, { logger, state }: Reports): Observable<never> {
  const over = state.pipe(filter(now => now !== 'starting'))
  return timer(loggedAfter, clock.scheduler).pipe(
    takeUntil(over),
    tap(() => logger.info({ group }, waitsForGroup(group))),
    ignoreElements(),
  )
}
