import { randomUUID } from 'node:crypto'
import type { Kafka } from 'kafkajs'
import type { Observable, Subscriber } from 'rxjs'
import type { CommitPoint } from '../../commit-point.js'
import type { ConsumeRequest, DriverContext, DriverEvent, PartitionAssignment, StartFrom } from '../../driver.js'
import { CommitError, ConfigurationError } from '../../errors.js'
import { partitionName } from '../../place.js'
import { Assignment } from './assignment.js'
import { commitError, isKicked } from './commit-error.js'
import type { KafkajsOptions } from './connection.js'
import { CrashReports } from './crash-reports.js'
import { decodedByKafkajs, decodedLazily } from './decode.js'
import type { LazyFetchOptions } from './decoding/lazy-decoding.js'
import { Doorbell } from './doorbell.js'
import { fatalConsumeError } from './fatal-error.js'
import { GroupMember, type MemberOwner } from './group-member.js'
import type { Cluster } from './kafkajs-internals.js'
import { Outage } from './outage.js'
import { errorType, messageOf } from './protocol-error.js'
import type { Reachability } from './reachability.js'
import { Reader, type ReaderHost } from './reader.js'
import { holdRebalance } from './rebalance-hold.js'
import type { Ownership } from './sticky-assigner.js'
import type { TopicPartition } from './sticky-assignment.js'
import { TakingUp, type TakingUpHost } from './taking-up.js'

/** Pauses between attempts to make a crashed member anew, ms. */
const firstRetry = 100
const longestRetry = 5_000

/** How long a commit waits for a rebalance to be over, ms. */
const joinPatience = 10_000

/**
 * One subscription to the driver's `consume`: what is assigned, how far it is read, and what the client is told. The
 * member that joins the group can crash and be made anew; this stays.
 */
export class Consumption implements ReaderHost {
  readonly held = new Map<string, Assignment>()
  readonly #groupId: string
  readonly #outage: Outage
  readonly #bell = new Doorbell()
  readonly #joined = new Doorbell()
  #member: GroupMember | undefined
  /** Counts rebalances begun, joins and losses: what is learnt for an earlier one is dropped. */
  #epoch = 0
  /** False from the moment the client is told of a rebalance until it is told the outcome. */
  #open = false
  #revoking = false
  #crashes = 0
  readonly #crashReports: CrashReports
  #closed = false
  /** Ends the hold of a rebalance: the client leaves, or what is held is lost. */
  readonly #release = new Doorbell()

  readonly #reader: Reader
  readonly #lazily: LazyFetchOptions | undefined

  constructor(
    readonly kafka: Kafka,
    readonly options: Pick<KafkajsOptions, 'codecs' | 'decoder'>,
    readonly request: ConsumeRequest,
    readonly context: DriverContext,
    readonly reachability: Reachability,
    readonly subscriber: Subscriber<DriverEvent>,
  ) {
    const lazy = options.decoder !== 'kafkajs'
    this.#reader = new Reader(this, lazy ? decodedLazily : decodedByKafkajs)
    this.#lazily = lazy
      ? {
          codecs: options.codecs,
          onUnreadable: error => this.#reader.unreadable(error),
          onRefused: refused => this.#reader.refused(refused),
        }
      : undefined
    this.#groupId = request.group ?? `${context.clientId}-${randomUUID()}`
    this.#crashReports = new CrashReports(this.#groupId)
    this.#outage = new Outage(
      error => this.emit({ type: 'disconnected', error }),
      () => this.emit({ type: 'reconnected' }),
      () => this.#member?.cluster.isConnected() ?? false,
    )
    this.#start()
  }

  get delivering(): boolean {
    return this.#open && !this.doubtful
  }

  get doubtful(): boolean {
    return this.#member?.session.doubtful === true
  }

  get startFrom(): StartFrom {
    return this.request.startFrom
  }

  get cluster(): Cluster {
    return this.#member!.cluster
  }

  // ── The member ───────────────────────────────────────────────────────────────────────────────────────────────────

  #start(): void {
    let member: GroupMember
    try {
      const { topics, rebalanceTimeout, sessionTimeout, heartbeatInterval } = this.request
      const settings = { groupId: this.#groupId, topics, rebalanceTimeout, sessionTimeout, heartbeatInterval }
      const owner: MemberOwner = {
        givingUp: () => this.#giveUp(),
        ownership: () => this.#ownership(),
        joined: partitions => this.#assign(partitions),
        kicked: error => this.#lose(error),
        reading: send => this.#reader.of(send),
        lazily: this.#lazily,
        answered: () => this.#outage.answered(),
        unanswered: error => this.#outage.unanswered(error),
        confirmed: () => this.#confirmed(),
        crashed: error => this.#onCrash(error),
      }
      member = new GroupMember(this.kafka, settings, owner, this.reachability)
    } catch (error) {
      this.fail(new ConfigurationError(`the consumer's settings are refused: ${messageOf(error)}`, { cause: error }))
      return
    }
    this.#member = member
    member.start().catch(error => {
      if (this.#closed || member.ended) return
      member.end().catch(cause => this.context.logger.warn({ err: cause }, 'the member was not ended in order'))
      this.#onCrash(error)
    })
  }

  #onCrash(error: unknown): void {
    this.#crashed(error).catch(cause => this.fail(cause))
  }

  /** kafkajs has given up on the member, and left the group where it could. */
  async #crashed(error: unknown): Promise<void> {
    if (this.#closed) return
    this.#lose(error)
    const fatal = fatalConsumeError(error, this.request, this.#groupId)
    if (fatal !== undefined) return this.fail(fatal)
    this.context.logger.warn({ err: error }, 'the consumer crashed and is made anew')
    const report = this.#crashReports.of(error)
    if (report !== undefined) this.emit({ type: 'trouble', error: report })
    await this.#bell.wait(Math.min(firstRetry * 2 ** this.#crashes++, longestRetry))
    if (this.#closed) return
    this.emit({ type: 'restarted', error })
    if (!this.#closed) this.#start()
  }

  // ── Rebalances ───────────────────────────────────────────────────────────────────────────────────────────────────

  #ownership(): Ownership {
    return { generation: this.#member?.session.membership?.generation ?? -1, owned: [...this.held.values()] }
  }

  /** Called before each attempt to join, also when the one before failed: what is told already is not told again. */
  async #giveUp(): Promise<void> {
    this.#epoch++
    this.#open = false
    if (this.#revoking || this.held.size === 0) return
    const member = this.#member!
    // Frozen for longer than a session: the group decides whether there is anything left to give up.
    if (member.session.doubtful) await member.session.heartbeat().catch(() => {})
    if (this.held.size === 0) return
    this.#revoking = true
    const holds: Observable<unknown>[] = []
    this.emit({ type: 'revoking', assignments: [...this.held.values()], hold: until => holds.push(until) })
    const over = () => this.#closed || this.held.size === 0
    await holdRebalance(holds, member.session, this.request, this.#release, over)
  }

  /** The group's answer. Runs inside kafkajs's GROUP_JOIN, before it fetches anything. */
  #assign(partitions: readonly TopicPartition[]): void {
    const epoch = ++this.#epoch
    const names = new Set(partitions.map(partitionName))
    this.#end(
      [...this.held.values()].filter(assignment => !names.has(partitionName(assignment))),
      'revoked',
    )
    const added = partitions.filter(partition => !this.held.has(partitionName(partition)))
    this.#joined.ring()
    if (added.length === 0) this.#announce([])
    else {
      const host: TakingUpHost = {
        request: this.request,
        group: this.#groupId,
        stale: () => this.#closed || epoch !== this.#epoch,
        wait: ms => this.#bell.wait(ms),
        announce: assignments => this.#announce(assignments),
        emit: event => this.emit(event),
        fail: error => this.fail(error),
      }
      // What is thrown there is of a member that has just crashed, and is told by its crash.
      new TakingUp(host, this.#member!).all(added).catch(error => this.context.logger.debug({ err: error }))
    }
  }

  #announce(added: readonly Assignment[]): void {
    const retained = [...this.held.values()]
    for (const assignment of added) this.held.set(partitionName(assignment), assignment)
    this.#revoking = false
    this.#open = true
    this.#crashes = 0
    this.#crashReports.joined()
    this.emit({ type: 'assigned', added, retained })
    this.#reader.wake()
  }

  /** Whoever stood still and is one of the group all the same goes on where it was. */
  #confirmed(): void {
    if (!this.#open) return
    this.emit({ type: 'confirmed' })
    this.#reader.wake()
  }

  #lose(error: unknown): void {
    if (this.held.size > 0) this.context.logger.warn({ err: error }, 'the group went on without this member')
    this.#epoch++
    this.#open = false
    this.#revoking = false
    this.#end([...this.held.values()], 'lost')
    this.#release.ring()
  }

  #end(assignments: readonly Assignment[], how: 'revoked' | 'lost'): void {
    if (assignments.length === 0) return
    for (const assignment of assignments) {
      assignment.ended = true
      this.held.delete(partitionName(assignment))
    }
    this.emit({ type: how, assignments })
  }

  // ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

  pause(assignments: readonly PartitionAssignment[]): void {
    for (const assignment of assignments) if (assignment instanceof Assignment) assignment.paused = true
  }

  resume(assignments: readonly PartitionAssignment[]): void {
    for (const assignment of assignments) if (assignment instanceof Assignment) assignment.paused = false
    this.#reader.wake()
  }

  // ── Committing ───────────────────────────────────────────────────────────────────────────────────────────────────

  async commit(points: readonly CommitPoint[]): Promise<void> {
    if (live(points).length === 0) return
    if (this.request.group === undefined) {
      throw new CommitError('nothing can be committed without a group', { retriable: false })
    }
    const member = this.#member
    if (member?.session.joining) await this.#joined.wait(joinPatience)
    if (member === undefined || member.session.joining || member.ended || this.#closed) {
      throw new CommitError('the group is not joined at present', { retriable: true })
    }
    try {
      // The broker takes a late commit even of what others have by now: it is for us not to send one.
      if (member.session.doubtful) await member.session.heartbeat()
      const sent = live(points)
      if (sent.length > 0) await this.#send(member, sent)
    } catch (error) {
      if (isKicked(error)) {
        this.#outage.answered()
        this.#lose(error)
      }
      throw commitError(error, this.#groupId)
    }
  }

  async #send(member: GroupMember, points: readonly CommitPoint[]): Promise<void> {
    try {
      await member.session.commit(points)
    } catch (error) {
      // The positions matter more than what is said beside them.
      if (errorType(error) !== 'OFFSET_METADATA_TOO_LARGE') throw error
      await member.session.commit(points.map(point => ({ ...point, metadata: undefined })))
    }
  }

  // ── The end ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Leaves the group in bounded time, and completes the stream. */
  async leave(): Promise<void> {
    const member = this.#close()
    this.#end([...this.held.values()], 'revoked')
    await member?.leave({ deleteGroup: this.request.group === undefined })
    this.subscriber.complete()
  }

  /** The client unsubscribed: nobody is told anything any more. */
  abandon(): void {
    const member = this.#close()
    for (const assignment of this.held.values()) assignment.ended = true
    this.held.clear()
    this.#leave(member)
  }

  #leave(member: GroupMember | undefined): void {
    member
      ?.leave({ deleteGroup: this.request.group === undefined })
      .catch(error => this.context.logger.warn({ err: error }, 'the group was not left in order'))
  }

  #close(): GroupMember | undefined {
    this.#closed = true
    this.#open = false
    this.#epoch++
    this.#outage.stop()
    this.#release.ring()
    this.#joined.ring()
    this.#bell.ring()
    this.#reader.wake()
    return this.#member
  }

  fail(error: unknown): void {
    if (this.#closed) return
    const member = this.#close()
    this.#end([...this.held.values()], 'lost')
    this.#leave(member)
    this.subscriber.error(error)
  }

  emit(event: DriverEvent): void {
    this.subscriber.next(event)
  }
}

function live(points: readonly CommitPoint[]): readonly CommitPoint[] {
  return points.filter(point => point.assignment?.ended !== true)
}
