import type { Clock } from '../../../clock.js'
import { CommitError, ConfigurationError, ConnectionError, type RxMikaError } from '../../../errors.js'
import { kafkaError } from '../../../protocol/errors.js'
import {
  consumerGroupHeartbeat,
  memberEpoch as memberEpochs,
} from '../../../protocol/messages/consumer-group-heartbeat.js'
import { type Uuid, ZERO_UUID } from '../../../protocol/wire/uuid.js'
import { Backoff } from '../backoff.js'
import type { Cluster } from '../cluster/cluster.js'
import type { KnownTopic } from '../cluster/metadata.js'
import { ProtocolFailure } from '../cluster/protocol-failure.js'
import { Doorbell } from '../doorbell.js'
import { byTopic, PartitionMap, type TopicPartition } from '../topic-partition.js'
import { UnsupportedRequestError } from '../transport/failures.js'
import { unexpected } from '../unexpected.js'
import { heartbeatQuiet } from './contact.js'
import { Group, leaveTimeout } from './group.js'
import type { CommittedPosition, Member, MemberOwner, MemberSettings, PositionToCommit } from './member.js'
import { fatalFailure } from './member-failure.js'
import { commitError, type Membership } from './offsets.js'

const joining = memberEpochs.join

const firstPause = 100
const maxPause = 2_000
/** A new member has no partitions if this many heartbeats, an interval apart, brought no other assignment. */
const minQuietAnswers = 2
/**
 * An assignment is complete if it has not changed for this time, ms. Brokers compute the next one at the earliest
 * `group.consumer.assignment.interval.ms` after the last, by default 1 s (KIP-1263).
 */
const settledAfter = 5_000
/** The interval of metadata requests for a topic that the coordinator knows and this client does not, ms. */
const refreshEvery = 500
/** How long a commit waits for the epoch that it needs, ms. */
const commitPatience = 10_000

/** A partition of a topic with a certain id, whichever topics have its name before or after. */
interface Owned extends TopicPartition {
  readonly topicId: Uuid
}

type Target = readonly { readonly topicId: Uuid; readonly partitions: readonly number[] }[]

/**
 * A member of a group with the consumer protocol (KIP-848). The broker assigns partitions and moves each on its own:
 * partitions that this member keeps are read on, and only partitions that it gives up are held until they are settled and
 * committed.
 *
 *     joining ──▶ member ──▶ left
 *        ▲          │ fenced or unknown: everything is lost
 *        └──────────┘
 *
 * The only request is the heartbeat: it is sent on a timer, and at once when this member's partitions have changed. Its answer
 * has the member epoch and, if it changed, the target assignment. The member reaches the target step by step: it gives up
 * partitions that are not in the target, takes new ones, and reports what it has.
 */
export class ConsumerMember implements Member {
  #epoch: number = joining
  #left = false
  /** True: the group may know this member. */
  #asked = false
  #topics: readonly string[]
  /** The target assignment from the broker; undefined before there is one. */
  #target: Target | undefined
  #reconciling = false
  /** True: the next heartbeat reports everything. */
  #mustReportAll = true
  /** The time until the next heartbeat, ms: as the broker says, or less. */
  #interval: number
  readonly #group: Group
  readonly #bell = new Doorbell()
  readonly #backoff = new Backoff(firstPause, maxPause)
  readonly #stopWatching: () => void

  constructor(
    readonly cluster: Cluster,
    readonly settings: MemberSettings,
    /** Chosen by the client and kept for the life of this process (KIP-1082). */
    readonly memberId: string,
    topics: readonly string[],
    readonly owner: MemberOwner,
    readonly clock: Clock,
    /** Called if the group cannot be joined by this protocol. Absent: that is an error, or it is retried. */
    readonly fallBack?: (why: Error) => void,
  ) {
    this.#topics = topics
    this.#interval = settings.heartbeatInterval
    this.#group = new Group(cluster, settings, owner, clock)
    this.#stopWatching = cluster.onChange(() => {
      if (this.#reconciling) this.#dropReplaced()
      // A topic id may have become known, and topics may have become visible or invisible.
      this.#reconcileSoon()
      if (this.#subscribed.length > 0 && !isSameList(this.#subscribed, this.#visible)) this.#reportAll()
    })
  }

  start(): void {
    this.#live().catch(cause => this.#fail(unexpected(cause)))
  }

  get doubtful(): boolean {
    return this.#epoch !== joining && this.#group.contact.doubtful
  }

  subscribe(topics: readonly string[]): void {
    this.#topics = topics
    this.#reportAll()
  }

  /**
   * The topics that this client may see, as far as is known. A topic that it may not see makes the broker refuse the whole
   * heartbeat, which would end its membership for the other topics. The reader reports such a topic by its name.
   */
  get #visible(): string[] {
    const visible = this.#topics.filter(name => this.cluster.topic(name)?.error?.has('notAuthorized') !== true)
    return visible.length > 0 ? visible : [...this.#topics]
  }

  /** The topics of the last heartbeat. */
  #subscribed: readonly string[] = []

  /** Sends a heartbeat at once, which reports everything. */
  #reportAll(): void {
    this.#mustReportAll = true
    this.#bell.ring()
  }

  // ── Membership ───────────────────────────────────────────────────────────────────────────────────────────────────

  async #live(): Promise<void> {
    while (!this.#left) {
      let wait: number
      try {
        if (this.#epoch === joining) this.#group.admission.asked()
        wait = await this.#heartbeat()
        this.#group.admission.admitted()
        this.#backoff.reset()
      } catch (error) {
        if (this.#left) return
        if (this.fallBack !== undefined && this.#cannotJoin(error as Error)) {
          // It was a member before: the coordinator has moved to an older broker.
          if (this.#epoch !== joining) this.#lose(error as Error)
          this.#end()
          return this.fallBack(error as Error)
        }
        // The broker may or may not have got the report, so everything is reported again.
        this.#mustReportAll = true
        const fatal = this.#failed(error as Error)
        if (fatal !== undefined) return this.#fail(fatal)
        this.#backoff.failed()
        wait = this.#backoff.delay
      }
      if (!this.#left && !(this.#mustReportAll && wait === 0)) await this.#bell.wait(wait)
    }
  }

  /** Sends a heartbeat. Resolves to the time until the next one, ms. */
  async #heartbeat(): Promise<number> {
    const { group, instanceId, rack, rebalanceTimeout, heartbeatInterval } = this.settings
    const epoch = this.#epoch
    const everything = this.#mustReportAll || epoch === joining
    this.#mustReportAll = false
    const sent = this.#group.contact.now()
    this.#asked = true
    if (everything) this.#subscribed = this.#visible
    const answer = await this.#group.coordinator.ask(
      consumerGroupHeartbeat,
      {
        groupId: group,
        memberId: this.memberId,
        memberEpoch: epoch,
        instanceId: instanceId ?? null,
        rackId: everything ? (rack ?? null) : null,
        rebalanceTimeoutMs: everything ? rebalanceTimeout : -1,
        subscribedTopicNames: everything ? this.#visible : null,
        // A joining member has no partitions.
        topicPartitions: epoch === joining ? [] : everything ? this.#owned() : null,
      },
      { lane: 'group', quiet: heartbeatQuiet(this.#interval) },
    )
    // A refused commit may have ended this membership meanwhile. Then the answer is about an earlier one.
    if (this.#left || this.#epoch !== epoch) return 0
    if (answer.errorCode !== 0) {
      const why = answer.errorMessage === null ? '' : ` (${answer.errorMessage})`
      throw new ProtocolFailure(kafkaError(answer.errorCode), `group '${group}' refused a heartbeat${why}`)
    }
    this.#epoch = answer.memberEpoch
    this.#interval = Math.min(answer.heartbeatIntervalMs, heartbeatInterval)
    // A membership that begins has nothing to confirm, however long the group did not answer before.
    if (epoch === joining) this.#group.contact.begins(sent)
    else this.#group.contact.answered(sent)
    this.#answered.ring()
    this.#noteTarget(answer.assignment?.topicPartitions, everything)
    if (answer.assignment !== null || !this.#announced) this.#reconcileSoon()
    return this.#mustReportAll ? 0 : this.#interval
  }

  /**
   * @param target Undefined: the answer has none.
   * @param everything The heartbeat reported everything. It is sent at once, so its answer does not count as a quiet one.
   */
  #noteTarget(target: Target | undefined, everything: boolean): void {
    const isNew = target !== undefined && (this.#target === undefined || !isSame(target, this.#target))
    if (target !== undefined) this.#target = target
    this.#unacknowledged ||= isNew
    if (isNew) {
      this.#quietAnswers = 0
      this.#quietSince = this.clock.monotonic()
      this.#isSettled = false
    } else if (!everything) {
      this.#quietAnswers++
      const isSettled =
        this.#quietAnswers >= minQuietAnswers && this.clock.monotonic() - this.#quietSince >= settledAfter
      if (!isSettled || this.#isSettled) return
      this.#isSettled = true
      if (this.#announced) this.owner.awaits([])
    }
  }

  readonly #answered = new Doorbell()

  /** Whether the group cannot be joined by this protocol, as far as the coordinator says. */
  #cannotJoin(failure: Error): boolean {
    if (failure instanceof UnsupportedRequestError) return true
    if (!(failure instanceof ProtocolFailure)) return false
    const { name } = failure.error
    return name === 'UNSUPPORTED_VERSION' || (name === 'GROUP_ID_NOT_FOUND' && this.#epoch === joining)
  }

  /** Handles a failed heartbeat. Returns the error if it cannot heal. */
  #failed(failure: Error): RxMikaError | undefined {
    if (failure instanceof UnsupportedRequestError) return unsupported(failure)
    if (!(failure instanceof ProtocolFailure)) {
      this.#group.admission.refused(failure)
      return undefined
    }
    const { error } = failure
    const { group, instanceId } = this.settings
    if (error.name === 'UNRELEASED_INSTANCE_ID') {
      this.#report(
        new ConnectionError(
          `instanceId '${instanceId}' of group '${group}' is in use: by another member, or by one that stopped without leaving ` +
            'and whose session is not over yet; joining is tried again',
          { cause: failure },
        ),
      )
      return undefined
    }
    // The metadata say which topic it is.
    if (error.name === 'TOPIC_AUTHORIZATION_FAILED') this.cluster.refresh().catch(() => {})
    this.#group.admission.refused(failure)
    if (error.name === 'FENCED_INSTANCE_ID') {
      return new ConfigurationError(
        `another member of group '${group}' has the instanceId '${instanceId}'; give each member one of its own`,
        { cause: failure },
      )
    }
    // A deleted group has no members. For a joining member the code means that the group has another protocol.
    if (error.has('memberIsOut') || (error.name === 'GROUP_ID_NOT_FOUND' && this.#epoch !== joining)) {
      this.#lose(failure)
      return undefined
    }
    if (error.name === 'UNSUPPORTED_VERSION') return unsupported(failure)
    return fatalFailure(failure, this.settings)
  }

  #reportedAt = Number.NEGATIVE_INFINITY

  /** Reports at most once a minute. */
  #report(error: RxMikaError): void {
    const now = this.clock.monotonic()
    if (now - this.#reportedAt < 60_000) return
    this.#reportedAt = now
    this.owner.trouble(error)
  }

  #lose(failure: Error): void {
    this.#epoch = joining
    this.#target = undefined
    this.#announced = false
    this.#quietAnswers = 0
    this.#isSettled = false
    this.#has = new PartitionMap()
    this.owner.lost(failure)
  }

  #fail(error: RxMikaError): void {
    this.#end()
    this.owner.failed(error)
  }

  // ── Reconciling ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** The partitions that this member reports to have. */
  #has = new PartitionMap<Owned>()

  #owned(): { topicId: Uuid; partitions: number[] }[] {
    return [...byTopic(this.#has.values())].map(([, places]) => ({
      topicId: places[0]!.topicId,
      partitions: places.map(({ partition }) => partition),
    }))
  }

  /** True: the owner has got the first assignment. */
  #announced = false
  /** How many heartbeats, an interval apart, have brought no new target assignment since the last one. */
  #quietAnswers = 0
  #quietSince = 0
  /** True: the target assignment is complete, until it changes. */
  #isSettled = false

  /**
   * Whether the first assignment is empty, because other members have all partitions. Not after the first answer: partitions
   * that others must give up come with a later answer, after a heartbeat of those members.
   */
  #hasNothing(target: Target): boolean {
    return !this.#announced && target.length === 0 && this.#quietAnswers >= minQuietAnswers
  }

  /**
   * The topics of which partitions may follow. A coordinator that does not know a new topic yet assigns the others first, and
   * partitions that other members must give up follow once they have.
   */
  #awaited(): string[] {
    if (this.#isSettled) return []
    const has = PartitionMap.of(this.#has.values())
    return this.#subscribed.filter(topic => has.of(topic) === undefined)
  }

  /** True: the broker waits until this member reports that it has given up partitions of an earlier target. */
  #unacknowledged = false

  #acknowledge(): void {
    this.#unacknowledged = false
    this.#reportAll()
  }

  #reconcileSoon(): void {
    this.#reconcile().catch(cause => this.#fail(unexpected(cause)))
  }

  /** Changes the member's partitions step by step until they are those of the target. */
  async #reconcile(): Promise<void> {
    if (this.#reconciling) return
    this.#reconciling = true
    try {
      while (this.#target !== undefined && !this.#left) {
        const wanted = this.#wanted(this.#target)
        // A recreated topic has another id: partitions that this member has by the old id must be given up.
        const surplus = [...this.#has.values()].filter(place => wanted.get(place)?.topicId !== place.topicId)
        if (surplus.length > 0) {
          const before = this.#has
          await this.owner.givingUp(surplus)
          // Everything was lost meanwhile.
          if (this.#has !== before) continue
          for (const place of surplus) this.#has.delete(place)
        } else if (this.#has.size < wanted.size || this.#hasNothing(this.#target)) {
          for (const place of wanted.values()) this.#has.set(place, place)
        } else {
          if (this.#unacknowledged) this.#acknowledge()
          break
        }
        this.#announced = true
        this.owner.assigned([...this.#has.values()], this.#awaited())
        this.#acknowledge()
      }
    } finally {
      this.#reconciling = false
    }
  }

  /** The target by topic names. Partitions of a topic whose id is not known yet are left out until it is. */
  #wanted(target: Target): PartitionMap<Owned> {
    const wanted = new PartitionMap<Owned>()
    let unknown = false
    for (const { topicId, partitions } of target) {
      const topic = this.cluster.nameOf(topicId) ?? this.#nameOfOwned(topicId)
      if (topic === undefined) unknown = true
      else {
        for (const partition of partitions) {
          const place = { topic, partition, topicId }
          wanted.set(place, place)
        }
      }
    }
    if (unknown) this.#lookForTopics()
    return wanted
  }

  /**
   * The name of a topic of which this member has partitions. A broker that has just started may not know the topic yet: its
   * partitions stay, unless the name has another id by now.
   */
  #nameOfOwned(topicId: Uuid): string | undefined {
    const owned = [...this.#has.values()].find(place => place.topicId === topicId)?.topic
    return owned === undefined || (this.cluster.topic(owned)?.id ?? ZERO_UUID) !== ZERO_UUID ? undefined : owned
  }

  /**
   * A topic was recreated while other partitions are given up, which may take long. Its partitions are another log now, which
   * the group may give to any member. The owner notices by itself that the old log has ended.
   */
  #dropReplaced(): void {
    for (const place of [...this.#has.values()]) {
      const id = this.cluster.topic(place.topic)?.id ?? ZERO_UUID
      if (id !== ZERO_UUID && id !== place.topicId) this.#has.delete(place)
    }
  }

  owns(place: TopicPartition): boolean {
    return this.#has.has(place)
  }

  #retryTimer: NodeJS.Timeout | undefined

  /** Refreshes the metadata: the coordinator may know a topic before the asked broker does, or assign one that was deleted. */
  #lookForTopics(): void {
    if (this.#retryTimer !== undefined || this.#left) return
    this.cluster.refresh().catch(() => {})
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined
      this.#reconcileSoon()
    }, refreshEvery)
  }

  async settleDoubt(): Promise<void> {
    while (this.doubtful && !this.#left) {
      this.#reportAll()
      await this.#answered.wait(firstPause)
    }
  }

  // ── Offsets ──────────────────────────────────────────────────────────────────────────────────────────────────────

  async commit(points: () => readonly PositionToCommit[]): Promise<void> {
    const { group } = this.settings
    const until = this.clock.monotonic() + commitPatience
    const pause = new Backoff(firstPause, maxPause)
    for (;;) {
      // The assignments have ended then, and the refusal is no reason to close the client.
      if (this.#left) throw new CommitError(`group '${group}' was left`, { retriable: true })
      if (this.#epoch === joining)
        throw new CommitError(`group '${group}' is not joined at present`, { retriable: true })
      const had = this.#has
      let epoch = this.#epoch
      try {
        await this.#group.commit(points, () => {
          epoch = this.#epoch
          return this.#membership
        })
        return
      } catch (error) {
        const code = error instanceof ProtocolFailure ? error.error : undefined
        // The epoch has risen meanwhile: commit again with the new one, which comes with the next heartbeat.
        if (code?.name === 'STALE_MEMBER_EPOCH' && this.clock.monotonic() < until) {
          if (this.#epoch === epoch) {
            await this.#bell.wait(pause.delay)
            pause.failed()
            this.#bell.ring()
            await this.#answered.wait(this.#interval)
          }
          continue
        }
        // An answer about an earlier membership says nothing about the present one.
        if (code?.has('memberIsOut') && this.#has === had) {
          this.#lose(error as Error)
          this.#reportAll()
        }
        throw commitError(error, group)
      }
    }
  }

  committed(topics: readonly KnownTopic[]): Promise<PartitionMap<CommittedPosition>> {
    return this.#group.committed(topics, () => this.#membership)
  }

  get #membership(): Membership {
    return { memberId: this.memberId, epoch: this.#epoch, instanceId: this.settings.instanceId }
  }

  // ── The end ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #end(): void {
    this.#left = true
    this.#group.admission.end()
    this.#stopWatching()
    clearTimeout(this.#retryTimer)
    this.#bell.ring()
    this.#answered.ring()
  }

  /** Leaves. A static member keeps its place: it is back within the session time-out, or the coordinator reassigns it then. */
  async leave(): Promise<void> {
    if (this.#left) return
    this.#end()
    if (!this.#asked) return
    const { group, instanceId } = this.settings
    const request = {
      groupId: group,
      memberId: this.memberId,
      memberEpoch: instanceId === undefined ? memberEpochs.leave : memberEpochs.leaveStatic,
      instanceId: instanceId ?? null,
    }
    // On the connection of the heartbeats, so that a pending join cannot reach the coordinator after this.
    await this.#group.leave(() =>
      this.#group.coordinator.ask(consumerGroupHeartbeat, request, { lane: 'group', timeout: leaveTimeout }),
    )
  }
}

function isSameList(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((each, at) => each === other[at])
}

/** Whether two assignments are equal, in any order. */
function isSame(one: Target, other: Target): boolean {
  const places = (target: Target) =>
    target.flatMap(({ topicId, partitions }) => partitions.map(partition => `${topicId} ${partition}`)).sort()
  return places(one).join() === places(other).join()
}

function unsupported(cause: Error): ConfigurationError {
  return new ConfigurationError(
    "groupProtocol 'consumer' needs brokers of Kafka 4.0 or newer with group.version 1 (KIP-848); use 'classic', or 'auto'",
    { cause },
  )
}
