import { createsTopics } from './auto-creation.js'
import { pass } from './deadline.js'
import type { Broker, Cluster, PartitionMetadata } from './kafkajs-internals.js'
import { errorType } from './protocol-error.js'

/** How long a topic may take to appear that the brokers create because it was asked for, ms. */
const creation = 3_000
/** How long one that stands already may be unknown to a broker, ms: they hear of it one after the other. */
const propagation = 300
const pause = 100

/** How long what is known is good for, ms: partitions can be added. */
const maxAge = 60_000

interface Entry {
  readonly partitions: readonly PartitionMetadata[]
  readonly at: number
}

/**
 * The topics written to, their partitions and leaders. Each is asked for alone: kafkajs asks for all that it has ever
 * heard of, and fails for all when one of them is gone.
 */
export class TopicDirectory {
  readonly #known = new Map<string, Entry>()
  readonly #asked = new Map<string, Promise<void>>()

  constructor(readonly cluster: Cluster) {}

  partitions(topic: string): readonly PartitionMetadata[] {
    return this.#known.get(topic)?.partitions ?? []
  }

  async leader(topic: string, partition: number): Promise<number> {
    await this.learn(topic)
    const found = this.partitions(topic).find(({ partitionId }) => partitionId === partition)
    if (found !== undefined && found.leader >= 0) return found.leader
    this.forget(topic)
    throw new Error(`partition ${partition} has no leader at present`)
  }

  /** Makes sure that the topic is known; creates it where the brokers do so. */
  learn(topic: string): Promise<void> {
    const known = this.#known.get(topic)
    if (known !== undefined && Date.now() - known.at < maxAge) return Promise.resolve()
    let asked = this.#asked.get(topic)
    if (asked === undefined) {
      asked = this.#ask(topic).finally(() => this.#asked.delete(topic))
      this.#asked.set(topic, asked)
    }
    return asked
  }

  /** What is known may be out of date: it is asked for again before it is used again. */
  forget(topic: string): void {
    const known = this.#known.get(topic)
    if (known !== undefined) this.#known.set(topic, { ...known, at: Number.NEGATIVE_INFINITY })
  }

  async #ask(topic: string): Promise<void> {
    const since = Date.now()
    let patience: number | undefined
    for (;;) {
      let broker: Broker | undefined
      try {
        broker = await this.cluster.brokerPool.findConnectedBroker()
        const { topicMetadata } = await broker.metadata([topic])
        const found = topicMetadata.find(metadata => metadata.topic === topic)
        const partitions = [...(found?.partitionMetadata ?? [])].sort((a, b) => a.partitionId - b.partitionId)
        this.#known.set(topic, { partitions, at: Date.now() })
        // One that was just created has no leaders yet; in an outage they may stay away.
        if (partitions.some(({ leader }) => leader >= 0) || Date.now() - since > creation) return
      } catch (error) {
        const type = errorType(error)
        if (broker === undefined || (type !== 'UNKNOWN_TOPIC_OR_PARTITION' && type !== 'LEADER_NOT_AVAILABLE')) {
          throw error
        }
        patience ??= type === 'LEADER_NOT_AVAILABLE' || (await createsTopics(broker)) ? creation : propagation
        if (Date.now() - since > patience) throw error
      }
      await pass(pause)
    }
  }
}
