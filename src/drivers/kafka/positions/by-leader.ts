import type { Cluster } from '../cluster/cluster.js'
import type { TopicPartition } from '../topic-partition.js'

/** Partitions that one broker leads; `leader` is undefined if none does, as far as is known. */
export interface Led {
  readonly leader: number | undefined
  readonly led: readonly TopicPartition[]
}

/** Each broker is asked for all that it leads; one that is away holds back only that. */
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
