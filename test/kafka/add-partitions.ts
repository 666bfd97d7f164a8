import type { KafkaConfig } from 'kafkajs'
import { everyBrokerKnows, withAdmin } from './every-broker-knows'

/** Adds partitions to a topic. Resolves when every broker knows them. */
export const addPartitions = async (config: KafkaConfig, topic: string, count: number): Promise<void> => {
  await withAdmin(config, admin => admin.createPartitions({ topicPartitions: [{ topic, count }] }))
  await everyBrokerKnows(config, topic, count)
}
