import { asyncScheduler, concat, defer, type Observable, type SchedulerLike, Subject } from 'rxjs'
import {
  type ClientMessage,
  Operation,
  type PartitionPlace,
  type RebalanceMessage,
  rebalanceChannel,
} from '../channels.js'
import type { Clock } from '../clock.js'
import type { Committed } from '../commit-point.js'
import type { Driver, DriverEvent, Moved, PartitionAssignment } from '../driver.js'
import { CommitError, FetchError } from '../errors.js'
import type { Stall } from '../events.js'
import { placeName } from '../place.js'
import type { RecordBatch } from '../record-batch.js'
import { Assignment, type AssignmentHost } from './assignment.js'
import type { CloseReport, PositionsOption } from './client.js'
import { bounded, until } from './closing.js'
import { Commits, type CommitsListener } from './commits.js'
import type { Config } from './config.js'
import type { Counters } from './counters.js'
import type { DlqReplays } from './dlq-replay.js'
import { KeptPositions } from './kept-positions.js'
import { LeakWatch } from './leak-watch.js'
import { ClientRebalances } from './rebalances.js'
import type { Reports } from './reports.js'
import type { TopicNames } from './topic-names.js'
import type { Topics } from './topics.js'

const resolved = Promise.resolve()

export interface ConsumingHost {
  readonly config: Config
  readonly driver: Driver
  readonly clock: Clock
  readonly reports: Reports
  readonly names: TopicNames
  readonly identity: ClientMessage
  readonly counters: Counters
  readonly topics: Topics
  readonly ownHeaders: AssignmentHost['ownHeaders']
  readonly replays: DlqReplays
  readonly life: {
    readonly closing: boolean
    /** Called when the assignment is known for the first time: the client is running. */
    run(): void
    /** Closes the client with this error. */
    closeBy(error: unknown): void
  }
}

/** The assignments of a client: driver events in, commits out, and the waits of rebalances and closes. */
export class Consuming implements AssignmentHost {
  readonly rebalances = new ClientRebalances()
  /** Emits when something changed that a close or a rebalance waits for. */
  readonly changes = new Subject<void>()
  /** Emits an assignment whenever the broker has confirmed a position of it. */
  readonly confirmed = new Subject<Assignment>()
  /** Emits assignments as they end. */
  readonly ended = new Subject<Assignment>()
  readonly commits: Commits
  readonly clock: Clock
  readonly reports: Reports
  readonly ownHeaders: AssignmentHost['ownHeaders']
  readonly stallAfter: number
  readonly identity: ClientMessage
  readonly counters: Counters
  /** Set from `disconnected` until `reconnected`. */
  outage: { readonly error: unknown } | undefined
  /** True: the group rebalanced without this member, and it has not rejoined. */
  isOut = false
  /** The operation of `rxmika:rebalance`, if the channel had a subscriber when the rebalance began. */
  #rebalance: Operation<RebalanceMessage> | undefined
  readonly #scheduler: SchedulerLike
  readonly #assignments = new Map<PartitionAssignment, Assignment>()
  /** Set if positions are stored elsewhere. */
  readonly #kept: KeptPositions | undefined
  #leaks: LeakWatch | undefined
  hasBegun = false
  /** True: an assignment has arrived, possibly an empty one. */
  #isAssigned = false
  /** Topics of which partitions may follow without another rebalance. */
  #awaited: ReadonlySet<string> = new Set()
  /** Why the latest commit was refused; undefined after a confirmed one. */
  #refusedCommit: CommitError | undefined

  constructor(readonly host: ConsumingHost) {
    const { driver, config, clock, reports } = host
    this.clock = clock
    this.#scheduler = clock.scheduler
    this.reports = reports
    this.ownHeaders = host.ownHeaders
    this.stallAfter = config.stallAfter
    this.#kept = config.positions && this.#keptElsewhere(config.positions)
    this.identity = host.identity
    this.counters = host.counters
    const listener: CommitsListener = {
      refused: error => {
        this.#refusedCommit = error
        reports.error(error)
      },
      forgotten: (assignment, ranges) =>
        reports.event({ type: 'forgotten', ...placeOf(assignment, assignment.requested), ranges }),
    }
    this.commits = new Commits(driver, clock, config.commitInterval, listener, host.names, host.identity)
  }

  #keptElsewhere(positions: PositionsOption): KeptPositions {
    const { driver, clock, reports, topics, config } = this.host
    return new KeptPositions({
      ...{ positions, driver, clock, reports, names: topics.host.names, patience: config.stallAfter },
      begin: handles => {
        for (const assignment of this.#begin(handles)) assignment.drain()
        this.host.replays.progressed()
      },
      onFound: moved => this.#onFound(moved),
    })
  }

  get assignments(): Iterable<Assignment> {
    return this.#assignments.values()
  }

  /** Called before the first topics are read. */
  begin(): void {
    this.hasBegun = true
    this.#leaks ??= new LeakWatch(() => this.#assignments.values(), this.host.config.leaks, this.reports)
  }

  // ── From the driver ──────────────────────────────────────────────────────────────────────────────────────────────

  onEvent(event: DriverEvent): void {
    switch (event.type) {
      case 'batch':
        return this.#assignments.get(event.assignment)?.accept(event.batch, event.from)
      case 'assigned':
        return this.#onAssigned(event.added, event.retained)
      case 'awaited':
        this.#awaited = event.topics
        return this.host.replays.progressed()
      case 'revoking':
        this.#rebalancing()?.revoking.push(...this.#placesOf(event.assignments))
        return event.hold(this.#giveUp(event.assignments))
      case 'revoked':
        this.#rebalancing()?.revoked.push(...this.#placesOf(event.assignments))
        return this.#end(event.assignments, event.type)
      case 'lost':
        this.isOut = true
        this.#rebalancing()?.lost.push(...this.#placesOf(event.assignments))
        return this.#end(event.assignments, event.type)
      case 'confirmed':
        for (const assignment of this.#assignments.values()) assignment.drain()
        return
      case 'trouble':
        return this.reports.error(event.error)
      case 'unreadable':
        return this.host.topics.unreadable(event.topic, event.error, event.isGone)
      case 'disconnected':
        this.outage = { error: event.error }
        return this.reports.event({ type: event.type, error: event.error })
      case 'restarted':
        return this.reports.event({ type: event.type, error: event.error })
      case 'reconnected':
        this.outage = undefined
        return this.reports.event({ type: 'reconnected' })
    }
  }

  #onAssigned(added: readonly PartitionAssignment[], retained: readonly PartitionAssignment[]): void {
    const { config } = this.host
    this.isOut = false
    this.#isAssigned = true
    if (config.group !== undefined) this.counters.rebalances++
    this.#rebalanced(added, retained)
    for (const handle of retained) {
      const assignment = this.#assignments.get(handle)
      if (assignment !== undefined) assignment.givingUp = false
    }
    if (this.#kept === undefined) this.#begin(added)
    // A retained partition that was given up before its position was known is looked up again.
    else this.#kept.take([...added, ...retained.filter(handle => !this.#assignments.has(handle))])
    config.logger.info({ added: added.length, partitions: this.#assignments.size }, 'partitions are assigned')
    if (![...this.#assignments.values()].some(({ givingUp }) => givingUp)) this.rebalances.end()
    if (this.reports.currentState === 'starting') this.host.life.run()
    for (const assignment of this.#assignments.values()) assignment.drain()
    this.host.replays.progressed()
  }

  #begin(handles: readonly PartitionAssignment[]): readonly Assignment[] {
    return handles.flatMap(handle => {
      const assignment = this.#assign(handle)
      if (assignment === undefined) return []
      this.reports.event({ type: 'assigned', ...placeOf(assignment, handle.position) })
      return [assignment]
    })
  }

  /** Undefined if the topic is not read, or the assignment has ended. */
  #assign(handle: PartitionAssignment): Assignment | undefined {
    const { config, topics } = this.host
    const reading = topics.reading(handle.topic)
    if (reading === undefined || handle.ended) return undefined
    const committing = config.group !== undefined
    const assignment = new Assignment(handle, topics.host.names.user(handle.topic), reading, this, committing)
    if (committing) this.commits.track(assignment)
    this.#assignments.set(handle, assignment)
    return assignment
  }

  /** Reading begins at positions that are stored elsewhere. */
  #onFound(moved: readonly Moved[]): void {
    const begun = moved.flatMap(({ from, to }) => {
      const [assignment] = this.#begin([to])
      assignment?.beginsBeside(from.position)
      return assignment === undefined ? [] : [assignment]
    })
    // Records below such a position are completed, so it may be committed to the group.
    if (this.host.config.group !== undefined) this.commits.begin(begun.filter(({ isCommitted }) => !isCommitted))
    for (const assignment of begun) assignment.drain()
    this.host.replays.progressed()
  }

  /** Replaces assignments that a seek has ended. */
  onMoved(moved: readonly Moved[]): readonly Assignment[] {
    const pairs = moved.flatMap(({ from, to }) => {
      const before = this.#assignments.get(from)
      const after = before && this.#assign(to)
      return after === undefined ? [] : [{ before: before!, after }]
    })
    for (const { before, after } of pairs) {
      after.follows(before)
      this.#remove(before)
      before.end({ wasMoved: true })
    }
    // Before user code runs, so that what it does concerns the new assignments.
    if (this.host.config.group !== undefined) this.commits.begin(pairs.map(({ after }) => after))
    for (const { before, after } of pairs) {
      before.dispose()
      this.ended.next(before)
      const from = BigInt(before.position)
      this.reports.event({ type: 'moved', ...placeOf(after, after.handle.position), from })
    }
    this.host.topics.forgetEnded()
    const left = pairs.filter(({ after }) => !after.ended).map(({ after }) => after)
    for (const assignment of left) assignment.drain()
    return pairs.map(({ after }) => after)
  }

  #remove({ handle }: Assignment): void {
    this.#assignments.delete(handle)
    this.commits.forget(handle)
  }

  /** Waits until records in flight are settled, then commits, so that the next owner gets no record that was completed here. */
  #giveUp(handles: readonly PartitionAssignment[]): Observable<unknown> {
    const { rebalanceTimeout, logger } = this.host.config
    this.#kept?.drop(handles)
    for (const assignment of this.#of(handles)) assignment.givingUp = true
    // Computed on demand: a seek may replace an assignment meanwhile.
    const affected = () => [...this.#assignments.values()].filter(({ givingUp }) => givingUp)
    const atFirst = affected()
    this.rebalances.begin()
    const inFlight = atFirst.reduce((all, assignment) => all + assignment.inFlight, 0)
    logger.info(
      { partitions: atFirst.length, inFlight },
      'a rebalance begins: waiting for records in flight, then committing',
    )
    return concat(
      bounded(
        () => until(() => affected().every(each => each.inFlight === 0), this.changes),
        rebalanceTimeout,
        this.#scheduler,
      ),
      defer(() => {
        this.commits.flush()
        return until(() => affected().every(each => each.isCommitted), this.changes)
      }),
    )
  }

  /** The message of the current rebalance, which the first call begins; undefined if `rxmika:rebalance` has no subscriber. */
  #rebalancing(): RebalanceMessage | undefined {
    if (this.#rebalance === undefined) {
      if (!rebalanceChannel.hasSubscribers || this.host.config.group === undefined) return undefined
      const nothing = { revoking: [], revoked: [], lost: [], added: [], retained: [] }
      this.#rebalance = new Operation<RebalanceMessage>(rebalanceChannel, { ...this.identity, ...nothing })
      this.#rebalance.run(() => {})
    }
    return this.#rebalance.message
  }

  #rebalanced(added: readonly PartitionAssignment[], retained: readonly PartitionAssignment[]): void {
    const message = this.#rebalancing()
    message?.added.push(...this.#placesOf(added))
    message?.retained.push(...this.#placesOf(retained))
    this.#rebalance?.done()
    this.#rebalance = undefined
  }

  #placesOf(handles: readonly PartitionAssignment[]): PartitionPlace[] {
    return handles.map(({ topic, partition }) => ({ topic: this.host.names.user(topic), partition }))
  }

  #of(handles: readonly PartitionAssignment[]): Assignment[] {
    return handles.flatMap(handle => this.#assignments.get(handle) ?? [])
  }

  #end(handles: readonly PartitionAssignment[], why: 'revoked' | 'lost'): void {
    this.#kept?.drop(handles)
    const over = this.#of(handles)
    for (const assignment of over) {
      this.#remove(assignment)
      assignment.end()
    }
    for (const assignment of over) {
      assignment.dispose()
      this.ended.next(assignment)
      this.reports.event({ type: why, ...placeOf(assignment, assignment.committed) })
    }
    this.host.topics.forgetEnded()
    if (over.length > 0) this.reports.ended(over, why)
  }

  onCommitted(committed: Committed): void {
    this.#refusedCommit = undefined
    const assignment = this.commits.confirm(committed)
    if (assignment !== undefined) this.reports.event({ type: 'committed', ...placeOf(assignment, committed.offset) })
    assignment?.openGate()
    if (assignment !== undefined) this.confirmed.next(assignment)
    this.changes.next()
  }

  // ── For assignments ──────────────────────────────────────────────────────────────────────────────────────────────

  get delivering(): boolean {
    return !this.host.life.closing
  }

  get doubtful(): boolean {
    return this.host.driver.doubtful === true
  }

  soon(work: () => void): void {
    // In real time by a microtask: a timer of `asyncScheduler` takes a millisecond, which is long if `maxInFlight` is 1. By a
    // promise, which fake timers leave alone, and not by `asapScheduler`, which allocates an action for each call.
    if (this.#scheduler === asyncScheduler) resolved.then(work).catch(error => this.host.life.closeBy(error))
    else this.#scheduler.schedule(work)
  }

  pauseFetching({ handle }: Assignment): void {
    this.host.driver.pause([handle])
  }

  resumeFetching({ handle }: Assignment): void {
    this.host.driver.resume([handle])
  }

  readAt({ handle }: Assignment, offset: number): Observable<RecordBatch> {
    return this.host.driver.readAt(handle, offset)
  }

  outOfOrder(assignment: Assignment, offset: number, expected: number): void {
    const place = placeOf(assignment, offset)
    const message = `the driver delivered records out of order: ${placeName(place)} came where offset ${expected} was next`
    // No position can be trusted any more.
    this.host.life.closeBy(new FetchError(message, place))
  }

  commitDue(): void {
    if (this.host.config.group !== undefined) this.commits.due()
  }

  deliveryEnded(): void {
    if (this.host.life.closing || this.rebalances.underWay) this.changes.next()
  }

  // ── What closing waits for, and what is left ─────────────────────────────────────────────────────────────────────

  /** What holds positions back: the first record of each partition, or all. */
  stalls(all: boolean): Stall[] {
    const stalls: Stall[] = []
    for (const assignment of this.#assignments.values()) {
      if (all) {
        for (const stall of assignment.watch.stalls()) stalls.push(stall)
        continue
      }
      const stall = assignment.watch.stall()
      if (stall !== undefined) stalls.push(stall)
    }
    return stalls
  }

  /** The assignments of the DLQ topic; undefined while they are not known. */
  dlqAssignments(): Assignment[] | undefined {
    const { currentState } = this.reports
    if (currentState === 'idle' || currentState === 'starting' || this.rebalances.underWay) return undefined
    if (this.hasBegun && !this.#isAssigned) return undefined
    return [...this.#assignments.values()].filter(assignment => assignment.reading.kind === 'dlq')
  }

  /** Whether partitions of the DLQ topic may follow without another rebalance. */
  get awaitsDlq(): boolean {
    const { dlqTopic } = this.host.config
    if (dlqTopic === undefined) return false
    return this.isOut || this.#awaited.has(dlqTopic) || this.#kept?.awaits(dlqTopic) === true
  }

  count(which: 'inFlight' | 'stuck' | 'resting' | 'left'): number {
    let all = 0
    for (const assignment of this.#assignments.values()) all += assignment.phases[which]
    return all
  }

  /** What is not completed, or completed and not committed. Called when nothing can be committed any more. */
  whatIsLeft(): CloseReport {
    const unsettled = this.count('inFlight') + this.count('stuck') + this.count('resting') + this.count('left')
    const left: Stall[] = []
    for (const assignment of this.#assignments.values()) {
      const stall = assignment.watch.leftBehind()
      if (stall !== undefined) left.push(stall)
    }
    const committed = this.commits.settled && left.every(({ why }) => why !== 'committing')
    if (committed) return { drained: unsettled === 0, unsettled, left }
    const error =
      this.#refusedCommit ??
      new CommitError('the last commit was not confirmed before the client was closed', { retriable: true })
    return { drained: false, unsettled, left, error }
  }

  /** Ends all assignments. Nothing is committed any more. */
  leave(): void {
    this.commits.stop()
    this.#rebalance?.cancelled()
    this.#rebalance = undefined
    this.#kept?.end()
    this.#end([...this.#assignments.keys()], 'revoked')
    this.rebalances.end()
  }

  end(): void {
    this.leave()
    this.#leaks?.end()
  }
}

function placeOf(assignment: Assignment, offset: number | bigint) {
  return { topic: assignment.topic, partition: assignment.partition, offset: BigInt(offset) }
}
