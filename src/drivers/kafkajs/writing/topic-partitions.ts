import { createsTopics } from '../auto-creation.js'
import { pass } from '../deadline.js'
import type { Broker, Cluster } from '../kafkajs-internals.js'
import { errorType } from '../protocol-error.js'
import type { PartitionLeader } from './leaders.js'

/** How long a topic may take to appear that the brokers create because it was asked for, ms. */
const creation = 3_000
/** How long one that stands already may be unknown to a broker, ms: they hear of it one after the other. */
const propagation = 300
const pause = 100

/**
 * The topic's partitions by number; creates it where the brokers do so. Asked for alone: kafkajs asks for all topics that
 * it has ever heard of, and fails for all when one of them is gone.
 */
export async function askForPartitions(cluster: Cluster, topic: string): Promise<readonly PartitionLeader[]> {
  const since = performance.now()
  let patience: number | undefined
  for (;;) {
    let broker: Broker | undefined
    try {
      broker = await cluster.brokerPool.findConnectedBroker()
      const { topicMetadata } = await broker.metadata([topic])
      const found = topicMetadata.find(metadata => metadata.topic === topic)
      const partitions = [...(found?.partitionMetadata ?? [])].sort((a, b) => a.partitionId - b.partitionId)
      // One that was just created has no leaders yet; in an outage they may stay away.
      const waited = performance.now() - since > creation
      if (partitions.some(({ leader }) => leader >= 0) || (waited && partitions.length > 0)) return partitions
      if (waited) throw new Error(`the broker names no partitions of topic '${topic}'`)
    } catch (error) {
      const type = errorType(error)
      if (broker === undefined || (type !== 'UNKNOWN_TOPIC_OR_PARTITION' && type !== 'LEADER_NOT_AVAILABLE')) {
        throw error
      }
      patience ??= type === 'LEADER_NOT_AVAILABLE' || (await createsTopics(broker)) ? creation : propagation
      if (performance.now() - since > patience) throw error
    }
    await pass(pause)
  }
}
