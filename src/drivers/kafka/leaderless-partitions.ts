import type { Clock } from '../../clock.js'
import { FetchError } from '../../errors.js'
import { partitionName } from '../../place.js'
import type { Cluster } from './cluster/cluster.js'
import { RepeatLimit } from './repeat-limit.js'
import { PartitionMap, type TopicPartition } from './topic-partition.js'

/** A partition without a leader is reported after this time, ms: an election takes less. */
const reportAfter = 3_000
/** The shortest time between two reports of the same partition, ms. */
const reportEvery = 60_000

/** Reports partitions without a leader by their names. The other partitions of their topics are read meanwhile. */
export class LeaderlessPartitions {
  #since = new PartitionMap<number>()
  readonly #limit = new RepeatLimit(reportEvery)

  constructor(
    readonly cluster: Cluster,
    readonly clock: Clock,
    readonly report: (error: FetchError) => void,
  ) {}

  /** Called whenever metadata was received; `places` are the partitions to read. */
  onMetadata(places: Iterable<TopicPartition>): void {
    const now = this.clock.monotonic()
    const since = new PartitionMap<number>()
    for (const place of places) {
      if (!this.#isLeaderless(place)) continue
      const seen = this.#since.get(place) ?? now
      since.set(place, seen)
      if (now - seen >= reportAfter && this.#limit.allows(partitionName(place))) this.#report(place)
    }
    this.#since = since
  }

  /** A topic that was deleted, or cannot be seen, is reported by other means. */
  #isLeaderless({ topic, partition }: TopicPartition): boolean {
    const known = this.cluster.topic(topic)
    return known !== undefined && known.error === undefined && this.cluster.leaderOf(topic, partition) === undefined
  }

  #report({ topic, partition }: TopicPartition): void {
    const name = partitionName({ topic, partition })
    const message = `${name} has no leader: the brokers with its replicas are away; it is read when one is back`
    this.report(new FetchError(message, { topic, partition }))
  }
}
