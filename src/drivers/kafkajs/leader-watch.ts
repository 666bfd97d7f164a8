import { pass } from './deadline.js'
import type { Cluster } from './kafkajs-internals.js'

/** How soon leaders are looked for again, ms. */
const pause = 500

/**
 * Looks for leaders again while a partition has none. kafkajs fetches such a partition from nobody, is refused by nobody
 * therefore, and would look after five minutes.
 */
export class LeaderWatch {
  #looking = false
  #ended = false

  constructor(readonly cluster: Cluster) {
    const { brokerPool } = cluster
    const refreshMetadata = brokerPool.refreshMetadata.bind(brokerPool)
    // What all ways to new metadata lead to.
    brokerPool.refreshMetadata = async topics => {
      await refreshMetadata(topics)
      if (!this.#looking && this.#leaderless()) this.#look().catch(() => {})
    }
  }

  #leaderless(): boolean {
    const { metadata } = this.cluster.brokerPool
    return metadata?.topicMetadata.some(topic => topic.partitionMetadata.some(({ leader }) => leader < 0)) ?? false
  }

  async #look(): Promise<void> {
    this.#looking = true
    while (!this.#ended && this.#leaderless()) {
      await pass(pause)
      if (!this.#ended) await this.cluster.refreshMetadata().catch(() => {})
    }
    this.#looking = false
  }

  end(): void {
    this.#ended = true
  }
}
