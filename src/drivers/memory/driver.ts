import {
  concat,
  concatAll,
  concatMap,
  defer,
  distinctUntilChanged,
  filter,
  ignoreElements,
  map,
  Observable,
  of,
  type SchedulerLike,
  throwError,
} from 'rxjs'
import type { CommitPoint } from '../../commit-point.js'
import type {
  ConnectionEvent,
  ConsumeRequest,
  Driver,
  DriverContext,
  DriverEvent,
  Moved,
  PartitionAssignment,
  ReadEvent,
  ReadRequest,
  Seek,
} from '../../driver.js'
import { CommitError, ConfigurationError, ConnectionError, PublishError } from '../../errors.js'
import type { Outgoing } from '../../outgoing.js'
import { refused } from '../../produce-result.js'
import type { RecordBatch } from '../../record-batch.js'
import { BoundedRead } from './bounded-read.js'
import type { Cluster } from './cluster.js'
import { Consumer } from './consumer.js'
import { MemberProcess } from './member-process.js'
import { Publishing } from './publishing.js'

const reconnected: ConnectionEvent = { type: 'reconnected' }

/** One client's connection to the in-process broker. */
export class MemoryDriver implements Driver {
  readonly #cluster: Cluster
  readonly #process: MemberProcess
  readonly #publishing: Publishing
  #consumer: Consumer | undefined
  #clientId = 'rxmika'
  #connected = false
  #closed = false
  #dead = false

  constructor(cluster: Cluster) {
    this.#cluster = cluster
    this.#process = new MemberProcess(cluster.scheduler)
    this.#publishing = new Publishing(cluster, this.#process, () => !this.#dead)
  }

  get scheduler(): SchedulerLike {
    return this.#process.scheduler
  }

  get doubtful(): boolean {
    return this.#consumer?.expelled === true
  }

  wallTime(): number {
    return this.#process.wallTime()
  }

  get connection(): Observable<ConnectionEvent> {
    return this.#cluster.connection.changes.pipe(
      filter(() => this.#connected && this.#consumer === undefined && !this.#closed && !this.#dead),
      map(online =>
        online ? reconnected : { type: 'disconnected', error: new ConnectionError('the broker is away') },
      ),
    )
  }

  connect(context: DriverContext): Observable<never> {
    return this.#request(() => {
      this.#clientId = context.clientId
      this.#connected = true
    }).pipe(ignoreElements())
  }

  topics(names: readonly string[]): Observable<ReadonlyMap<string, number>> {
    return this.#request(() => {
      const found = names.flatMap(name => this.#cluster.topics.obtain(name) ?? [])
      return new Map(found.map(topic => [topic.name, topic.partitions]))
    })
  }

  topicNames(names?: readonly string[]): Observable<readonly string[]> {
    const { topics } = this.#cluster
    const existing = () => {
      const there = new Set(topics.all().map(({ name }) => name))
      return [...(names ?? there)].filter(name => there.has(name)).sort()
    }
    // Topics emit their changes: nothing here polls.
    const asks = concat(of(''), topics.changed).pipe(concatMap(() => this.#request(existing)))
    return asks.pipe(distinctUntilChanged((before, now) => before.join() === now.join()))
  }

  endOffsets(topic: string): Observable<ReadonlyMap<number, number>> {
    return this.#request(() => {
      const found = this.#cluster.topics.obtain(topic)
      if (found === undefined) throw new ConfigurationError(`topic '${topic}' does not exist`)
      return new Map(found.logs.map(log => [log.partition, log.end]))
    })
  }

  readAt({ topic, partition }: PartitionAssignment, offset: number): Observable<RecordBatch> {
    return this.#request(() => {
      const log = this.#cluster.topics.obtain(topic)?.logs[partition]
      const { batch } = log?.read(Math.max(offset, log.start), this.#cluster.options.maxBatchRecords, false) ?? {}
      return batch !== undefined && batch.count > 0 ? [batch] : []
    }).pipe(concatAll())
  }

  read(request: ReadRequest): Observable<ReadEvent> {
    return this.#whileAlive(
      new Observable(subscriber => {
        if (this.#closed) subscriber.error(new ConnectionError('the driver is closed'))
        else new BoundedRead(this.#cluster, this.#process, request, subscriber)
      }),
    )
  }

  consume(request: ConsumeRequest): Observable<DriverEvent> {
    return new Observable(subscriber => {
      if (this.#dead) return
      if (this.#closed) {
        subscriber.error(new ConnectionError('the driver is closed'))
        return
      }
      if (this.#consumer !== undefined) {
        subscriber.error(new ConfigurationError('this driver consumes already; leave() first'))
        return
      }
      const consumer = new Consumer(this.#cluster, this.#process, request, this.#clientId, subscriber)
      this.#consumer = consumer
      return () => {
        consumer.abandon()
        if (this.#consumer === consumer) this.#consumer = undefined
      }
    })
  }

  subscribe(topics: readonly string[]): void {
    if (!this.#dead) this.#consumer?.subscribe(topics)
  }

  pause(assignments: readonly PartitionAssignment[]): void {
    for (const assignment of assignments) {
      this.#consumer?.pause(assignment)
    }
  }

  resume(assignments: readonly PartitionAssignment[]): void {
    for (const assignment of assignments) {
      this.#consumer?.resume(assignment)
    }
  }

  seek(moves: readonly Seek[]): Observable<readonly Moved[]> {
    return this.#request(() => {
      const moved = this.#consumer?.seek(moves) ?? []
      return moved.length > 0 ? [moved] : []
    }).pipe(concatAll())
  }

  commit(points: readonly CommitPoint[]): Observable<never> {
    return defer(() => {
      const { connection, faults } = this.#cluster
      const live = points.filter(point => point.assignment?.ended !== true)
      const { group, memberId, generation } = this.#consumer ?? {}
      const request = connection.attempt(online => {
        if (live.length === 0) return
        if (this.#closed) throw new CommitError('the driver is closed', { retriable: false })
        if (this.#consumer !== undefined && group === undefined) {
          throw new CommitError('nothing can be committed without a group', { retriable: false })
        }
        if (!online) throw new CommitError('the broker is away', { retriable: true })
        const fault = faults.commit()
        if (fault !== undefined) throw fault
        if (group === undefined || memberId === undefined || generation === undefined) {
          throw new CommitError('the group has not been joined', { retriable: true })
        }
        group.commit(memberId, generation, live)
        this.#cluster.commits.next({ group: group.name, points: live })
      })
      return this.#whileAlive(request).pipe(ignoreElements())
    })
  }

  produce(outgoing: Outgoing): void {
    if (this.#dead) return
    if (!this.#closed) return this.#publishing.write(outgoing)
    const { topic } = outgoing
    outgoing.settle(refused(new PublishError('the driver is closed', { retriable: false, topic })))
  }

  leave(): Observable<never> {
    return new Observable(subscriber => {
      const left = () => subscriber.complete()
      // Bounded: if the broker is away, the group learns of it when the broker is back.
      this.scheduler.schedule(() => {
        if (this.#consumer === undefined) left()
        else this.#consumer.leave(left)
      }, this.#cluster.connection.latency)
    })
  }

  close(): Observable<never> {
    return new Observable(subscriber =>
      this.leave().subscribe({
        complete: () => {
          this.#closed = true
          this.#publishing.end()
          subscriber.complete()
        },
      }),
    )
  }

  /** Moves the wall clock of the process. */
  setClock(by: number): void {
    this.#process.setClock(by)
  }

  freeze(sessionEndsAfter?: number): void {
    if (this.#process.frozen) return
    this.#process.freeze()
    this.#consumer?.silent(sessionEndsAfter)
  }

  thaw(): void {
    if (!this.#process.frozen) return
    // First the group: work that was due meanwhile may belong to a member that was expelled.
    this.#consumer?.audible()
    this.#process.thaw()
  }

  /** Kills the process with this driver. */
  die(sessionEndsAfter?: number): void {
    this.#dead = true
    this.#consumer?.die(sessionEndsAfter)
  }

  #request<T>(arrive: () => T): Observable<T> {
    if (this.#closed) return throwError(() => new ConnectionError('the driver is closed'))
    return this.#whileAlive(this.#cluster.connection.request(arrive))
  }

  /** A dead process neither sends requests nor gets answers; a frozen one gets them later. */
  #whileAlive<T>(answers: Observable<T>): Observable<T> {
    const live = (work: () => void) => this.#process.run(() => this.#dead || work())
    return new Observable(subscriber =>
      live(() =>
        subscriber.add(
          answers.subscribe({
            next: value => live(() => subscriber.next(value)),
            error: error => live(() => subscriber.error(error)),
            complete: () => live(() => subscriber.complete()),
          }),
        ),
      ),
    )
  }
}
