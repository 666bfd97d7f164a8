import { Kafka, logLevel } from 'kafkajs'

/** The group's coordinator: the leader of the partition of `__consumer_offsets` with the group's positions. */
export async function coordinatorOf(brokers: readonly string[], group: string): Promise<number> {
  const admin = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  const [offsets] = (await admin.fetchTopicMetadata({ topics: ['__consumer_offsets'] })).topics
  await admin.disconnect()
  let hash = 0
  for (const character of group) hash = (31 * hash + character.charCodeAt(0)) | 0
  const partition = (hash & 0x7fffffff) % offsets!.partitions.length
  return offsets!.partitions.find(({ partitionId }) => partitionId === partition)!.leader
}
