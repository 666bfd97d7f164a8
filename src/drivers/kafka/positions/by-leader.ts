import type { Cluster } from '../cluster/cluster.js'
import type { TopicPartition } from '../topic-partition.js'

/** The partitions of one leader; `leader` is undefined if none is known. */
export interface Led {
  readonly leader: number | undefined
  readonly led: readonly TopicPartition[]
}

/** Groups partitions by leader, so that a broker that is away delays only its own. */
export function byLeader(cluster: Cluster, partitions: readonly TopicPartition[]): readonly Led[] {
  const groups = new Map<number | undefined, TopicPartition[]>()
  for (const each of partitions) {
    const leader = cluster.leaderOf(each.topic, each.partition)
    const others = groups.get(leader)
    if (others === undefined) groups.set(leader, [each])
    else others.push(each)
  }
  return [...groups].map(([leader, led]) => ({ leader, led }))
}

/**
 * Attempts something for partitions until it is done, for those of each leader apart. `attempt` resolves to false, after a
 * pause, if there has to be another one; it is given the number of failures before.
 *
 * A loop: with a recursion, each attempt would stay in memory until the last one ends.
 */
export async function untilDone(
  cluster: Cluster,
  partitions: readonly TopicPartition[],
  attempt: (led: readonly TopicPartition[], failures: number) => Promise<boolean>,
  before = 0,
): Promise<void> {
  for (let failures = before; ; failures++) {
    // Leaders may have changed since the last attempt.
    const groups = byLeader(cluster, partitions)
    if (groups.length > 1) {
      await Promise.all(groups.map(({ led }) => untilDone(cluster, led, attempt, failures)))
      return
    }
    if (await attempt(partitions, failures)) return
  }
}
