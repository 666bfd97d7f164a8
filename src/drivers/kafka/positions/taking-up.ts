import type { Clock } from '../../../clock.js'
import type { ConsumeRequest, DriverEvent } from '../../../driver.js'
import { ConfigurationError, FetchError, type RxMikaError } from '../../../errors.js'
import { firstTen, partitionName } from '../../../place.js'
import { type Uuid, ZERO_UUID } from '../../../protocol/wire/uuid.js'
import { pause } from '../backoff.js'
import type { Cluster } from '../cluster/cluster.js'
import { Assignment, type StartPosition } from '../fetching/assignment.js'
import type { CommittedPosition } from '../membership/member.js'
import { PartitionMap, type TopicPartition } from '../topic-partition.js'
import { untilDone } from './by-leader.js'
import { endOfEpoch } from './end-of-epoch.js'
import { earliest, LeaderlessError, type ListedOffset, latest, offsetsAt } from './list-offsets.js'
import { type LogIdentity, unsealIdentity } from './log-identity.js'

const firstPause = 100
const maxPause = 1_000
/** How long partitions with known positions wait for the others, ms, so that normally all are announced together. */
const waitForOthers = 1_000
/** After this many failures in a row the failure is reported. */
const reportedAfter = 3

/** What taking up needs of its consumption. */
export interface TakingUpHost {
  readonly request: ConsumeRequest
  readonly cluster: Cluster
  readonly clock: Clock
  /** Aborts when a later rebalance has begun, or reading has ended: results are out of date then. */
  readonly stale: AbortSignal
  /** The group's positions of all partitions of these topics; empty without a group. */
  committed(topics: readonly string[]): Promise<PartitionMap<CommittedPosition>>
  /** Commits the starting positions, with the identity of each log. */
  keep(
    starts: readonly {
      readonly place: TopicPartition
      readonly start: StartPosition
      readonly identity: LogIdentity
    }[],
  ): Promise<void>
  /** Resolves once the group has said whether this member still belongs to it. */
  settleDoubt(): Promise<void>
  /** Whether a partition was created while this member was reading. */
  cameLater(place: TopicPartition): boolean
  /** Whether it was already reported that the partition has another log now. */
  isRemade(place: TopicPartition): boolean
  announce(added: readonly Assignment[]): void
  emit(event: DriverEvent): void
  /** Returns true if the failure is a missing right to a single topic, which is not taken up any more. */
  forbidden(error: unknown): boolean
  fatal(error: unknown): RxMikaError | undefined
  fail(error: RxMikaError): void
}

/**
 * Finds the starting positions of newly assigned partitions. Each leader is asked separately, so that one that is away delays
 * only its own partitions.
 */
export class TakingUp {
  readonly #known: Assignment[] = []
  #announced = false

  constructor(readonly host: TakingUpHost) {}

  async all(partitions: readonly TopicPartition[]): Promise<void> {
    const { host } = this
    const lookedUp = untilDone(host.cluster, partitions, (led, failures) => this.#isDone(led, failures))
    await Promise.race([lookedUp, pause(waitForOthers, host.stale)])
    await host.settleDoubt()
    if (host.stale.aborted) return
    this.#announced = true
    host.announce(this.#known)
  }

  /** One attempt for partitions of one leader. Resolves to false, after a pause, if there has to be another one. */
  async #isDone(partitions: readonly TopicPartition[], failures: number): Promise<boolean> {
    const { host } = this
    try {
      const found = await this.#assignments(partitions)
      // The look-up may take longer than a session: others may own the partitions by now, and be further on.
      await host.settleDoubt()
      if (host.stale.aborted) return true
      if (this.#announced) host.announce(found)
      else this.#known.push(...found)
      return true
    } catch (error) {
      if (host.stale.aborted || host.forbidden(error)) return true
      const fatal = host.fatal(error)
      if (fatal !== undefined) {
        host.fail(fatal)
        return true
      }
      // A partition without a leader is reported by other means.
      if (failures + 1 === reportedAfter && !(error instanceof LeaderlessError))
        this.#report(partitions, error as Error)
      await Promise.race([host.cluster.refresh().catch(() => {}), pause(maxPause, host.stale)])
      await pause(Math.min(firstPause * 2 ** failures, maxPause), host.stale)
      return host.stale.aborted
    }
  }

  #report(partitions: readonly TopicPartition[], cause: Error): void {
    const places = partitions.map(partitionName).join(', ')
    const { topic, partition } = partitions[0]!
    const message = `the start position of ${places} is not known yet: ${cause.message}`
    this.host.emit({ type: 'trouble', error: new FetchError(message, { cause, topic, partition }) })
  }

  async #assignments(partitions: readonly TopicPartition[]): Promise<readonly Assignment[]> {
    const { host } = this
    const { cluster, request } = host
    const topics = [...new Set(partitions.map(({ topic }) => topic))]
    // The ids before the requests, because the answers are about the logs of that time.
    const ids = new Map(topics.map(topic => [topic, this.#idOf(topic)]))
    const [committed, beginnings] = await Promise.all([
      host.committed(topics),
      offsetsAt(cluster, partitions, earliest),
    ])
    const starts = new PartitionMap<StartPosition>()
    const begun: TopicPartition[] = []
    const moved: { place: TopicPartition; from: CommittedPosition }[] = []
    for (const place of partitions) {
      const position = committed.get(place)
      if (position === undefined) {
        if (this.#beginsLate(place, committed)) starts.set(place, at(beginnings.get(place)!))
        else begun.push(place)
      } else if (isOfAnotherLog(position, ids.get(place.topic)!)) {
        moved.push({ place, from: position })
        starts.set(place, at(beginnings.get(place)!))
      } else if (position.offset < beginnings.get(place)!.offset) {
        moved.push({ place, from: position })
        if (request.startFrom === 'committed') starts.set(place, at(beginnings.get(place)!))
        else begun.push(place)
      } else {
        starts.set(place, { ...position, metadata: unsealIdentity(position.metadata).metadata })
      }
    }
    await this.#begin(begun, beginnings, starts)
    const cut = await this.#dropTruncated(starts, committed)
    await this.#keep(partitions, committed, starts, ids)
    if (host.stale.aborted) return []
    // A topic was recreated meanwhile: the answers are about a deleted log.
    if (topics.some(topic => isAnother(ids.get(topic)!, this.#idOf(topic)))) return this.#assignments(partitions)
    for (const { place, from } of moved) {
      if (!host.isRemade(place)) this.#reportMove(place, from, starts.get(place)!, ids.get(place.topic)!)
    }
    for (const { place, offset } of cut) this.#reportCut(place, offset)
    return partitions.map(
      ({ topic, partition }) =>
        new Assignment(topic, partition, ids.get(topic)!, starts.get({ topic, partition })!, host.clock),
    )
  }

  #idOf(topic: string): Uuid {
    return this.host.cluster.topic(topic)?.id ?? ZERO_UUID
  }

  /** If the group has positions in the topic, a partition without one was created after the group began (KIP-842). */
  #beginsLate(place: TopicPartition, committed: PartitionMap<CommittedPosition>): boolean {
    if (this.host.request.startFrom instanceof Date) return false
    if (this.host.cameLater(place)) return true
    const others = committed.of(place.topic)
    if (others === undefined) return false
    for (const { metadata } of others.values()) {
      const { partitions } = unsealIdentity(metadata).identity
      // Members that take the topic up at the same time see each other's first commits. Partitions below the count existed then.
      if (partitions > 0) return place.partition >= partitions
    }
    return true
  }

  /** Finds the starting positions by `startFrom`. */
  async #begin(
    places: readonly TopicPartition[],
    beginnings: PartitionMap<ListedOffset>,
    starts: PartitionMap<StartPosition>,
  ): Promise<void> {
    if (places.length === 0) return
    const { request, cluster } = this.host
    const { startFrom } = request
    if (startFrom === 'committed') {
      throw new ConfigurationError(
        `startFrom is 'committed', and group '${request.group}' has committed no position for ` +
          `${firstTen(places, partitionName)}; commit positions by Kafka's tools, or start with 'earliest' or 'latest' once`,
      )
    }
    if (startFrom === 'earliest') {
      for (const place of places) starts.set(place, at(beginnings.get(place)!))
      return
    }
    const found = await offsetsAt(cluster, places, startFrom === 'latest' ? latest : startFrom.getTime())
    const none = places.filter(place => found.get(place)!.offset < 0)
    const ends = none.length === 0 ? found : await offsetsAt(cluster, none, latest)
    for (const place of places) {
      const start = found.get(place)!
      starts.set(place, at(start.offset < 0 ? ends.get(place)! : start))
    }
  }

  /**
   * Commits the starting positions before any record is read. If a partition were taken up again before its first commit, its
   * end would have moved, and records written in between would be skipped.
   */
  async #keep(
    places: readonly TopicPartition[],
    committed: PartitionMap<CommittedPosition>,
    starts: PartitionMap<StartPosition>,
    ids: ReadonlyMap<string, Uuid>,
  ): Promise<void> {
    const { request, cluster, stale } = this.host
    if (request.group === undefined || request.startFrom === 'earliest' || stale.aborted) return
    const fresh = places.filter(place => committed.get(place)?.offset !== starts.get(place)!.offset)
    if (fresh.length === 0) return
    await this.host.keep(
      fresh.map(place => {
        const identity = {
          topicId: ids.get(place.topic)!,
          partitions: begunWith(committed.of(place.topic)) || (cluster.topic(place.topic)?.partitions.length ?? 0),
        }
        return { place, start: starts.get(place)!, identity }
      }),
    )
  }

  /**
   * What a commit says of records behind its position was said of the log of that time. If the log was truncated below them,
   * other records may have their offsets now: nothing is taken as completed. Returns where the logs diverge.
   */
  async #dropTruncated(
    starts: PartitionMap<StartPosition>,
    committed: PartitionMap<CommittedPosition>,
  ): Promise<readonly { readonly place: TopicPartition; readonly offset: number }[]> {
    const cut: { place: TopicPartition; offset: number }[] = []
    const check = async (place: TopicPartition, start: StartPosition) => {
      const { read } = unsealIdentity(committed.get(place)?.metadata ?? '').identity
      if (start.metadata === '' || read === undefined) return
      const end = await endOfEpoch(this.host.cluster, place, read.epoch)
      if (end === undefined || end.endOffset >= read.offset) return
      starts.set(place, { ...start, metadata: '' })
      cut.push({ place, offset: end.endOffset })
    }
    await Promise.all([...starts.entries()].map(([place, start]) => check(place, start)))
    return cut
  }

  #reportCut(place: TopicPartition, at: number): void {
    const { topic, partition } = place
    const message = `${partitionName(place)}@${at} is where the log diverges from the one that was read; records that were completed behind the committed position are delivered again`
    this.host.emit({ type: 'trouble', error: new FetchError(message, { topic, partition, offset: BigInt(at) }) })
  }

  #reportMove(place: TopicPartition, from: CommittedPosition, to: StartPosition, topicId: Uuid): void {
    const why = isOfAnotherLog(from, topicId) ? 'the topic was deleted and made again' : 'it is out of range'
    const { topic, partition } = place
    const message = `the committed position ${partitionName(place)}@${from.offset} cannot be used, because ${why}; reading goes on at ${to.offset}`
    this.host.emit({
      type: 'trouble',
      error: new FetchError(message, { topic, partition, offset: BigInt(from.offset) }),
    })
  }
}

/** Whether two known ids are different. */
function isAnother(one: Uuid, other: Uuid): boolean {
  return one !== ZERO_UUID && other !== ZERO_UUID && one !== other
}

function isOfAnotherLog({ metadata }: CommittedPosition, topicId: Uuid): boolean {
  return isAnother(unsealIdentity(metadata).identity.topicId, topicId)
}

function at({ offset, leaderEpoch }: ListedOffset): StartPosition {
  return { offset, leaderEpoch: leaderEpoch ?? -1, metadata: '' }
}

/** The number of partitions that the topic had when its group began; 0 if unknown. */
export function begunWith(positions: ReadonlyMap<number, CommittedPosition> | undefined): number {
  for (const { metadata } of positions?.values() ?? []) {
    const { partitions } = unsealIdentity(metadata).identity
    if (partitions > 0) return partitions
  }
  return 0
}
