import { type Observable, Subscription, takeUntil, timer } from 'rxjs'
import { systemClock } from '../../clock.js'
import type { ConsumeRequest } from '../../driver.js'
import type { Doorbell } from './doorbell.js'
import type { GroupSession } from './group-session.js'

/**
 * Waits for the client to let go of what a rebalance may take, at most for `rebalanceTimeout`, until `release` rings and
 * `over` says so. Nothing else sends heartbeats meanwhile, and without them the group would go on.
 */
export async function holdRebalance(
  holds: readonly Observable<unknown>[],
  session: GroupSession,
  { rebalanceTimeout, heartbeatInterval }: ConsumeRequest,
  release: Doorbell,
  over: () => boolean,
): Promise<void> {
  let open = holds.length
  const subscriptions = new Subscription()
  const end = () => {
    if (--open <= 0) release.ring()
  }
  for (const hold of holds) {
    subscriptions.add(hold.pipe(takeUntil(timer(rebalanceTimeout))).subscribe({ error: end, complete: end }))
  }
  const { monotonic } = systemClock
  const until = monotonic() + rebalanceTimeout
  while (open > 0 && !over() && monotonic() < until) {
    await release.wait(Math.min(heartbeatInterval, until - monotonic()))
    if (open > 0 && !over()) await session.heartbeat().catch(() => {})
  }
  subscriptions.unsubscribe()
}
