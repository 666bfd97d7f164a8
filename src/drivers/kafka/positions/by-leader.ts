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
