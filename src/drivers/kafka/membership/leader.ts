import type { TopicPartition } from '../topic-partition.js'
import { stickyAssignment } from './sticky-assignment.js'
import type { Claim } from './subscription.js'

/**
 * Assigns partitions to the members of a classic group: evenly, and with as few moves as possible.
 *
 * With `cooperative-sticky` (KIP-429) members keep reading during a rebalance. So a partition that moves is at first assigned to
 * no member: its owner sees that it is missing, revokes it and rejoins, and only then it gets a new owner.
 */
export function shareOut(
  protocol: string,
  claims: ReadonlyMap<string, Claim>,
  partitionCounts: ReadonlyMap<string, number>,
): ReadonlyMap<string, readonly TopicPartition[]> {
  const members = [...claims].map(([id, claim]) => ({ id, ...claim }))
  const shares = new Map<string, readonly TopicPartition[]>()
  const owners = protocol === 'cooperative-sticky' ? ownersOf(claims) : undefined
  for (const [id, topics] of stickyAssignment(members, partitionCounts)) {
    const share = [...topics].flatMap(([topic, partitions]) => partitions.map(partition => ({ topic, partition })))
    shares.set(
      id,
      owners === undefined
        ? share
        : share.filter(({ topic, partition }) => (owners.get(topic)?.get(partition) ?? id) === id),
    )
  }
  return shares
}

/** The owner of each partition. If two members claim a partition, the one of the later generation. */
function ownersOf(claims: ReadonlyMap<string, Claim>): ReadonlyMap<string, ReadonlyMap<number, string>> {
  const owners = new Map<string, Map<number, string>>()
  const generations = [...claims].sort(([, one], [, other]) => one.generation - other.generation)
  for (const [id, { owned }] of generations) {
    for (const { topic, partition } of owned) {
      let partitions = owners.get(topic)
      if (partitions === undefined) {
        partitions = new Map()
        owners.set(topic, partitions)
      }
      partitions.set(partition, id)
    }
  }
  return owners
}
