import { setTimeout } from 'node:timers/promises'
import { type Admin, type ITopicConfig, Kafka, type KafkaConfig, logLevel } from 'kafkajs'

/**
 * Creates a topic and resolves when every broker knows it, with its leaders and all replicas in sync.
 *
 * A broker that has not heard of the topic yet answers UNKNOWN_TOPIC_OR_PARTITION, at which kafkajs gives up: on a
 * cluster its `createTopics` fails now and then while it waits for leaders, and so does a producer right after it.
 */
export const createTopic = async (config: KafkaConfig, topic: ITopicConfig): Promise<void> => {
  const brokers = await withAdmin(config, async admin => {
    await admin.createTopics({ topics: [topic], waitForLeaders: false })
    return (await admin.describeCluster()).brokers
  })
  await Promise.all(
    brokers.map(async ({ host, port }) => {
      while (!(await knows({ ...config, brokers: [`${host}:${port}`] }, topic.topic))) await setTimeout(50)
    }),
  )
}

/** A fresh client asks the broker it was given. */
const knows = (config: KafkaConfig, topic: string): Promise<boolean> =>
  withAdmin(config, async admin => {
    try {
      const [found] = (await admin.fetchTopicMetadata({ topics: [topic] })).topics
      return found!.partitions.every(({ leader, isr, replicas }) => leader >= 0 && isr.length === replicas.length)
    } catch (error) {
      if ((error as { type?: string }).type === 'UNKNOWN_TOPIC_OR_PARTITION') return false
      throw error
    }
  })

const withAdmin = async <T>(config: KafkaConfig, use: (admin: Admin) => Promise<T>): Promise<T> => {
  const admin = new Kafka({ logLevel: logLevel.NOTHING, ...config }).admin()
  try {
    await admin.connect()
    return await use(admin)
  } finally {
    await admin.disconnect()
  }
}
