import { partitionName } from '../../../place.js'
import { kafkaError } from '../../../protocol/errors.js'
import { isolationLevel } from '../../../protocol/messages/fetch.js'
import { EARLIEST, LATEST, listOffsets } from '../../../protocol/messages/list-offsets.js'
import type { Cluster } from '../cluster/cluster.js'
import { ProtocolFailure } from '../cluster/protocol-failure.js'
import { byTopic, PartitionMap, type TopicPartition } from '../topic-partition.js'
import { byLeader } from './by-leader.js'

export const latest = Number(LATEST)
export const earliest = Number(EARLIEST)

export interface ListedOffset {
  readonly offset: number
  readonly leaderEpoch: number
}

/** A partition has no leader at present. */
export class LeaderlessError extends Error {
  constructor(partition: TopicPartition) {
    super(`no broker leads ${partitionName(partition)} at present`)
    this.name = 'LeaderlessError'
  }
}

/**
 * The first offset at or after `timestamp` of each partition, or its beginning or end; offset -1 if there is none.
 * Sends one request to each leader. Rejects if one of them does not answer, or refuses a partition.
 *
 * @param timestamp ms since 1970, `earliest` or `latest`.
 * @param isolation With read committed, `latest` is the last stable offset; with read uncommitted, the high watermark.
 */
export async function offsetsAt(
  cluster: Cluster,
  partitions: readonly TopicPartition[],
  timestamp: number,
  isolation: number = isolationLevel.readCommitted,
): Promise<PartitionMap<ListedOffset>> {
  const found = new PartitionMap<ListedOffset>()
  await Promise.all(
    byLeader(cluster, partitions).map(async ({ leader, led }) => {
      if (leader === undefined) throw new LeaderlessError(led[0]!)
      const topics = [...byTopic(led)].map(([name, each]) => ({
        name,
        partitions: each.map(({ partition }) => ({ partitionIndex: partition, timestamp: BigInt(timestamp) })),
      }))
      const answer = await cluster.ask(leader, 'control', listOffsets, version =>
        // Brokers before 0.11 do not have transactions.
        version >= 2 ? { isolationLevel: isolation, topics } : { topics },
      )
      for (const { name, partitions: listed } of answer.topics) {
        for (const { partitionIndex, errorCode, offset, leaderEpoch } of listed) {
          if (errorCode !== 0) {
            const what = `the offsets of ${name}-${partitionIndex} are not known`
            throw new ProtocolFailure(kafkaError(errorCode), what, name)
          }
          found.set({ topic: name, partition: partitionIndex }, { offset, leaderEpoch })
        }
      }
    }),
  )
  for (const each of partitions) {
    if (!found.has(each)) throw new LeaderlessError(each)
  }
  return found
}
