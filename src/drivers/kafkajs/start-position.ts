import type { StartFrom } from '../../driver.js'
import { FetchError } from '../../errors.js'
import { partitionName, placeName } from '../../place.js'
import { within } from './deadline.js'
import type { Broker, Cluster } from './kafkajs-internals.js'
import type { TopicPartition } from './sticky-assignment.js'

const latest = -1
const earliest = -2
const requestTimeout = 10_000

export interface Position {
  readonly offset: number
  readonly metadata: string
}

/** By partition name the committed positions; none where there is none. */
export async function committedPositions(
  coordinator: Broker,
  groupId: string,
  partitions: readonly TopicPartition[],
): Promise<Map<string, Position>> {
  const topics = byTopic(partitions)
  const { responses } = await within(
    requestTimeout,
    coordinator.offsetFetch({ groupId, topics }),
    'the committed positions',
  )
  const positions = new Map<string, Position>()
  for (const { topic, partitions } of responses) {
    for (const { partition, offset, metadata } of partitions) {
      if (Number(offset) >= 0)
        positions.set(partitionName({ topic, partition }), { offset: Number(offset), metadata: metadata ?? '' })
    }
  }
  return positions
}

/** Where reading starts without a committed position. */
export async function startPositions(
  cluster: Cluster,
  partitions: readonly TopicPartition[],
  startFrom: Exclude<StartFrom, 'committed'>,
): Promise<Map<string, number>> {
  if (startFrom === 'earliest') return offsets(cluster, partitions, earliest)
  if (startFrom === 'latest') return offsets(cluster, partitions, latest)
  const found = await offsets(cluster, partitions, startFrom.getTime())
  const none = partitions.filter(partition => found.get(partitionName(partition))! < 0)
  if (none.length > 0) for (const [name, end] of await offsets(cluster, none, latest)) found.set(name, end)
  return found
}

/** The first offset at or after `timestamp`; -1 where there is none. */
async function offsets(
  cluster: Cluster,
  partitions: readonly TopicPartition[],
  timestamp: number,
): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  if (partitions.length === 0) return found
  const topics = byTopic(partitions).map(topic => ({ ...topic, fromTimestamp: timestamp }))
  for (const { topic, partitions } of await within(requestTimeout, cluster.fetchTopicsOffset(topics), 'the offsets')) {
    for (const { partition, offset } of partitions) found.set(partitionName({ topic, partition }), Number(offset))
  }
  const missing = partitions.find(partition => !found.has(partitionName(partition)))
  if (missing !== undefined) throw new Error(`no broker leads ${partitionName(missing)} at present`)
  return found
}

export function beginnings(cluster: Cluster, partitions: readonly TopicPartition[]): Promise<Map<string, number>> {
  return offsets(cluster, partitions, earliest)
}

export function ends(cluster: Cluster, partitions: readonly TopicPartition[]): Promise<Map<string, number>> {
  return offsets(cluster, partitions, latest)
}

/** For a position that retention has deleted, or that was never written. */
export function outOfRangeError({ topic, partition }: TopicPartition, from: number, to: number): FetchError {
  return new FetchError(
    `the position ${placeName({ topic, partition, offset: from })} is out of range; going on at ${to}`,
    {
      topic,
      partition,
      offset: BigInt(from),
    },
  )
}

function byTopic(partitions: readonly TopicPartition[]): { topic: string; partitions: { partition: number }[] }[] {
  const topics = new Map<string, { partition: number }[]>()
  for (const { topic, partition } of partitions) {
    const numbers = topics.get(topic) ?? []
    topics.set(topic, numbers)
    numbers.push({ partition })
  }
  return [...topics].map(([topic, partitions]) => ({ topic, partitions }))
}
