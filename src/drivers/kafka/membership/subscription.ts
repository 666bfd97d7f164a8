import {
  type ConsumerSubscription,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
} from '../../../protocol/messages/consumer-protocol.js'
import { Reader } from '../../../protocol/wire/reader.js'
import type { TopicPartition } from '../topic-partition.js'

/**
 * The assignors that this member offers, in its order of preference. The first is its own, with which rxmika members keep their
 * partitions. The others are the names of other clients, so that a group can be shared with them: cooperative-sticky (MiKa and
 * franz-go, Java), range and roundrobin (Java), RoundRobinAssigner (kafkajs).
 *
 * Under any name, a leader of this library assigns by the same rule. The name fixes only the format of the members' metadata.
 */
export const offered = ['rxmika-sticky', 'cooperative-sticky', 'range', 'roundrobin', 'RoundRobinAssigner'] as const

/** What a member reports when it joins. */
export interface Claim {
  readonly topics: readonly string[]
  readonly owned: readonly TopicPartition[]
  /** The generation in which it had these partitions; -1: none. */
  readonly generation: number
}

/** The metadata of one protocol of a JoinGroup request. */
export function encodeClaim(protocol: string, claim: Claim, rack: string | undefined): Buffer {
  const { topics, owned, generation } = claim
  return encodeSubscription({
    topics: [...topics].sort(),
    // Members of version 0.1.0 read the owned partitions of others only from here.
    userData: protocol === 'rxmika-sticky' ? encodeOwnership(claim) : null,
    ownedPartitions: grouped(owned),
    generationId: generation,
    rackId: rack ?? null,
  })
}

/** The report of another member. One that cannot be decoded claims nothing. */
export function decodeClaim(protocol: string, metadata: Buffer): Claim {
  const { topics, userData, ownedPartitions, generationId } = readSubscription(metadata)
  const owned = ownedPartitions.flatMap(({ topic, partitions }) => partitions.map(partition => ({ topic, partition })))
  if (protocol === 'rxmika-sticky' && owned.length === 0) return { topics, ...decodeOwnership(userData) }
  // Before KIP-792, cooperative-sticky of Java and franz-go has the generation in four bytes of the user data.
  const inUserData = protocol === 'cooperative-sticky' && userData !== null && userData.length >= 4
  const generation = generationId >= 0 ? generationId : inUserData ? userData.readInt32BE(0) : -1
  return { topics, owned, generation }
}

function readSubscription(metadata: Buffer): ConsumerSubscription {
  try {
    return decodeSubscription(metadata)
  } catch {
    // rxmika 0.1.0 and kafkajs write version 1 without the owned partitions that belong to it.
    return decodeFirstVersion(metadata)
  }
}

/** A subscription that cannot be decoded has no topics. */
function decodeFirstVersion(metadata: Buffer): ConsumerSubscription {
  const nothingMore = { ownedPartitions: [], generationId: -1, rackId: null }
  try {
    const reader = new Reader(metadata)
    reader.int16()
    return { topics: reader.array(() => reader.string()), userData: reader.nullableBytes(), ...nothingMore }
  } catch {
    return { topics: [], userData: null, ...nothingMore }
  }
}

export function encodeShare(partitions: readonly TopicPartition[]): Buffer {
  return encodeAssignment({ assignedPartitions: grouped(partitions) })
}

export function decodeShare(bytes: Buffer): readonly TopicPartition[] {
  const { assignedPartitions } = decodeAssignment(bytes)
  return assignedPartitions.flatMap(({ topic, partitions }) => partitions.map(partition => ({ topic, partition })))
}

function grouped(partitions: readonly TopicPartition[]): { topic: string; partitions: number[] }[] {
  const topics = new Map<string, number[]>()
  for (const { topic, partition } of partitions) {
    const numbers = topics.get(topic)
    if (numbers === undefined) topics.set(topic, [partition])
    else numbers.push(partition)
  }
  return [...topics].map(([topic, numbers]) => ({ topic, partitions: numbers.sort((a, b) => a - b) }))
}

function encodeOwnership({ generation, owned }: Claim): Buffer {
  const byTopic: Record<string, number[]> = Object.create(null)
  for (const { topic, partitions } of grouped(owned)) byTopic[topic] = partitions
  return Buffer.from(JSON.stringify({ generation, owned: byTopic }))
}

function decodeOwnership(userData: Buffer | null): Pick<Claim, 'generation' | 'owned'> {
  try {
    const { generation, owned } = JSON.parse(String(userData)) as {
      generation: number
      owned: Record<string, number[]>
    }
    if (!Number.isInteger(generation)) return nothing
    return {
      generation,
      owned: Object.entries(owned).flatMap(([topic, partitions]) =>
        partitions.map(partition => ({ topic, partition })),
      ),
    }
  } catch {
    return nothing
  }
}

const nothing = { generation: -1, owned: [] }
