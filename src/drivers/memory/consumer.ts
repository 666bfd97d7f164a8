import {
  catchError,
  EMPTY,
  ignoreElements,
  merge,
  type Observable,
  type Subscriber,
  Subscription,
  takeUntil,
  timer,
} from 'rxjs'
import type { ConsumeRequest, DriverEvent, Moved, PartitionAssignment, Seek, StartFrom } from '../../driver.js'
import { ConfigurationError, ConnectionError, FetchError, type RxMikaError } from '../../errors.js'
import { partitionName } from '../../place.js'
import { Assignment } from './assignment.js'
import type { Cluster } from './cluster.js'
import type { Group } from './group.js'
import type { Log } from './log.js'
import type { MemberProcess } from './member-process.js'
import { outOfRange, startPosition } from './start-position.js'

/** The starting position of a newly assigned partition. */
export interface Start {
  readonly log: Log
  readonly position: number
  readonly metadata: string
}

/**
 * One subscription to a driver's `consume`: a member of its group, or without a group a reader of every partition.
 *
 * Every event is emitted in its own turn of the scheduler, in the order of events. So no call by a client, and no fault that
 * a test causes from within a handler, is answered before it returns.
 */
export class Consumer {
  memberId: string | undefined
  generation = 0
  topics: readonly string[]
  readonly assignments = new Map<string, Assignment>()
  /** True: it has asked to join, and has no answer yet. */
  #joined = false
  group: Group | undefined
  #rebalancing = true
  /** Counts rebalances: if another one has begun, the outcome of an earlier one must not start fetches. */
  #rebalances = 0
  /** True: the group rebalanced without the member, which does not know it yet. */
  expelled = false
  #expulsion: Subscription | undefined
  #dead = false
  #left = false
  readonly #held = new Subscription()

  constructor(
    readonly cluster: Cluster,
    readonly process: MemberProcess,
    readonly request: ConsumeRequest,
    readonly clientId: string,
    readonly subscriber: Subscriber<DriverEvent>,
  ) {
    this.topics = request.topics
    this.group = this.#obtainGroup()
    this.#held.add(cluster.topics.changed.subscribe(topic => this.#topicChanged(topic)))
    this.#held.add(cluster.connection.changes.subscribe(online => this.#connectionChanged(online)))
    this.#held.add(cluster.connection.reach(() => this.#join()))
  }

  #join(): void {
    const { topics } = this.cluster
    this.#joined = true
    const missing = this.topics.filter(name => topics.obtain(name) === undefined)
    // If the previous members have left, the group uses this member's protocol.
    this.group = this.#obtainGroup()
    if (missing.length > 0) {
      this.fail(
        new ConfigurationError(`topic '${missing.join("', '")}' does not exist, and the broker does not create it`),
      )
    } else if (this.group === undefined) this.#readAll()
    else this.group.join(this)
  }

  #obtainGroup(): Group | undefined {
    const { group, groupProtocol } = this.request
    return group === undefined ? undefined : this.cluster.obtainGroup(group, groupProtocol)
  }

  #readAll(): void {
    const logs = this.topics.flatMap(name => this.cluster.topics.find(name)?.logs ?? [])
    const names = new Set(logs.map(partitionName))
    this.revoke([...this.assignments.keys()].filter(name => !names.has(name)))
    const added = logs.filter(log => !this.assignments.has(partitionName(log)))
    try {
      this.assign(added.map(log => ({ log, position: startPosition(log, this.startFromOf(log)), metadata: '' })))
    } catch (error) {
      this.fail(error)
    }
  }

  /** For a partition without a committed position. A topic created while the client was reading is read from its beginning. */
  startFromOf({ topic }: Log): StartFrom {
    const { startFrom, cameLater } = this.request
    return cameLater?.(topic) === true && !(startFrom instanceof Date) ? 'earliest' : startFrom
  }

  #topicChanged(topic: string): void {
    if (!this.topics.includes(topic) || !this.#joined) return
    const found = this.cluster.topics.find(topic)
    // Assignments of a deleted topic, or of its deleted logs.
    const gone = [...this.assignments.values()].filter(({ log }) => log.topic === topic && !found?.logs.includes(log))
    for (const assignment of gone) this.lose(partitionName(assignment))
    if (found === undefined) {
      const error = new FetchError(`topic '${topic}' is gone: the broker does not know it any more`, { topic })
      this.#post(() => this.#emit({ type: 'unreadable', topic, error, isGone: true }))
    } else this.#rejoin()
  }

  #rejoin(): void {
    if (this.group === undefined) this.#readAll()
    else this.group.resubscribed(this)
  }

  // The group's side.

  /** Stops delivering. Calls `rejoin` when the client has released its partitions, or its time for that is over. */
  giveUp(rejoin: () => void): void {
    if (this.#dead) return
    this.#rebalancing = true
    const rebalance = ++this.#rebalances
    if (this.assignments.size === 0) {
      rejoin()
      return
    }
    // If it was expelled meanwhile, it rejoins as a new member.
    const current = () => rebalance === this.#rebalances && !this.expelled
    this.#post(() => {
      if (current()) this.#letGo([...this.assignments.values()], current, rejoin)
    })
  }

  /** As `giveUp`, for these assignments only. Others are read on. */
  giveUpSome(assignments: readonly Assignment[], done: () => void): void {
    if (this.#dead) return
    for (const assignment of assignments) assignment.resting = true
    const current = () => !this.expelled
    this.#post(() => {
      if (current())
        this.#letGo(
          assignments.filter(({ ended }) => !ended),
          current,
          done,
        )
    })
  }

  /** Calls `done` when the client has released these assignments, or its time for that is over. */
  #letGo(assignments: readonly Assignment[], current: () => boolean, done: () => void): void {
    const holds: Observable<unknown>[] = []
    if (assignments.length > 0) {
      this.#emit({ type: 'revoking', assignments, hold: until => holds.push(until) })
    }
    const timeout = timer(this.request.rebalanceTimeout, this.process.scheduler)
    const letGo = holds.map(until =>
      until.pipe(
        ignoreElements(),
        catchError(() => EMPTY),
      ),
    )
    const arrived = () => {
      if (current()) done()
    }
    const complete = () => this.process.run(() => this.#held.add(this.cluster.connection.reach(arrived)))
    this.#held.add(
      merge(...letGo)
        .pipe(takeUntil(timeout))
        .subscribe({ complete }),
    )
  }

  revoke(names: readonly string[]): void {
    const assignments = this.#end(names)
    if (assignments.length > 0) this.#post(() => this.#emit({ type: 'revoked', assignments }))
  }

  lose(name: string): void {
    const assignments = this.#end([name])
    this.#post(() => this.#emit({ type: 'lost', assignments }))
  }

  assign(starts: readonly Start[]): void {
    const retained = [...this.assignments.values()].filter(({ resting }) => !resting)
    const added = starts.map(({ log, position, metadata }) =>
      this.#addAssignment(new Assignment(log, position, metadata)),
    )
    const rebalances = this.#rebalances
    this.#post(() => {
      this.#emit({ type: 'assigned', added, retained: retained.map(each => this.#successorOf(each)) })
      if (rebalances !== this.#rebalances) return
      this.#rebalancing = false
      this.#fetchAll()
    })
  }

  /** What a seek has replaced it by, if one came before the event. The client knows nothing else of the partition then. */
  #successorOf(assignment: Assignment): Assignment {
    const current = this.assignments.get(partitionName(assignment))
    return current?.lineage === assignment.lineage ? current : assignment
  }

  trouble(error: RxMikaError): void {
    this.#post(() => this.#emit({ type: 'trouble', error }))
  }

  /** Errors the stream with a failure that cannot heal. */
  fail(error: unknown): void {
    this.#depart()
    this.process.scheduler.schedule(() => this.subscriber.error(error))
  }

  // The client's side.

  subscribe(topics: readonly string[]): void {
    this.topics = topics
    this.#held.add(
      this.cluster.connection.reach(() => {
        if (this.#joined && !this.expelled) this.#rejoin()
      }),
    )
  }

  pause(assignment: PartitionAssignment): void {
    const own = this.#own(assignment)
    if (own !== undefined) own.paused = true
  }

  resume(assignment: PartitionAssignment): void {
    const own = this.#own(assignment)
    if (own === undefined) return
    own.paused = false
    this.#fetchNext(own)
  }

  seek(moves: readonly Seek[]): readonly Moved[] {
    if (this.#dead || this.#left) return []
    return moves.flatMap(({ assignment, to }) => {
      const from = this.assignments.get(partitionName(assignment))
      if (from === undefined || !(assignment instanceof Assignment) || from.lineage !== assignment.lineage) return []
      const { log, lineage } = from
      const next = this.#addAssignment(new Assignment(log, this.#sought(log, to), '', lineage))
      next.resting = from.resting
      from.end()
      return [{ from, to: next }]
    })
  }

  #sought(log: Log, to: Seek['to']): number {
    if (typeof to !== 'number') return startPosition(log, to)
    if (log.inRange(to)) return to
    const { startFrom } = this.request
    const position = startPosition(log, startFrom === 'committed' ? 'earliest' : startFrom)
    this.trouble(outOfRange(log, to, position))
    return position
  }

  #addAssignment(assignment: Assignment): Assignment {
    assignment.held.add(assignment.log.changed.subscribe(() => this.#fetchNext(assignment)))
    this.assignments.set(partitionName(assignment), assignment)
    return assignment
  }

  /** Undefined: it has ended, or belongs to another consumer. */
  #own(assignment: PartitionAssignment): Assignment | undefined {
    const held = this.assignments.get(partitionName(assignment))
    return held === assignment ? held : undefined
  }

  /** Leaves the group. Calls `left` when the client has its last event. */
  leave(left: () => void): void {
    // The session of a dead member goes on until its end, whatever happens to the rest of its client.
    const assignments = this.#dead ? [] : this.#depart()
    this.process.scheduler.schedule(() => {
      if (assignments.length > 0) this.#emit({ type: 'revoked', assignments })
      this.subscriber.complete()
      left()
    })
  }

  /** Called when the client has unsubscribed, or its stream has ended. */
  abandon(): void {
    if (!this.#dead) this.#depart()
    this.#dead = true
  }

  /** The process is killed: no event is emitted, and the group notices it when the session is over. */
  die(sessionEndsAfter = this.request.sessionTimeout): void {
    if (this.#dead || this.#left) return
    this.#dead = true
    this.#held.unsubscribe()
    for (const assignment of this.assignments.values()) assignment.end()
    this.cluster.scheduler.schedule(() => this.#depart(), sessionEndsAfter)
  }

  /** The process is suspended and sends no heartbeats: the group rebalances without it when its session is over. */
  silent(sessionEndsAfter = this.request.sessionTimeout): void {
    this.#expulsion = this.cluster.scheduler.schedule(() => {
      if (this.group === undefined || this.#left || this.#dead || !this.group.members.has(this)) return
      this.expelled = true
      this.group.leave(this)
    }, sessionEndsAfter)
  }

  /** The process continues. The answer to its next heartbeat says whether it is still a member. */
  audible(): void {
    this.#expulsion?.unsubscribe()
    if (!this.expelled) return
    this.#held.add(
      this.cluster.connection.reach(() =>
        this.process.run(() => {
          if (!this.expelled) return
          const assignments = this.#end([...this.assignments.keys()])
          this.#rebalancing = true
          this.#rebalances++
          this.expelled = false
          if (assignments.length > 0) this.#emit({ type: 'lost', assignments })
          this.#held.add(this.cluster.connection.reach(() => this.#join()))
        }),
      ),
    )
  }

  #depart(): readonly Assignment[] {
    if (this.#left) return []
    this.#left = true
    this.#held.unsubscribe()
    const assignments = this.#end([...this.assignments.keys()])
    this.group?.leave(this)
    return assignments
  }

  // Fetching.

  /** Like a fetch that waits at the broker: it ends when there is a record, and never by time. */
  #fetchNext(assignment: Assignment): void {
    if (assignment.fetching !== undefined || !this.#canFetch(assignment)) return
    assignment.fetching = this.process.scheduler.schedule(() => {
      assignment.fetching = undefined
      if (this.#canFetch(assignment)) this.#fetch(assignment)
    }, this.cluster.connection.latency)
  }

  #canFetch({ ended, paused, resting, next, log }: Assignment): boolean {
    if (ended || paused || resting || this.#rebalancing || this.#dead || !this.cluster.connection.online) return false
    return next !== log.end
  }

  #fetch(assignment: Assignment): void {
    const { log, next } = assignment
    const fault = this.cluster.faults.fetch(log.topic, log.partition, next)
    if (fault !== undefined) this.#emit({ type: 'trouble', error: fault })
    else if (!log.inRange(next)) this.#reset(assignment)
    else {
      const { batch, from } = log.read(next, this.cluster.options.maxBatchRecords, !assignment.fetched)
      assignment.fetched = true
      assignment.next = batch.lastOffset + 1
      this.#emit({ type: 'batch', assignment, batch, from })
    }
    this.#fetchNext(assignment)
  }

  #reset(assignment: Assignment): void {
    const { log, next } = assignment
    try {
      assignment.next = startPosition(log, this.request.startFrom)
      this.#emit({ type: 'trouble', error: outOfRange(log, next, assignment.next) })
    } catch (error) {
      this.fail(error)
    }
  }

  #fetchAll(): void {
    for (const assignment of [...this.assignments.values()]) this.#fetchNext(assignment)
  }

  #connectionChanged(online: boolean): void {
    this.#post(() => {
      if (online) this.#emit({ type: 'reconnected' })
      else this.#emit({ type: 'disconnected', error: new ConnectionError('the broker is away') })
      this.#fetchAll()
    })
  }

  // Events for the client.

  #end(names: readonly string[]): readonly Assignment[] {
    return names.flatMap(name => {
      const assignment = this.assignments.get(name)
      if (assignment === undefined) return []
      this.assignments.delete(name)
      assignment.end()
      return [assignment]
    })
  }

  #post(emit: () => void): void {
    this.process.scheduler.schedule(() => {
      if (!this.#dead) emit()
    })
  }

  #emit(event: DriverEvent): void {
    this.subscriber.next(event)
  }
}
