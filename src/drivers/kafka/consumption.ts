import { randomUUID } from 'node:crypto'
import type { Logger } from 'pino'
import { type Observable, type Subscriber, Subscription, takeUntil, timer } from 'rxjs'
import type { Clock } from '../../clock.js'
import type { CommitPoint } from '../../commit-point.js'
import type { ConsumeRequest, DriverEvent, Moved, PartitionAssignment, Seek } from '../../driver.js'
import { CommitError, FetchError, type RxMikaError } from '../../errors.js'
import { longestDuration } from '../../options.js'
import { partitionName } from '../../place.js'
import type { Codecs } from '../../protocol/records/codecs.js'
import { type Uuid, ZERO_UUID } from '../../protocol/wire/uuid.js'
import { pause } from './backoff.js'
import type { Cluster } from './cluster/cluster.js'
import { ProtocolFailure } from './cluster/protocol-failure.js'
import { Doorbell } from './doorbell.js'
import { fatalError } from './fatal-error.js'
import { Assignment } from './fetching/assignment.js'
import { type Diverged, Fetching, type FetchingHost } from './fetching/fetching.js'
import { LeaderlessPartitions } from './leaderless-partitions.js'
import { AutoMember } from './membership/auto-member.js'
import { ClassicMember } from './membership/classic-member.js'
import { ConsumerMember } from './membership/consumer-member.js'
import { GrouplessMember } from './membership/groupless-member.js'
import type { CommittedPosition, Member, MemberOwner, MemberSettings, PositionToCommit } from './membership/member.js'
import { cannotReadTopic, forbiddenTopic } from './missing-right.js'
import { untilDone } from './positions/by-leader.js'
import type { ListedOffset } from './positions/list-offsets.js'
import { sealIdentity } from './positions/log-identity.js'
import { resetPosition } from './positions/reset.js'
import { type Sought, soughtPositions } from './positions/sought.js'
import { begunWith, TakingUp, type TakingUpHost } from './positions/taking-up.js'
import { RepeatLimit } from './repeat-limit.js'
import { ShutTopics, type ShutTopicsOwner } from './shut-topics.js'
import { PartitionMap, type TopicPartition } from './topic-partition.js'
import { unexpected } from './unexpected.js'

/** How long leaving the group may take, ms. The session of a member that cannot leave ends by itself. */
const leavePatience = 2_500

/** The longest time of a rebalance, ms. Joining and its reports wait up to a minute longer, by timers of limited length. */
const longestRebalance = longestDuration - 60_000

const firstSeekPause = 100
const maxSeekPause = 1_000
/** A seek is reported after this many failures in a row. */
const reportedAfter = 3

interface SeekTurn extends Seek {
  readonly assignment: Assignment
  readonly turn: number
}

export interface ConsumptionHost {
  readonly cluster: Cluster
  readonly clock: Clock
  readonly codecs: Codecs | undefined
  readonly logger: Logger
}

/**
 * One subscription to the driver's `consume`: its assignments, and the events for the client. The member decides what is
 * assigned, taking up finds the positions, and fetching reads the records.
 */
export class Consumption implements MemberOwner, FetchingHost, ShutTopicsOwner {
  readonly cluster: Cluster
  readonly clock: Clock
  readonly codecs: Codecs | undefined
  readonly #fetching: Fetching
  readonly #member: Member
  #topics: readonly string[]
  #stopWatching: () => void = () => {}
  #stopListening: () => void = () => {}
  /** Aborted by each rebalance, each loss and the end: positions that are being looked up are then out of date. */
  #taking = new AbortController()
  /** Rings when a hold must end early. */
  readonly #release = new Doorbell()
  /** How many partitions each topic had when this consumption first saw it. */
  readonly #firstSeen = new Map<string, number>()
  /** The id of each topic in the last metadata. */
  readonly #ids = new Map<string, Uuid>()
  /** How many partitions each topic had when its group began. */
  readonly #begunWith = new Map<string, number>()
  /** Retained in a rebalance: they continue when its outcome is emitted. */
  #resumed: readonly Assignment[] = []
  /** Assigned, and not emitted yet. */
  #pending = new PartitionMap<TopicPartition>()
  /** The topics of which the group may still assign partitions. */
  #awaited: readonly string[] = []
  /** False before the first assignment, from the beginning of a rebalance of all partitions to its end, and after a loss. */
  #mayTakeUp = false
  /** True: the client has an assignment, which the group has not taken away. */
  #isAnnounced = false
  /** The topics of the last `awaited` event. */
  #emittedAwaited: ReadonlySet<string> = new Set()
  /** Partitions of topics that were deleted and recreated: read from their beginning. */
  readonly #remade = new PartitionMap<TopicPartition>()
  readonly #tooLarge = new RepeatLimit(60_000)
  readonly #shut: ShutTopics
  readonly #leaderless: LeaderlessPartitions
  /** How often this member has received an assignment that was not empty. */
  #shares = 0
  #closed = false
  /** Set when this member begins to leave its group. */
  #leaving: Promise<void> | undefined

  constructor(
    readonly host: ConsumptionHost,
    readonly request: ConsumeRequest,
    readonly subscriber: Subscriber<DriverEvent>,
  ) {
    this.#topics = request.topics
    this.cluster = host.cluster
    this.clock = host.clock
    this.codecs = host.codecs
    this.#shut = new ShutTopics(host.cluster, host.clock, this)
    this.#leaderless = new LeaderlessPartitions(host.cluster, host.clock, error => this.trouble(error))
    this.#fetching = new Fetching(this)
    this.#member = this.#makeMember(request)
  }

  #makeMember(request: ConsumeRequest): Member {
    const { group, topics, groupProtocol } = request
    if (group === undefined) return new GrouplessMember(this.cluster, topics, this)
    const settings = settingsOf(group, request)
    switch (groupProtocol) {
      case 'consumer':
        return new ConsumerMember(this.cluster, settings, randomUUID(), topics, this, this.clock)
      case 'auto':
        return new AutoMember(this.cluster, settings, randomUUID(), topics, this, this.clock, why =>
          this.host.logger.info(`group '${group}' is joined by the classic protocol, because ${why.message}`),
        )
      default:
        return new ClassicMember(this.cluster, settings, topics, this, this.clock)
    }
  }

  /** Called once the driver has stored this consumption, because the client may call the driver within the first event. */
  start(): void {
    this.#stopWatching = this.cluster.watch(this.#topics)
    this.#stopListening = this.cluster.onChange(() => this.#onMetadata())
    this.#member.start()
  }

  get rack(): string | undefined {
    return this.request.rack
  }

  readonly lane = 'fetch'

  get delivering(): boolean {
    return !this.#closed && !this.doubtful
  }

  get doubtful(): boolean {
    return this.#member.doubtful
  }

  // ── Called by the member ─────────────────────────────────────────────────────────────────────────────────────────

  held(): readonly TopicPartition[] {
    return [...this.#fetching.assignments.values()]
  }

  interrupted(): void {
    this.#mayTakeUp = false
    this.#renewTaking()
  }

  async givingUp(partitions: readonly TopicPartition[]): Promise<void> {
    // Partitions whose position is still being looked up must not begin while the others are being waited for.
    for (const place of partitions) this.#pending.delete(place)
    const assignments = this.#assignmentsOf(partitions)
    if (assignments.length === 0 || this.#closed) return
    for (const assignment of assignments) assignment.resting = true
    this.#resumed = this.#resumed.filter(assignment => !assignment.resting)
    const holds: Observable<unknown>[] = []
    this.emit({ type: 'revoking', assignments, hold: until => holds.push(until) })
    await this.#held(holds, assignments)
  }

  /** Resolves when all holds are over, the assignments have ended, or the time for it is up. */
  async #held(holds: readonly Observable<unknown>[], assignments: readonly Assignment[]): Promise<void> {
    let open = holds.length
    const subscriptions = new Subscription()
    const end = () => {
      if (--open <= 0) this.#release.ring()
    }
    const overdue = timer(this.request.rebalanceTimeout)
    for (const hold of holds) {
      subscriptions.add(hold.pipe(takeUntil(overdue)).subscribe({ error: end, complete: end }))
    }
    // An assignment that a seek has moved is still held, by its successor.
    const isHeld = (one: Assignment) => this.#fetching.assignments.get(one)?.lineage === one.lineage
    while (open > 0 && !this.#closed && assignments.some(isHeld)) await this.#release.rung()
    subscriptions.unsubscribe()
  }

  superseded(): void {
    this.#end([...this.#fetching.assignments.values()], 'revoked')
  }

  assigned(share: readonly TopicPartition[], awaited: readonly string[] = []): void {
    if (this.#closed) return
    this.#awaited = awaited
    this.#mayTakeUp = true
    if (share.length > 0) this.#shares++
    this.#noteFirstSeen()
    const now = PartitionMap.of(share)
    this.#end(
      [...this.#fetching.assignments.values()].filter(assignment => !now.has(assignment)),
      'revoked',
    )
    this.#resumed = [...this.#fetching.assignments.values()].filter(({ resting }) => resting)
    this.#pending = PartitionMap.of(share.filter(place => !this.#fetching.assignments.has(place)))
    this.#approachLeaders()
    this.#takeUp()
  }

  /** Opens the connections for fetches while positions are looked up. The first fetch meets a failure again. */
  #approachLeaders(): void {
    const leaders = [...this.#pending.values()].map(({ topic, partition }) => this.cluster.leaderOf(topic, partition))
    for (const leader of new Set(leaders)) {
      if (leader !== undefined) this.cluster.reach(leader, this.lane).catch(() => {})
    }
  }

  /** Looks up the positions of all pending partitions, from the start. During a rebalance, `assigned` does that at its end. */
  #takeUp(): void {
    const signal = this.#renewTaking()
    if (!this.#mayTakeUp) return
    const places = this.#ours(this.#pending.values()).filter(({ topic }) => !this.#shut.has(topic))
    if (places.length === 0) return this.#announce([])
    new TakingUp(this.#takingUpHost(signal)).all(places).catch(cause => this.fail(unexpected(cause)))
  }

  /**
   * Those that are to be read. The others stay pending: their topic was recreated, and the group has not assigned it again; or
   * it was removed, and the group may not notice that if it is added again soon.
   */
  #ours<T extends TopicPartition>(places: Iterable<T>): readonly T[] {
    const topics = new Set(this.#topics)
    return [...places].filter(place => topics.has(place.topic) && (this.#member.owns?.(place) ?? true))
  }

  awaits(topics: readonly string[]): void {
    this.#awaited = topics
    if (!this.#closed && this.#isAnnounced) this.#emitAwaited(this.#awaitedNow())
  }

  #awaitedNow(): ReadonlySet<string> {
    const topics = new Set(this.#awaited)
    const subscribed = new Set(this.#topics)
    for (const { topic } of this.#pending.values()) {
      if (!this.#shut.has(topic) && subscribed.has(topic)) topics.add(topic)
    }
    return topics
  }

  #emitAwaited(topics: ReadonlySet<string>): void {
    if (topics.size === this.#emittedAwaited.size && [...topics].every(topic => this.#emittedAwaited.has(topic))) return
    this.#emittedAwaited = topics
    this.emit({ type: 'awaited', topics })
  }

  lost(error: Error): void {
    this.#awaited = []
    this.#mayTakeUp = this.#isAnnounced = false
    this.#pending = new PartitionMap()
    this.#renewTaking()
    const assignments = [...this.#fetching.assignments.values()]
    if (assignments.length > 0) {
      this.host.logger.warn(
        { err: error },
        'the group went on without this member, as it does when it gets no heartbeat within sessionTimeout: a handler blocked the ' +
          'thread, the process was frozen, or the network was down',
      )
    }
    this.#end(assignments, 'lost')
  }

  confirmed(): void {
    this.emit({ type: 'confirmed' })
    this.#fetching.wake()
  }

  trouble(error: RxMikaError): void {
    this.emit({ type: 'trouble', error })
  }

  failed(error: RxMikaError): void {
    this.fail(error)
  }

  #announce(found: readonly Assignment[]): void {
    if (this.#closed) return
    const added = this.#ours(found).filter(assignment => this.#pending.has(assignment))
    for (const assignment of this.#resumed) assignment.resting = false
    this.#resumed = []
    const retained = [...this.#fetching.assignments.values()].filter(({ resting }) => !resting)
    for (const assignment of added) {
      this.#pending.delete(assignment)
      this.#remade.delete(assignment)
    }
    this.#fetching.add(added)
    const awaited = this.#awaitedNow()
    this.#emitAwaited(new Set([...awaited, ...this.#emittedAwaited]))
    this.emit({ type: 'assigned', added, retained })
    this.#isAnnounced = true
    this.#emitAwaited(awaited)
    this.#fetching.wake()
  }

  #assignmentsOf(partitions: readonly TopicPartition[]): Assignment[] {
    return partitions.flatMap(place => this.#fetching.assignments.get(place) ?? [])
  }

  #end(assignments: readonly Assignment[], how: 'revoked' | 'lost'): void {
    if (assignments.length === 0) return
    for (const assignment of assignments) assignment.ended = true
    this.#fetching.remove(assignments)
    this.emit({ type: how, assignments })
    this.#release.ring()
  }

  // ── Taking up ────────────────────────────────────────────────────────────────────────────────────────────────────

  #renewTaking(): AbortSignal {
    this.#taking.abort()
    this.#taking = new AbortController()
    if (this.#closed) this.#taking.abort()
    return this.#taking.signal
  }

  #takingUpHost(stale: AbortSignal): TakingUpHost {
    const { request, cluster, clock } = this
    return {
      request,
      cluster,
      clock,
      stale,
      committed: topics => this.#committed(topics, stale),
      keep: starts => this.#keep(starts, stale),
      settleDoubt: () => this.#member.settleDoubt(),
      cameLater: place =>
        this.#remade.has(place) ||
        place.partition >= (this.#firstSeen.get(place.topic) ?? Infinity) ||
        request.cameLater?.(place.topic) === true,
      isRemade: place => this.#remade.has(place),
      announce: added => this.#announce(added),
      emit: event => this.emit(event),
      forbidden: error => this.#forbidden(forbiddenTopic(error)),
      fatal: error => fatalError(error, request),
      fail: error => this.fail(error),
    }
  }

  async #committed(topics: readonly string[], stale: AbortSignal): Promise<PartitionMap<CommittedPosition>> {
    if (this.request.group === undefined) return new PartitionMap()
    const known = topics.flatMap(name => this.cluster.topic(name) ?? [])
    const committed = await this.#member.committed(known)
    if (stale.aborted) return committed
    for (const { name, partitions } of known) {
      this.#begunWith.set(name, begunWith(committed.of(name)) || partitions.length)
    }
    return committed
  }

  async #keep(starts: Parameters<TakingUpHost['keep']>[0], stale: AbortSignal): Promise<void> {
    const positions = starts.map(({ place: { topic, partition }, start, identity }) => ({
      topic,
      partition,
      offset: BigInt(start.offset),
      leaderEpoch: start.leaderEpoch,
      metadata: sealIdentity(identity, start.metadata),
    }))
    await this.#member.commit(() => (stale.aborted ? [] : positions))
  }

  #noteFirstSeen(): void {
    for (const name of this.#topics) {
      const known = this.cluster.topic(name)
      if (known === undefined || known.partitions.length === 0) continue
      if (!this.#firstSeen.has(name)) this.#firstSeen.set(name, known.partitions.length)
      const before = this.#ids.get(name)
      this.#ids.set(name, known.id)
      if (before !== undefined && before !== known.id && before !== ZERO_UUID && known.id !== ZERO_UUID) {
        this.#wasRemade(name)
      }
    }
  }

  /** All partitions of a recreated topic were created while this consumption was reading, whichever member reads them. */
  #wasRemade(topic: string): void {
    this.#firstSeen.set(topic, 0)
    // If it has assignments, `#replace` reports them with their positions.
    if ([...this.#fetching.assignments.values()].some(assignment => assignment.topic === topic)) return
    this.trouble(
      new FetchError(`topic '${topic}' was deleted and made again: it is read from its beginning`, { topic }),
    )
  }

  // ── Logs that were replaced ──────────────────────────────────────────────────────────────────────────────────────

  /** A topic that was deleted and recreated has another id: its assignments belong to a log that does not exist any more. */
  #onMetadata(): void {
    if (this.#closed) return
    this.#noteFirstSeen()
    this.#shut.onMetadata(this.#topics)
    this.#leaderless.onMetadata([...this.#fetching.assignments.values(), ...this.#pending.values()])
    const replaced = [...this.#fetching.assignments.values()].filter(({ topic, topicId }) => {
      const now = this.cluster.topic(topic)?.id ?? ZERO_UUID
      return topicId !== ZERO_UUID && now !== ZERO_UUID && now !== topicId
    })
    if (replaced.length > 0) this.#replace(replaced)
  }

  #replace(replaced: readonly Assignment[]): void {
    for (const { topic, partition, next } of replaced) {
      const message = `topic '${topic}' was deleted and made again: ${topic}-${partition} is read from its beginning instead of from ${next}`
      this.emit({ type: 'trouble', error: new FetchError(message, { topic, partition, offset: BigInt(next) }) })
    }
    this.#end(replaced, 'lost')
    for (const { topic, partition } of replaced) {
      const place = { topic, partition }
      this.#pending.set(place, place)
      this.#remade.set(place, place)
    }
    this.#takeUp()
  }

  unreadable(error: FetchError): void {
    this.trouble(error)
  }

  // ── Topics that cannot be read any more ──────────────────────────────────────────────────────────────────────────

  forbidden({ topic, partition, next }: Assignment): void {
    if (this.#forbidden(topic)) return
    this.fail(new FetchError(cannotReadTopic([topic]), { topic, partition, offset: BigInt(next) }))
  }

  /** False if it is not about one topic, or the topic was forbidden from the start: then the client has to end. */
  #forbidden(topic: string | undefined): boolean {
    if (topic === undefined) return false
    const isRead = [...this.#fetching.assignments.values()].some(each => each.topic === topic && each.wasRead)
    if (this.#shares <= 1 && !isRead && !this.#shut.has(topic)) return false
    this.#shut.forbidden(topic)
    return true
  }

  /**
   * Gives up the assignments of the topic: a deleted log has no positions, and without the right none can be committed.
   * Without a group, positions exist only here, so the assignments are kept and tried again.
   */
  shut(topic: string): void {
    if (this.#closed) return
    if (this.request.group === undefined) {
      // The look-up that failed because of this topic may also have been for partitions of other topics.
      if (this.#pending.size > 0) this.#takeUp()
      return
    }
    const assignments = [...this.#fetching.assignments.values()].filter(each => each.topic === topic)
    this.#end(assignments, 'lost')
    for (const { partition } of assignments) this.#pending.set({ topic, partition }, { topic, partition })
    this.#takeUp()
  }

  isUnreadable(topic: string, error: FetchError): void {
    if (!this.#closed) this.emit({ type: 'unreadable', topic, error, isGone: this.#shut.isGone(topic) })
  }

  opened(topic: string): void {
    if (!this.#closed && this.#pending.of(topic) !== undefined) this.#takeUp()
  }

  outOfRange(assignment: Assignment, diverged: Diverged | undefined): void {
    resetPosition(assignment, diverged, {
      cluster: this.cluster,
      startFrom: this.request.startFrom,
      completed: () => this.#completed(assignment),
      move: to => this.#moveWithin(assignment, to),
      trouble: error => this.trouble(error),
      failed: (why, cause) => this.#fetching.trouble(assignment, why, cause),
    }).catch(cause => this.fail(unexpected(cause)))
  }

  /** Without a group nothing says which records are completed. */
  async #completed({ topic, partition, position, next }: Assignment): Promise<ListedOffset> {
    if (this.request.group === undefined) return { offset: next, leaderEpoch: -1 }
    const known = this.cluster.topic(topic)
    const committed = await this.#member.committed(known === undefined ? [] : [known])
    return committed.get({ topic, partition }) ?? { offset: position, leaderEpoch: -1 }
  }

  /** An assignment never goes back: its records come in the order of their offsets. So a lower position gets a new assignment. */
  #moveWithin(from: Assignment, { offset, leaderEpoch }: ListedOffset): void {
    if (offset >= from.next) {
      from.jump(offset, leaderEpoch)
      this.#fetching.wake()
      return
    }
    const to = from.successorAt(offset, leaderEpoch)
    this.#end([from], 'lost')
    this.#pending.set(to, to)
    this.#announce([to])
    this.#commitStart(to)
  }

  /**
   * Otherwise a later start would be at the former position, once the log is that long again. Only while nothing is read from
   * it, so that it lowers no position of the client. If the commit fails, the client's first one follows.
   */
  #commitStart(start: Assignment): void {
    if (this.request.group === undefined) return
    const { topic, partition, position } = start
    const point = { topic, partition, offset: BigInt(position), assignment: start }
    const isCurrent = () => !start.ended && !this.doubtful && start.next === position
    this.#member.commit(() => (isCurrent() ? [this.#sealed(point)] : [])).catch(() => {})
  }

  // ── For the driver ───────────────────────────────────────────────────────────────────────────────────────────────

  subscribe(topics: readonly string[]): void {
    if (this.#closed) return
    const before = this.#stopWatching
    // The new topics first, so that the metadata of topics that stay is kept.
    this.#stopWatching = this.cluster.watch(topics)
    before()
    const now = new Set(topics)
    for (const topic of this.#topics) if (!now.has(topic)) this.#forget(topic)
    const known = new Set(this.#topics)
    this.#topics = topics
    // A member whose partitions are assigned by name joins again, and gets another assignment in any case.
    const isBack = (topic: string) => !known.has(topic) && this.#pending.of(topic) !== undefined
    if (this.#member.owns !== undefined && topics.some(isBack)) this.#takeUp()
    // On failure, the code that needs the metadata requests it again.
    this.cluster.refresh().catch(() => {})
    this.#member.subscribe(topics)
  }

  /** Forgets a removed topic. A later topic of that name is a different one. */
  #forget(topic: string): void {
    this.#shut.forget(topic)
    this.#firstSeen.delete(topic)
    this.#ids.delete(topic)
  }

  pause(assignments: readonly PartitionAssignment[]): void {
    for (const assignment of assignments) if (assignment instanceof Assignment) assignment.pause()
  }

  resume(assignments: readonly PartitionAssignment[]): void {
    for (const assignment of assignments) if (assignment instanceof Assignment) assignment.resume()
    this.#fetching.wake()
  }

  /** Moves assignments, one request per leader. A leader that is away delays only its own. */
  seek(seeks: readonly Seek[], subscriber: Subscriber<readonly Moved[]>): void {
    const turns = seeks.flatMap(({ assignment, to }): readonly SeekTurn[] =>
      assignment instanceof Assignment ? [{ assignment, to, turn: assignment.lineage.ask() }] : [],
    )
    const ended = new AbortController()
    subscriber.add(() => ended.abort())
    const places = PartitionMap.of(turns.map(({ assignment }) => assignment))
    untilDone(this.cluster, [...places.values()], (led, failures) => {
      const of = PartitionMap.of(led)
      const open = turns.filter(turn => of.has(turn.assignment) && this.#currentOf(turn) !== undefined)
      return this.#isSought(open, subscriber, ended.signal, failures)
    }).then(
      () => subscriber.complete(),
      error => subscriber.error(error),
    )
  }

  /** One attempt for partitions of one leader. Resolves to false, after a pause, if there has to be another one. */
  async #isSought(
    turns: readonly SeekTurn[],
    subscriber: Subscriber<readonly Moved[]>,
    ended: AbortSignal,
    failures: number,
  ): Promise<boolean> {
    if (turns.length === 0) return true
    try {
      const sought = await soughtPositions(this.cluster, turns, this.request.startFrom)
      if (subscriber.closed || this.#closed) return true
      const moved = sought.flatMap((each, at) => this.#move(each, turns[at]!) ?? [])
      if (moved.length > 0) subscriber.next(moved)
      return true
    } catch (error) {
      if (subscriber.closed || this.#closed) return true
      const fatal = fatalError(error, this.request)
      if (fatal !== undefined) throw fatal
      if (failures + 1 === reportedAfter) this.#reportSeek(turns, error as Error)
      await Promise.race([this.cluster.refresh().catch(() => {}), pause(maxSeekPause, ended)])
      await pause(Math.min(firstSeekPause * 2 ** failures, maxSeekPause), ended)
      return subscriber.closed || this.#closed
    }
  }

  /** The assignment to move: the given one, or its successor by other seeks. */
  #currentOf({ assignment }: SeekTurn): Assignment | undefined {
    const current = this.#fetching.assignments.get(assignment)
    return current?.lineage === assignment.lineage ? current : undefined
  }

  #move({ offset, trouble }: Sought, turn: SeekTurn): Moved | undefined {
    const from = this.#currentOf(turn)
    if (from === undefined || !from.lineage.take(turn.turn)) return undefined
    if (trouble !== undefined) this.trouble(trouble)
    const to = from.successorAt(offset)
    to.resting = from.resting
    from.ended = true
    this.#resumed = this.#resumed.map(each => (each === from ? to : each))
    this.#fetching.remove([from])
    this.#fetching.add([to])
    return { from, to }
  }

  #reportSeek(turns: readonly SeekTurn[], cause: Error): void {
    const places = turns.map(({ assignment }) => partitionName(assignment)).join(', ')
    const { topic, partition } = turns[0]!.assignment
    const message = `the position to move ${places} to is not known yet: ${cause.message}`
    this.trouble(new FetchError(message, { cause, topic, partition }))
  }

  async commit(points: readonly CommitPoint[]): Promise<void> {
    // If one topic may not be committed, commit the others without it.
    while (live(points).length > 0) {
      try {
        return await this.#commit(points)
      } catch (error) {
        const topic = forbiddenTopic(error)
        if (topic === undefined || this.#shut.has(topic)) throw error
        this.#shut.forbidden(topic)
      }
    }
  }

  async #commit(points: readonly CommitPoint[]): Promise<void> {
    if (this.request.group === undefined) {
      throw new CommitError('nothing can be committed without a group', { retriable: false })
    }
    // The broker accepts a stale commit even for partitions of other members, so it must not be sent.
    if (this.#member.doubtful) await this.#member.settleDoubt()
    try {
      await this.#member.commit(() => live(points).map(point => this.#sealed(point)))
    } catch (error) {
      // Positions matter more than their metadata: commit again without it.
      if (!isTooLarge(error as Error)) throw error
      this.#reportMetadata(error)
      await this.#member.commit(() => live(points).map(point => this.#sealed({ ...point, metadata: '' })))
    }
  }

  /** The broker's limit is below Kafka's default: records completed behind positions are redelivered. */
  #reportMetadata(cause: unknown): void {
    if (!this.#tooLarge.allows('')) return
    const message =
      "the broker refuses the metadata of commits, so records completed behind the committed positions are redelivered after a rebalance or a restart; raise the broker's offset.metadata.max.bytes to 4096"
    this.trouble(new CommitError(message, { cause, retriable: true }))
  }

  #sealed({ topic, partition, offset, metadata, assignment }: CommitPoint): PositionToCommit {
    const own = assignment instanceof Assignment ? assignment : undefined
    const read =
      own !== undefined && own.lastEpoch >= 0 && metadata ? { offset: own.next, epoch: own.lastEpoch } : undefined
    const identity = {
      topicId: own?.topicId ?? ZERO_UUID,
      partitions: this.#begunWith.get(topic) ?? 0,
      ...(read !== undefined && { read }),
    }
    const leaderEpoch = own?.epochBefore(Number(offset)) ?? -1
    return { topic, partition, offset, leaderEpoch, metadata: sealIdentity(identity, metadata ?? '') }
  }

  // ── The end ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Leaves the group in bounded time, and completes the stream. */
  async leave(): Promise<void> {
    this.#close()
    this.#end([...this.#fetching.assignments.values()], 'revoked')
    await this.left()
    this.subscriber.complete()
  }

  /**
   * Leaves the group, once. Resolves when that is done or takes too long, and never rejects: the session ends by itself. Only
   * the first caller waits: a close that has waited for it in vain must not wait again before it disconnects.
   */
  left(): Promise<void> {
    const leaving = this.#leaving ?? this.#leaveGroup()
    this.#leaving = Promise.resolve()
    return leaving
  }

  async #leaveGroup(): Promise<void> {
    const left = new AbortController()
    const leaving = this.#member.leave().catch(() => {})
    // Leaving may first have to find the coordinator and connect to it.
    await Promise.race([leaving.finally(() => left.abort()), pause(leavePatience, left.signal)])
  }

  /** The client unsubscribed: no more events. */
  abandon(): void {
    if (this.#closed) return
    this.#close()
    for (const assignment of this.#fetching.assignments.values()) assignment.ended = true
    this.#leaving ??= this.#leaveGroup()
  }

  #close(): void {
    this.#closed = true
    this.#taking.abort()
    this.#fetching.end()
    this.#release.ring()
    this.#shut.end()
    this.#stopWatching()
    this.#stopListening()
  }

  fail(error: RxMikaError): void {
    if (this.#closed) return
    this.#close()
    this.#end([...this.#fetching.assignments.values()], 'lost')
    this.#leaving ??= this.#leaveGroup()
    this.subscriber.error(error)
  }

  emit(event: DriverEvent): void {
    this.subscriber.next(event)
  }
}

function live(points: readonly CommitPoint[]): readonly CommitPoint[] {
  return points.filter(point => point.assignment?.ended !== true)
}

function settingsOf(group: string, request: ConsumeRequest): MemberSettings {
  const { sessionTimeout, heartbeatInterval, rebalanceTimeout } = request
  return {
    group,
    instanceId: request.instanceId,
    rack: request.rack,
    sessionTimeout,
    heartbeatInterval,
    // A rebalance is noticed only with the next heartbeat, and joining takes time too.
    rebalanceTimeout: Math.min(rebalanceTimeout + heartbeatInterval + 2_000, longestRebalance),
  }
}

function isTooLarge({ cause }: { readonly cause?: unknown }): boolean {
  return cause instanceof ProtocolFailure && cause.error.name === 'OFFSET_METADATA_TOO_LARGE'
}
