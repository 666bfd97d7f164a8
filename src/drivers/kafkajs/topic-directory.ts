import type { Cluster, PartitionMetadata } from './kafkajs-internals.js'
import { askForPartitions } from './writing/topic-partitions.js'

/** How long what is known is good for, ms: partitions can be added. */
const maxAge = 60_000

interface Entry {
  readonly partitions: readonly PartitionMetadata[]
  readonly at: number
}

/**
 * Topics, their partitions and leaders. Each is asked for alone: kafkajs asks for all that it has ever heard of, and fails
 * for all when one of them is gone.
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
    if (known !== undefined && performance.now() - known.at < maxAge) return Promise.resolve()
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
    const partitions = await askForPartitions(this.cluster, topic)
    this.#known.set(topic, { partitions, at: performance.now() })
  }
}
