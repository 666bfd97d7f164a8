import type { ITopicConfig, KafkaConfig } from 'kafkajs'
import { everyBrokerKnowsAll, withAdmin } from './every-broker-knows'

/**
 * Creates a topic and resolves when every broker knows it, with its leaders and all replicas in sync.
 *
 * `createTopics` of kafkajs sometimes fails on a cluster while it waits for leaders.
 */
export const createTopic = (config: KafkaConfig, topic: ITopicConfig): Promise<void> => createTopics(config, [topic])

/** The same for several topics, in one request. */
export const createTopics = async (config: KafkaConfig, topics: readonly ITopicConfig[]): Promise<void> => {
  await withAdmin(config, admin => admin.createTopics({ topics: [...topics], waitForLeaders: false }))
  const counts = topics.map(({ topic, numPartitions = 1 }) => [topic, Math.max(numPartitions, 1)] as const)
  await everyBrokerKnowsAll(config, new Map(counts))
}
