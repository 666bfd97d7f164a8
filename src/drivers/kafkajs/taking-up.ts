import type { ConsumeRequest, DriverEvent } from '../../driver.js'
import { ConfigurationError, type RxMikaError } from '../../errors.js'
import { partitionName } from '../../place.js'
import { Assignment } from './assignment.js'
import { fatalConsumeError, troubleOf } from './fatal-error.js'
import type { GroupMember } from './group-member.js'
import type { Cluster } from './kafkajs-internals.js'
import { beginnings, committedPositions, outOfRangeError, type Position, startPositions } from './start-position.js'
import type { TopicPartition } from './sticky-assignment.js'

/** Pauses between attempts to learn positions, ms. */
const firstRetry = 100
const longestRetry = 1_000

/** How long those whose positions are known wait for the others, ms: normally all are announced at once. */
const grace = 1_000

/** What taking up needs of the consumption it belongs to. */
export interface TakingUpHost {
  readonly request: ConsumeRequest
  /** As the brokers know it. */
  readonly group: string
  /** A later rebalance has begun, or all is over: what is learnt is of the past. */
  stale(): boolean
  /** Resolves after so many ms, or when all is over. */
  wait(ms: number): Promise<void>
  announce(added: readonly Assignment[]): void
  emit(event: DriverEvent): void
  /** Ends the stream with what cannot heal. */
  fail(error: RxMikaError): void
}

/**
 * Finds where to read partitions from that are newly assigned, those of each leader by themselves: one that is away
 * holds back its own only.
 */
export class TakingUp {
  readonly #known: Assignment[] = []
  #announced = false

  constructor(
    readonly host: TakingUpHost,
    readonly member: GroupMember,
  ) {}

  async all(partitions: readonly TopicPartition[]): Promise<void> {
    await Promise.race([this.#eachLeaders(partitions, 0), this.host.wait(grace)])
    if (await this.#isStale()) return
    this.#announced = true
    this.host.announce(this.#known)
  }

  async #eachLeaders(partitions: readonly TopicPartition[], failures: number): Promise<void> {
    const { cluster } = this.member
    await Promise.all(byLeader(cluster, partitions).map(led => this.#those(led, failures)))
  }

  async #those(partitions: readonly TopicPartition[], failures: number): Promise<void> {
    const { host, member } = this
    try {
      const found = await this.#positionsOf(partitions)
      if (await this.#isStale()) return
      if (this.#announced) host.announce(found)
      else this.#known.push(...found)
    } catch (error) {
      if (host.stale()) return
      const fatal = fatalConsumeError(error, host.request, host.group)
      if (fatal !== undefined) return host.fail(fatal)
      if (failures === 2) {
        const places = partitions.map(partitionName).join(', ')
        host.emit({ type: 'trouble', error: troubleOf(error, `where to read ${places} from is not known yet`) })
      }
      // Asked for offsets, kafkajs goes to the leaders it knows, and never looks whether they have moved.
      const refreshed = member.cluster.refreshMetadata().catch(() => {})
      await Promise.race([refreshed, host.wait(longestRetry)])
      await host.wait(Math.min(firstRetry * 2 ** failures, longestRetry))
      if (!host.stale()) await this.#eachLeaders(partitions, failures + 1)
    }
  }

  /**
   * Learning can take longer than a session: the process was frozen, or the coordinator away. Others may have the
   * partitions by now, and be further on: what was learnt is worth something only if the group still knows us.
   */
  async #isStale(): Promise<boolean> {
    const { host, member } = this
    while (!host.stale() && member.session.doubtful) {
      await member.session.heartbeat().catch(() => host.wait(firstRetry))
    }
    return host.stale()
  }

  async #positionsOf(partitions: readonly TopicPartition[]): Promise<readonly Assignment[]> {
    const { host, member } = this
    const { startFrom, group } = host.request
    const { cluster } = member
    const [committed, first] = await Promise.all([
      group === undefined
        ? new Map<string, Position>()
        : member.ask(coordinator => committedPositions(coordinator, group, partitions)),
      beginnings(cluster, partitions),
    ])
    const absent = partitions.filter(partition => !committed.has(partitionName(partition)))
    if (absent.length > 0 && startFrom === 'committed') {
      const places = absent.map(partitionName).join(', ')
      throw new ConfigurationError(`startFrom is 'committed', and group '${group}' has committed nothing for ${places}`)
    }
    const expired = partitions.filter(partition => {
      const position = committed.get(partitionName(partition))
      return position !== undefined && position.offset < first.get(partitionName(partition))!
    })
    const from = startFrom === 'committed' ? 'earliest' : startFrom
    const unknown = [...absent, ...expired]
    const starts = from === 'earliest' ? pick(first, unknown) : await startPositions(cluster, unknown, from)
    // Kept at once: were the partition taken up again before the first commit, the end would be another, and what was
    // written in between would be passed over.
    if (group !== undefined && from !== 'earliest' && starts.size > 0 && !host.stale()) {
      const points = unknown.map(({ topic, partition }) => ({
        topic,
        partition,
        offset: BigInt(starts.get(partitionName({ topic, partition }))!),
      }))
      await member.session.commit(points)
    }
    for (const partition of host.stale() ? [] : expired) {
      const name = partitionName(partition)
      host.emit({ type: 'trouble', error: outOfRangeError(partition, committed.get(name)!.offset, starts.get(name)!) })
    }
    return partitions.map(({ topic, partition }) => {
      const name = partitionName({ topic, partition })
      const start = starts.get(name)
      if (start !== undefined) return new Assignment(topic, partition, start, '')
      const { offset, metadata } = committed.get(name)!
      return new Assignment(topic, partition, offset, metadata)
    })
  }
}

function pick(offsets: ReadonlyMap<string, number>, partitions: readonly TopicPartition[]): Map<string, number> {
  return new Map(partitions.map(partitionName).map(name => [name, offsets.get(name)!]))
}

/** As far as the cluster knows; those without a leader stand together. */
function byLeader(cluster: Cluster, partitions: readonly TopicPartition[]): readonly TopicPartition[][] {
  const led = new Map<number, TopicPartition[]>()
  for (const { topic, partition } of partitions) {
    const metadata = cluster.findTopicPartitionMetadata(topic).find(({ partitionId }) => partitionId === partition)
    const leader = metadata?.leader ?? -1
    const others = led.get(leader) ?? []
    led.set(leader, others)
    others.push({ topic, partition })
  }
  return [...led.values()]
}
