import { setTimeout } from 'node:timers/promises'
import { type Admin, Kafka, type KafkaConfig, logLevel } from 'kafkajs'

/**
 * Resolves when every broker knows so many partitions of the topic, with their leaders and all replicas in sync.
 *
 * Brokers learn of new topics and partitions one after the other, shortly after the controller has answered. Until then
 * kafkajs fails with UNKNOWN_TOPIC_OR_PARTITION. Its producer omits records for partitions that it does not know, and resolves
 * as if they were written.
 */
export const everyBrokerKnows = (config: KafkaConfig, topic: string, partitions: number): Promise<void> =>
  everyBrokerKnowsAll(config, new Map([[topic, partitions]]))

/** The same for several topics, with the number of partitions of each. */
export const everyBrokerKnowsAll = async (config: KafkaConfig, counts: ReadonlyMap<string, number>): Promise<void> => {
  const { brokers } = await withAdmin(config, admin => admin.describeCluster())
  await Promise.all(
    brokers.map(async ({ host, port }) => {
      while (!(await knows({ ...config, brokers: [`${host}:${port}`] }, counts))) await setTimeout(50)
    }),
  )
}

/** Uses a new client, because that asks exactly the broker that it was given. */
const knows = (config: KafkaConfig, counts: ReadonlyMap<string, number>): Promise<boolean> =>
  withAdmin(config, async admin => {
    try {
      const { topics } = await admin.fetchTopicMetadata({ topics: [...counts.keys()] })
      return topics.every(
        ({ name, partitions }) =>
          partitions.length >= counts.get(name)! &&
          partitions.every(({ leader, isr, replicas }) => leader >= 0 && isr.length === replicas.length),
      )
    } catch (error) {
      if ((error as { type?: string }).type === 'UNKNOWN_TOPIC_OR_PARTITION') return false
      throw error
    }
  })

export const withAdmin = async <T>(config: KafkaConfig, use: (admin: Admin) => Promise<T>): Promise<T> => {
  const admin = new Kafka({ logLevel: logLevel.NOTHING, ...config }).admin()
  try {
    await admin.connect()
    return await use(admin)
  } finally {
    await admin.disconnect()
  }
}
