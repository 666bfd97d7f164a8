import type { KafkaConfig } from 'kafkajs'
import { everyBrokerKnows, withAdmin } from './every-broker-knows'

/** Gives a topic more partitions, and resolves when every broker knows them. */
export const addPartitions = async (config: KafkaConfig, topic: string, count: number): Promise<void> => {
  await withAdmin(config, admin => admin.createPartitions({ topicPartitions: [{ topic, count }] }))
  await everyBrokerKnows(config, topic, count)
}
