import { CommitError } from '../../../errors.js'
import type { Cluster } from '../cluster/cluster.js'
import { PartitionMap, type TopicPartition } from '../topic-partition.js'
import type { Member, MemberOwner } from './member.js'

/**
 * Reads every partition of its topics without a group: nothing is joined or committed, and only the right to read the topics
 * is needed. Partitions that are added later are taken when they are found.
 */
export class GrouplessMember implements Member {
  readonly doubtful = false
  #topics: readonly string[]
  #stopWatching: (() => void) | undefined

  constructor(
    readonly cluster: Cluster,
    topics: readonly string[],
    readonly owner: MemberOwner,
  ) {
    this.#topics = topics
  }

  start(): void {
    this.#stopWatching = this.cluster.onChange(() => this.#onMetadata())
    // A failed refresh is retried by the cluster.
    this.cluster.refresh().catch(() => {})
  }

  #taken = new PartitionMap<TopicPartition>()
  /** The first assignment is passed on even if it is empty. */
  #announced = false

  #onMetadata(): void {
    const seen: TopicPartition[] = []
    for (const topic of this.#topics) {
      const count = this.cluster.topic(topic)?.partitions.length ?? 0
      // A deleted topic may be recreated: its partitions stay assigned.
      if (count === 0) for (const place of this.#taken.values()) if (place.topic === topic) seen.push(place)
      for (let partition = 0; partition < count; partition++) seen.push({ topic, partition })
    }
    const isNothing = this.#topics.length === 0 && !this.#announced
    if (!isNothing && seen.length === this.#taken.size && seen.every(place => this.#taken.has(place))) return
    this.#announced = true
    this.#taken = PartitionMap.of(seen)
    this.owner.assigned(seen)
  }

  async settleDoubt(): Promise<void> {}

  async commit(): Promise<void> {
    throw new CommitError('nothing can be committed without a group', { retriable: false })
  }

  async committed(): Promise<PartitionMap<never>> {
    return new PartitionMap()
  }

  subscribe(topics: readonly string[]): void {
    this.#topics = topics
    this.#onMetadata()
  }

  async leave(): Promise<void> {
    this.#stopWatching?.()
  }
}
