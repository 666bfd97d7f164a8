import type { Clock } from '../../clock.js'
import { ConfigurationError } from '../../errors.js'
import { pause } from './backoff.js'
import type { Cluster } from './cluster/cluster.js'
import { cannotSeeTopic } from './missing-right.js'
import { UnansweredError } from './transport/failures.js'

/** How long to wait for a topic that does not exist, ms: it may have been created a moment ago. */
const patience = 10_000
const askAgain = 200

/**
 * Partition counts by topic. Creates topics if the broker does so. A topic missing from the result does not exist.
 *
 * Retries until it is answered or cancelled. Rejects with a `ConfigurationError` for a topic that this client may not see,
 * or whose name the brokers refuse.
 */
export async function existingTopics(
  cluster: Cluster,
  names: readonly string[],
  clock: Clock,
  cancelled: () => boolean,
): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>()
  const until = clock.monotonic() + patience
  while (!cancelled() && !cluster.ended.aborted) {
    const missing = names.filter(name => !counts.has(name))
    if (missing.length === 0) break
    try {
      for (const { name, partitions, error } of (await cluster.learn(missing, { create: true })).values()) {
        if (error?.name === 'INVALID_TOPIC_EXCEPTION' || error?.has('notAuthorized')) {
          throw new ConfigurationError(
            error.has('notAuthorized')
              ? cannotSeeTopic(name)
              : `topic '${name}' cannot be used: its name is refused (${error})`,
          )
        }
        if (partitions.length > 0) counts.set(name, partitions.length)
      }
      if (clock.monotonic() >= until) break
    } catch (error) {
      if (!(error instanceof UnansweredError)) throw error
    }
    if (counts.size < names.length) await pause(askAgain, cluster.ended)
  }
  return counts
}
