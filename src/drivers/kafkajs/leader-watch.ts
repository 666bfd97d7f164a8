import { systemClock } from '../../clock.js'
import { FetchError } from '../../errors.js'
import { partitionName } from '../../place.js'
import { pass } from './deadline.js'
import type { Cluster } from './kafkajs-internals.js'
import { RepeatLimit } from './repeat-limit.js'

/** How soon leaders are looked for again, ms. */
const pause = 500
/** How long a partition may be without a leader until that is reported, ms: an election takes less. */
const patience = 3_000
/** The same partition is reported at most this often, ms. */
const reportEvery = 60_000

/**
 * Looks for leaders again while a partition has none. kafkajs fetches such a partition from nobody, is refused by nobody
 * therefore, and would look after five minutes.
 */
export class LeaderWatch {
  #looking = false
  #ended = false

  readonly #limit = new RepeatLimit(reportEvery)

  constructor(
    readonly cluster: Cluster,
    readonly report: (error: FetchError) => void,
  ) {
    const { brokerPool } = cluster
    const refreshMetadata = brokerPool.refreshMetadata.bind(brokerPool)
    // What all ways to new metadata lead to.
    brokerPool.refreshMetadata = async topics => {
      await refreshMetadata(topics)
      if (!this.#looking && this.#leaderless()) this.#look().catch(() => {})
    }
  }

  #leaderless(): boolean {
    return this.#without().length > 0
  }

  #without(): readonly { readonly topic: string; readonly partition: number }[] {
    const { metadata } = this.cluster.brokerPool
    return (metadata?.topicMetadata ?? []).flatMap(({ topic, partitionMetadata }) =>
      partitionMetadata
        .filter(({ leader }) => leader < 0)
        .map(({ partitionId }) => ({ topic, partition: partitionId })),
    )
  }

  async #look(): Promise<void> {
    this.#looking = true
    /** By name when each was first seen without a leader. */
    const since = new Map<string, number>()
    while (!this.#ended && this.#leaderless()) {
      await pass(pause)
      if (!this.#ended) await this.cluster.refreshMetadata().catch(() => {})
      if (!this.#ended) this.#tell(since)
    }
    this.#looking = false
  }

  #tell(since: Map<string, number>): void {
    const now = systemClock.monotonic()
    const without = this.#without()
    const names = new Set(without.map(partitionName))
    for (const name of since.keys()) if (!names.has(name)) since.delete(name)
    for (const place of without) {
      const name = partitionName(place)
      if (!since.has(name)) since.set(name, now)
      else if (now - since.get(name)! >= patience && this.#limit.allows(name)) {
        this.report(
          new FetchError(`${name} has no leader: the brokers with its replicas are away; it is waited for`, place),
        )
      }
    }
  }

  end(): void {
    this.#ended = true
  }
}
