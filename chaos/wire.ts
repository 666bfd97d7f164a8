import { randomUUID } from 'node:crypto'
import { type Admin, type EachBatchPayload, Kafka, logLevel } from 'kafkajs'
import { type At, partitionOf, placeOf } from './journal'

/** A record in the log. */
export interface Stored extends At {
  readonly key: string
  readonly value: string
}

/** A group's committed offset in a partition (-1: none), and the end of the partition's log. */
export interface Progress extends At {
  readonly end: number
}

/** Reads the logs and the committed positions with plain kafkajs, not through the proxies. */
export class Wire {
  readonly #kafka: Kafka
  readonly #admin: Admin

  constructor(brokers: readonly string[]) {
    this.#kafka = new Kafka({
      brokers: [...brokers],
      logLevel: logLevel.NOTHING,
      retry: { initialRetryTime: 200, maxRetryTime: 1_000, retries: 60 },
    })
    this.#admin = this.#kafka.admin()
  }

  connect(): Promise<void> {
    return this.#admin.connect()
  }

  disconnect(): Promise<void> {
    return this.#admin.disconnect()
  }

  async progress(group: string, topics: readonly string[]): Promise<Progress[]> {
    const committed = await this.#admin.fetchOffsets({ groupId: group, topics: [...topics] })
    const all = await Promise.all(
      committed.map(async ({ topic, partitions }) => {
        const ends = await this.#admin.fetchTopicOffsets(topic)
        return ends.map(({ partition, high }) => {
          const own = partitions.find(each => each.partition === partition)
          return { topic, partition, offset: Number(own?.offset ?? -1), end: Number(high) }
        })
      }),
    )
    return all.flat()
  }

  /** All records of a topic, up to its current end. */
  async records(topic: string): Promise<Stored[]> {
    const missing = new Map<string, number>()
    for (const { partition, high, low } of await this.#admin.fetchTopicOffsets(topic)) {
      if (Number(high) > Number(low)) missing.set(partitionOf({ topic, partition }), Number(high))
    }
    if (missing.size === 0) return []
    // By place, because the consumer may restart from the beginning after an error.
    const records = new Map<string, Stored>()
    const consumer = this.#kafka.consumer({ groupId: `reader-${randomUUID()}`, maxWaitTimeInMs: 100 })
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    await new Promise<void>((resolve, reject) => {
      consumer.on('consumer.crash', ({ payload }) => reject(payload.error))
      const eachBatch = async ({ batch }: EachBatchPayload) => {
        const { partition } = batch
        for (const { key, value, offset } of batch.messages) {
          const at = { topic, partition, offset: Number(offset) }
          records.set(placeOf(at), { ...at, key: String(key), value: String(value) })
        }
        const name = partitionOf({ topic, partition })
        if (Number(batch.lastOffset()) + 1 >= (missing.get(name) ?? 0)) missing.delete(name)
        if (missing.size === 0) resolve()
      }
      consumer.run({ eachBatch, autoCommit: false }).catch(reject)
    })
    await consumer.disconnect()
    return [...records.values()]
  }
}
