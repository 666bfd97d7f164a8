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
    /** The client is running: what is assigned is known. */
    run(): void
    /** Closes the client with this error. */
    closeBy(error: unknown): void
  }
}

/** What is assigned to a client: driver events in, commits out, and what a rebalance or a close waits for. */
export class Consuming implements AssignmentHost {
  readonly rebalances = new ClientRebalances()
  /** Something changed that a close or a rebalance waits for. */
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
  /** Since `disconnected`, until `reconnected`. */
  outage: { readonly error: unknown } | undefined
  /** The group went on without this member, and it has not joined again. */
  isOut = false
  /** As `rxmika:rebalance` has it, if anybody listened when it began. */
  #rebalance: Operation<RebalanceMessage> | undefined
  readonly #scheduler: SchedulerLike
  readonly #assignments = new Map<PartitionAssignment, Assignment>()
  /** Positions that are kept elsewhere, if they are. */
  readonly #kept: KeptPositions | undefined
  #leaks: LeakWatch | undefined
  hasBegun = false
  /** It was told what is assigned, if only nothing. */
  #isAssigned = false
  /** Why the newest commit was not accepted, unless one was since. */
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
    const told: CommitsListener = {
      refused: error => {
        this.#refusedCommit = error
        reports.error(error)
      },
      forgotten: (assignment, ranges) =>
        reports.event({ type: 'forgotten', ...placeOf(assignment, assignment.requested), ranges }),
      broken: error => host.life.closeBy(new FetchError('the driver delivered records out of order', { cause: error })),
    }
    this.commits = new Commits(driver, clock, config.commitInterval, told, host.names, host.identity)
  }

  #keptElsewhere(positions: PositionsOption): KeptPositions {
    const { driver, clock, reports, topics, config } = this.host
    return new KeptPositions({
      ...{ positions, driver, clock, reports, names: topics.host.names, patience: config.stallAfter },
      begin: handles => {
        for (const assignment of this.#begin(handles)) assignment.drain()
      },
      onFound: moved => this.#onFound(moved),
    })
  }

  get assignments(): Iterable<Assignment> {
    return this.#assignments.values()
  }

  /** Topics are to be read from now on. */
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
    // What was given up before its position was known, and stays, is asked for anew.
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
    const signals = config.group === undefined ? undefined : this.commits.barrier
    const assignment = new Assignment(handle, topics.host.names.user(handle.topic), reading, this, signals)
    this.#assignments.set(handle, assignment)
    return assignment
  }

  /** Where positions are kept elsewhere, reading begins there. */
  #onFound(moved: readonly Moved[]): void {
    const begun = moved.flatMap(({ from, to }) => {
      const [assignment] = this.#begin([to])
      assignment?.beginsBeside(from.position)
      return assignment === undefined ? [] : [assignment]
    })
    // What is below was done, and the group may know it.
    if (this.host.config.group !== undefined) this.commits.begin(begun.filter(({ isCommitted }) => !isCommitted))
    for (const assignment of begun) assignment.drain()
    this.host.replays.progressed()
  }

  /** A seek ended assignments: others are in their place. */
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
    // Before user code runs: what it does from within is of the new assignments.
    if (this.host.config.group !== undefined) this.commits.begin(pairs.map(({ after }) => after))
    for (const { before, after } of pairs) {
      before.letGo()
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

  /** Lets what is in flight settle, then commits, so that the next owner is given nothing that was done here. */
  #giveUp(handles: readonly PartitionAssignment[]): Observable<unknown> {
    const { rebalanceTimeout, logger } = this.host.config
    this.#kept?.drop(handles)
    for (const assignment of this.#of(handles)) assignment.givingUp = true
    // One that a seek moves meanwhile is followed by another.
    const given = () => [...this.#assignments.values()].filter(({ givingUp }) => givingUp)
    const giving = given()
    this.rebalances.begin()
    const inFlight = giving.reduce((all, assignment) => all + assignment.inFlight, 0)
    logger.info(
      { partitions: giving.length, inFlight },
      'a rebalance begins: what is in flight may settle, and is committed',
    )
    return concat(
      bounded(
        () => until(() => given().every(each => each.inFlight === 0), this.changes),
        rebalanceTimeout,
        this.#scheduler,
      ),
      defer(() => {
        this.commits.flush()
        return until(() => given().every(each => each.isCommitted), this.changes)
      }),
    )
  }

  /** What `rxmika:rebalance` is told of, if anybody listened; the first to ask begins it. */
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
      assignment.letGo()
      this.ended.next(assignment)
      this.reports.event({ type: why, ...placeOf(assignment, assignment.committed) })
    }
    this.host.topics.forgetEnded()
    if (over.length > 0) this.host.config.logger.info({ partitions: over.length }, `partitions are ${why}`)
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
    // In real time a microtask: a timer, as `asyncScheduler` has it, takes a millisecond, which is long where `maxInFlight`
    // is 1. Of a promise, for fake timers leave those alone; and not by `asapScheduler`, which makes an action for each.
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

  commitDue(): void {
    if (this.host.config.group !== undefined) this.commits.due()
  }

  deliveryEnded(): void {
    if (this.host.life.closing || this.rebalances.underWay) this.changes.next()
  }

  // ── What it waits for, and what is left ──────────────────────────────────────────────────────────────────────────

  /** What is held back: of each partition the first record, or all. */
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

  /** Of the DLQ topic; undefined while it is not known which these are. */
  dlqAssignments(): Assignment[] | undefined {
    const { currentState } = this.reports
    if (currentState === 'idle' || currentState === 'starting' || this.rebalances.underWay) return undefined
    if (this.hasBegun && !this.#isAssigned) return undefined
    return [...this.#assignments.values()].filter(assignment => assignment.reading.kind === 'dlq')
  }

  count(which: 'inFlight' | 'stuck' | 'resting' | 'left'): number {
    let all = 0
    for (const assignment of this.#assignments.values()) all += assignment.phases[which]
    return all
  }

  /** What is not completed, or completed and not committed, when nothing can be committed any more. */
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
      new CommitError('the last commit was not confirmed before the client had to be closed', { retriable: true })
    return { drained: false, unsettled, left, error }
  }

  /** Everything that is assigned ends, and nothing is committed any more. */
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
