import type { Clock } from '../../../clock.js'
import { CommitError, ConfigurationError, type RxMikaError } from '../../../errors.js'
import { kafkaError } from '../../../protocol/errors.js'
import { heartbeat } from '../../../protocol/messages/heartbeat.js'
import { joinGroup } from '../../../protocol/messages/join-group.js'
import { leaveGroup, leaveOneMember } from '../../../protocol/messages/leave-group.js'
import { syncGroup } from '../../../protocol/messages/sync-group.js'
import { Backoff, pause } from '../backoff.js'
import type { Cluster } from '../cluster/cluster.js'
import type { KnownTopic } from '../cluster/metadata.js'
import { ProtocolFailure } from '../cluster/protocol-failure.js'
import { Doorbell } from '../doorbell.js'
import { PartitionMap, type TopicPartition } from '../topic-partition.js'
import { unexpected } from '../unexpected.js'
import { heartbeatQuiet } from './contact.js'
import { Group, leaveTimeout } from './group.js'
import { shareOut } from './leader.js'
import type { CommittedPosition, Member, MemberOwner, MemberSettings, PositionToCommit } from './member.js'
import { fatalFailure } from './member-failure.js'
import { commitError, type Membership } from './offsets.js'
import { decodeClaim, decodeShare, encodeClaim, encodeShare, offered } from './subscription.js'

/** How long joining may take beyond the rebalance time-out, ms: members learn of a rebalance only by a heartbeat. */
const joinGrace = 5_000
const firstPause = 100
const maxPause = 2_000
/** How long a commit waits for the end of a rebalance, ms. */
const commitPatience = 10_000

/** The state of a member. Commits are sent in `stable` and `giving-up`. */
type State = 'joining' | 'stable' | 'giving-up' | 'left'

/**
 * A member of a group with the classic protocol. All members join, the group's leader assigns the partitions, and every change
 * makes all members rejoin. Between two assignments of a partition no record of it is delivered (eager).
 *
 *     joining ──▶ stable ──▶ giving-up ──▶ joining …        left: at any time, for good
 *        ▲           │           │
 *        └───────────┴───────────┘  the coordinator does not know this member any more: everything is lost
 *
 * Heartbeats have their own timer in `stable` and `giving-up`; a JoinGroup request counts as one.
 *
 * @see https://kafka.apache.org/documentation/#consumerconfigs (group.protocol=classic), KIP-62, KIP-345, KIP-394
 */
export class ClassicMember implements Member {
  #state: State = 'joining'
  #memberId = ''
  #generation = -1
  /** The generation of the latest assignment; -1: none. */
  #assignedIn = -1
  #topics: readonly string[]
  readonly #group: Group
  /** Rings when the state changes, and when a rebalance must begin. */
  readonly #bell = new Doorbell()
  readonly #left = new AbortController()
  readonly #backoff = new Backoff(firstPause, maxPause)
  #rebalance = false
  #heartbeats: NodeJS.Timeout | undefined
  /** As the leader: how many partitions each assigned topic had. The leader checks whether that changes. */
  #shared: ReadonlyMap<string, number> = new Map()
  #stopWatchingShared: (() => void) | undefined
  readonly #stopWatching: () => void
  #beating = false

  constructor(
    readonly cluster: Cluster,
    readonly settings: MemberSettings,
    topics: readonly string[],
    readonly owner: MemberOwner,
    clock: Clock,
  ) {
    this.#topics = topics
    this.#group = new Group(cluster, settings, owner, clock)
    this.#stopWatching = cluster.onChange(() => this.#onMetadata())
  }

  start(): void {
    this.#live().catch(cause => this.#fail(unexpected(cause)))
  }

  get doubtful(): boolean {
    return this.#state !== 'joining' && this.#group.contact.doubtful
  }

  subscribe(topics: readonly string[]): void {
    this.#topics = topics
    this.#rejoin()
  }

  // ── Membership ───────────────────────────────────────────────────────────────────────────────────────────────────

  async #live(): Promise<void> {
    while (!this.#ended) {
      try {
        const share = await this.#join()
        if (this.#ended) return
        this.#backoff.reset()
        this.#group.admission.admitted()
        this.#enter('stable')
        this.#beat()
        if (this.#take(share)) {
          // Partitions may have been added since they were counted.
          this.#onMetadata()
          await this.#untilRebalance()
        }
        await this.#giveUp()
      } catch (error) {
        if (this.#ended) return
        this.#backoff.failed()
        this.#group.admission.refused(error as Error)
        if (!this.#mayGoOn(error as Error)) return
        await this.#backoff.wait(this.#left.signal)
      }
    }
  }

  get #ended(): boolean {
    return this.#state === 'left'
  }

  #enter(state: State): void {
    if (this.#ended) return
    this.#state = state
    this.#bell.ring()
  }

  #rejoin(): void {
    this.#rebalance = true
    this.#bell.ring()
  }

  async #untilRebalance(): Promise<void> {
    while (this.#state === 'stable' && !this.#rebalance) await this.#bell.rung()
  }

  /**
   * Passes the assignment to the owner. Returns false if this member must rejoin at once: with cooperative-sticky, a partition
   * that moves is assigned to its new owner only then.
   */
  #take(share: readonly TopicPartition[]): boolean {
    const given = PartitionMap.of(share)
    const keeps = this.owner.held().every(place => given.has(place))
    // In the generations between, its partitions may have been others', which are further on.
    if (this.#assignedIn >= 0 && this.#generation > this.#assignedIn + 1) this.owner.superseded()
    this.#assignedIn = this.#generation
    this.owner.assigned(share)
    return keeps || this.#protocol !== 'cooperative-sticky'
  }

  #protocol = ''

  async #giveUp(): Promise<void> {
    if (this.#state !== 'stable') return
    this.#enter('giving-up')
    this.owner.interrupted()
    if (this.doubtful) await this.settleDoubt()
    const held = this.owner.held()
    // Everything may have been lost during the request.
    if (held.length > 0 && (this.#state as State) === 'giving-up') await this.owner.givingUp(held)
  }

  /** Returns whether this member rejoins after a failure. Its partitions may be lost by that, or the owner's `failed` is called. */
  #mayGoOn(failure: Error): boolean {
    this.#stopBeating()
    const code = failure instanceof ProtocolFailure ? failure.error : undefined
    if (code === undefined) return true
    if (code.name === 'FENCED_INSTANCE_ID') {
      this.#fail(
        new ConfigurationError(
          `another member of group '${this.settings.group}' has the instanceId '${this.settings.instanceId}'; give each member one of its own`,
          { cause: failure },
        ),
      )
      return false
    }
    if (code.has('memberIsOut')) {
      // Only UNKNOWN_MEMBER_ID is about the id. After another code it can still be used.
      if (code.name === 'UNKNOWN_MEMBER_ID') this.#memberId = ''
      this.#lose(failure)
      return true
    }
    const fatal = fatalFailure(failure as ProtocolFailure, this.settings)
    if (fatal === undefined) return true
    this.#fail(fatal)
    return false
  }

  #lose(failure: Error): void {
    this.#generation = this.#assignedIn = -1
    this.#enter('joining')
    this.owner.lost(failure)
  }

  #fail(error: RxMikaError): void {
    this.#end()
    this.owner.failed(error)
  }

  // ── Joining ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The answer to the latest JoinGroup request. */
  #asking: Promise<unknown> | undefined

  /** Joins. Resolves to the partitions assigned to this member. */
  async #join(): Promise<readonly TopicPartition[]> {
    this.#stopBeating()
    this.#enter('joining')
    this.#group.admission.asked()
    const { group, sessionTimeout, rebalanceTimeout, instanceId, rack } = this.settings
    const topics = this.#topics
    // A change from here on is not in the claim, so it makes this member join again.
    this.#rebalance = false
    const claim = { topics, owned: this.owner.held(), generation: this.#assignedIn }
    const sent = this.#group.contact.now()
    const asking = this.#group.coordinator.ask(
      joinGroup,
      {
        groupId: group,
        sessionTimeoutMs: sessionTimeout,
        rebalanceTimeoutMs: rebalanceTimeout,
        memberId: this.#memberId,
        ...staticMember(instanceId),
        protocolType: 'consumer',
        protocols: offered.map(name => ({ name, metadata: encodeClaim(name, claim, rack) })),
        reason: null,
      },
      { lane: 'group', timeout: rebalanceTimeout + joinGrace },
    )
    this.#asking = asking
    const joined = await asking
    // KIP-394: the coordinator first assigns an id, and accepts the member when it joins with that id.
    if (kafkaError(joined.errorCode).name === 'MEMBER_ID_REQUIRED') {
      this.#memberId = joined.memberId
      return this.#ended ? [] : this.#join()
    }
    this.#check(joined.errorCode, 'could not be joined')
    this.#memberId = joined.memberId
    if (this.#ended) return []
    this.#generation = joined.generationId
    this.#protocol = joined.protocolName ?? ''
    this.#group.contact.begins(sent)
    const isLeader = joined.leader === joined.memberId
    if (!isLeader) this.#forgetShared()
    const shares = isLeader ? await this.#shareOut(joined.members) : []
    const synced = await this.#group.coordinator.ask(
      syncGroup,
      {
        groupId: group,
        generationId: joined.generationId,
        memberId: joined.memberId,
        ...staticMember(instanceId),
        protocolType: 'consumer',
        protocolName: this.#protocol,
        // KIP-814: the leader is back, and all members keep their partitions.
        assignments: joined.skipAssignment ? [] : shares,
      },
      { lane: 'group', timeout: rebalanceTimeout + joinGrace },
    )
    this.#check(synced.errorCode, 'gave no assignment')
    return decodeShare(synced.assignment)
  }

  async #shareOut(
    members: readonly { readonly memberId: string; readonly metadata: Buffer }[],
  ): Promise<{ memberId: string; assignment: Buffer }[]> {
    const claims = new Map(members.map(({ memberId, metadata }) => [memberId, decodeClaim(this.#protocol, metadata)]))
    const topics = new Set([...claims.values()].flatMap(claim => claim.topics))
    const before = this.#stopWatchingShared
    // The new topics first, so that what is known of topics that stay is kept.
    this.#stopWatchingShared = this.cluster.watch(topics)
    before?.()
    this.#shared = new Map()
    const counts = new Map<string, number>()
    // Topics of other members too: a leader assigns topics that it need not subscribe to. A topic that was deleted, or that
    // this member may not see, has no partitions, and must not prevent the assignment of the others.
    for (const [name, { partitions }] of await this.cluster.learn([...topics])) {
      if (partitions.length > 0) counts.set(name, partitions.length)
    }
    this.#shared = new Map([...topics].map(name => [name, counts.get(name) ?? 0]))
    const shares = shareOut(this.#protocol, claims, counts)
    return [...shares].map(([memberId, share]) => ({ memberId, assignment: encodeShare(share) }))
  }

  /** As the leader: makes all members rejoin if partitions were added. */
  #onMetadata(): void {
    if (this.#state !== 'stable') return
    for (const [name, count] of this.#shared) {
      const known = this.cluster.topic(name)
      // A topic that was deleted, or cannot be seen now, is no reason to interrupt all others.
      if (known === undefined || known.error !== undefined || known.partitions.length === count) continue
      return this.#rejoin()
    }
  }

  #forgetShared(): void {
    this.#stopWatchingShared?.()
    this.#stopWatchingShared = undefined
    this.#shared = new Map()
  }

  #check(code: number, what: string): void {
    if (code !== 0) throw new ProtocolFailure(kafkaError(code), `group '${this.settings.group}' ${what}`)
  }

  // ── Heartbeats ───────────────────────────────────────────────────────────────────────────────────────────────────

  #beat(): void {
    this.#stopBeating()
    this.#heartbeats = setInterval(() => {
      this.#heartbeat().catch(cause => this.#fail(unexpected(cause)))
    }, this.settings.heartbeatInterval)
  }

  #stopBeating(): void {
    clearInterval(this.#heartbeats)
    this.#heartbeats = undefined
  }

  /** Sends a heartbeat. Never rejects. */
  async #heartbeat(): Promise<void> {
    if (this.#beating) return
    this.#beating = true
    try {
      await this.#askWhetherKnown()
    } catch {
      // Without an answer the coordinator is looked up again, and the session time-out decides.
    } finally {
      this.#beating = false
    }
  }

  /** Sends a heartbeat. Rejects if the group does not answer. */
  async #askWhetherKnown(): Promise<void> {
    const generation = this.#generation
    const { group, instanceId, heartbeatInterval } = this.settings
    const sent = this.#group.contact.now()
    const request = { groupId: group, generationId: generation, memberId: this.#memberId, ...staticMember(instanceId) }
    const { errorCode } = await this.#group.coordinator.ask(heartbeat, request, {
      lane: 'control',
      quiet: heartbeatQuiet(heartbeatInterval),
    })
    // The answer to a heartbeat may arrive after the next join: then it is about an earlier generation.
    if (generation !== this.#generation || this.#ended || this.#state === 'joining') return
    if (errorCode === 0) return this.#group.contact.answered(sent)
    const failure = new ProtocolFailure(kafkaError(errorCode), `group '${group}' refused a heartbeat`)
    const { error } = failure
    if (error.name === 'REBALANCE_IN_PROGRESS') {
      this.#group.contact.answered(sent)
      this.#rejoin()
    } else if (error.has('memberIsOut') || error.name === 'FENCED_INSTANCE_ID') {
      if (this.#mayGoOn(failure)) this.#rejoin()
    } else if (!error.has('coordinatorMoved') && error.name !== 'COORDINATOR_LOAD_IN_PROGRESS') {
      const fatal = fatalFailure(failure, this.settings)
      if (fatal !== undefined) this.#fail(fatal)
    }
  }

  async settleDoubt(): Promise<void> {
    const wait = new Backoff(firstPause, maxPause)
    while (this.doubtful && !this.#ended) {
      try {
        await this.#askWhetherKnown()
      } catch {
        wait.failed()
        await wait.wait(this.#left.signal)
      }
    }
  }

  // ── Offsets ──────────────────────────────────────────────────────────────────────────────────────────────────────

  async commit(points: () => readonly PositionToCommit[]): Promise<void> {
    const { group } = this.settings
    const until = this.#group.clock.monotonic() + commitPatience
    while (this.#state === 'joining') {
      const left = until - this.#group.clock.monotonic()
      if (left <= 0) break
      await this.#bell.wait(left)
    }
    if (this.#state === 'joining' || this.#state === 'left') {
      // Also after it was left: the assignments have ended then, and the refusal is no reason to close the client.
      throw new CommitError(`group '${group}' is not joined at present`, { retriable: true })
    }
    let generation = this.#generation
    const sent = this.#group.contact.now()
    try {
      await this.#group.commit(points, () => {
        generation = this.#generation
        return this.#membership
      })
      // With this protocol, unlike the consumer protocol, a commit extends the session as a heartbeat does.
      this.#group.contact.answered(sent)
    } catch (error) {
      // An answer about an earlier generation says nothing about the present one, which may just be being joined.
      const isCurrent = generation === this.#generation && (this.#state as State) !== 'joining'
      const isOut = error instanceof ProtocolFailure && error.error.has('memberIsOut')
      if (isOut && isCurrent && this.#mayGoOn(error)) this.#rejoin()
      throw commitError(error, group)
    }
  }

  committed(topics: readonly KnownTopic[]): Promise<PartitionMap<CommittedPosition>> {
    return this.#group.committed(topics, () => undefined)
  }

  get #membership(): Membership {
    return { memberId: this.#memberId, epoch: this.#generation, instanceId: this.settings.instanceId }
  }

  // ── The end ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #end(): void {
    this.#stopBeating()
    this.#group.admission.end()
    this.#stopWatching()
    this.#forgetShared()
    this.#state = 'left'
    this.#left.abort()
    this.#bell.ring()
  }

  /** Waits for the answer to a first join, which has the id: the group waits for a member with an id until its session ends. */
  async #untilIdIsKnown(): Promise<void> {
    if (this.#memberId !== '' || this.#asking === undefined) return
    const answered = new AbortController()
    const end = () => answered.abort()
    this.#asking.then(end, end)
    await pause(leaveTimeout, answered.signal)
  }

  async leave(): Promise<void> {
    if (this.#ended) return
    this.#end()
    // A static member keeps its place: it is back within the session time-out, or the coordinator reassigns it then.
    if (this.settings.instanceId !== undefined) return
    await this.#untilIdIsKnown()
    if (this.#memberId === '') return
    const { group } = this.settings
    const member = { memberId: this.#memberId, groupInstanceId: null }
    // Not on the group's connection, where a pending join may be in front.
    await this.#group.leave(() =>
      this.#group.coordinator.ask(leaveGroup, version => leaveOneMember(group, member, null, version), {
        lane: 'leave',
        timeout: leaveTimeout,
      }),
    )
  }
}

/** The instance id for requests whose older versions have no static members. */
function staticMember(instanceId: string | undefined): { readonly groupInstanceId?: string } {
  return instanceId === undefined ? {} : { groupInstanceId: instanceId }
}
