import type { Clock } from '../../clock.js'
import { FetchError } from '../../errors.js'
import { partitionName } from '../../place.js'
import type { Cluster } from './cluster/cluster.js'
import { RepeatLimit } from './repeat-limit.js'
import { PartitionMap, type TopicPartition } from './topic-partition.js'

/** How long a partition may have no leader until that is reported, ms: an election takes less. */
const patience = 3_000
/** The same partition is reported at most this often, ms. */
const reportEvery = 60_000

/** Reports partitions that no broker leads, each by its name. The others of their topics are read meanwhile. */
export class LeaderlessPartitions {
  #since = new PartitionMap<number>()
  readonly #limit = new RepeatLimit(reportEvery)

  constructor(
    readonly cluster: Cluster,
    readonly clock: Clock,
    readonly report: (error: FetchError) => void,
  ) {}

  /** Whenever leaders were learnt of; `places` are those that are to be read. */
  look(places: Iterable<TopicPartition>): void {
    const now = this.clock.monotonic()
    const since = new PartitionMap<number>()
    for (const place of places) {
      if (!this.#isLeaderless(place)) continue
      const seen = this.#since.get(place) ?? now
      since.set(place, seen)
      if (now - seen >= patience && this.#limit.allows(partitionName(place))) this.#tell(place)
    }
    this.#since = since
  }

  /** A topic that is gone, or cannot be seen, is reported as that. */
  #isLeaderless({ topic, partition }: TopicPartition): boolean {
    const known = this.cluster.topic(topic)
    return known !== undefined && known.error === undefined && this.cluster.leaderOf(topic, partition) === undefined
  }

  #tell({ topic, partition }: TopicPartition): void {
    const name = partitionName({ topic, partition })
    const message = `${name} has no leader: the brokers with its replicas are away; it is read when one is back`
    this.report(new FetchError(message, { topic, partition }))
  }
}
