import { quietKafka } from './clients.js'
import type { Task } from './row.js'

/** Counts the records that the group has not committed, on both topics of the task. */
export async function uncommitted({ brokers, topic, scratch, group }: Task): Promise<number> {
  const admin = quietKafka(brokers).admin()
  await admin.connect()
  try {
    const committed = await admin.fetchOffsets({ groupId: group, topics: [topic, scratch] })
    let left = 0
    for (const { topic, partitions } of committed) {
      const positions = new Map(partitions.map(({ partition, offset }) => [partition, Math.max(0, Number(offset))]))
      for (const { partition, high } of await admin.fetchTopicOffsets(topic)) {
        left += Number(high) - (positions.get(partition) ?? 0)
      }
    }
    return left
  } finally {
    await admin.disconnect()
  }
}
