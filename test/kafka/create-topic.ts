import type { ITopicConfig, KafkaConfig } from 'kafkajs'
import { everyBrokerKnows, withAdmin } from './every-broker-knows'

/**
 * Creates a topic and resolves when every broker knows it, with its leaders and all replicas in sync.
 *
 * On a cluster `createTopics` of kafkajs fails now and then while it waits for leaders.
 */
export const createTopic = async (config: KafkaConfig, topic: ITopicConfig): Promise<void> => {
  await withAdmin(config, admin => admin.createTopics({ topics: [topic], waitForLeaders: false }))
  await everyBrokerKnows(config, topic.topic, Math.max(topic.numPartitions ?? 1, 1))
}
