import { asyncScheduler, map, mergeMap, type Observable, type SchedulerLike } from 'rxjs'
import type { Driver } from '../../driver.js'
import { ConfigurationError } from '../../errors.js'
import { checkOptions, invalid, type KnownOptions } from '../../options.js'
import type { PublishRecord, RecordMetadata } from '../../publish.js'
import { withJson } from '../../readable.js'
import type { ConsumedHeaders } from '../../record.js'
import type { HeaderPair } from '../../record-batch.js'
import { checkBrokerOptions } from './broker-options.js'
import { Cluster } from './cluster.js'
import { MemoryDriver } from './driver.js'
import type { FaultyRequest } from './faults.js'
import type { GroupState } from './group.js'
import type { Log, LogRecord } from './log.js'
import { copyOf } from './record-batch.js'
import type { TopicConfig } from './topic.js'
import type { Partitions } from './topics.js'

/** The options of `memoryBroker`. */
export interface MemoryBrokerOptions {
  /** The number of partitions of topics that their first use creates: one number for all, or by topic; default 1. */
  readonly partitions?: Partitions | undefined
  /** The latency of every request, ms; default 0, which means the scheduler's next turn. */
  readonly latency?: number | undefined
  /** The scheduler of the broker; default RxJS's `asyncScheduler`. With a `TestScheduler` the broker runs in virtual time. */
  readonly scheduler?: SchedulerLike | undefined
  /** Whether the first use of a topic creates it; default true. */
  readonly autoCreate?: boolean | undefined
  /** The maximum of records in a fetch of one partition; default 500. */
  readonly maxBatchRecords?: number | undefined
  /** A record with more bytes in key, value and headers is refused for good; default 1,048,588, as in Kafka. */
  readonly maxRecordBytes?: number | undefined
  /**
   * The protocol of groups whose clients leave it open (no `groupProtocol`, or `'auto'`). `'classic'` (default): everything
   * pauses during a rebalance. `'consumer'` (KIP-848): partitions move one by one, and the others are read on. The first
   * member of a group decides for the group.
   */
  readonly groupProtocol?: 'classic' | 'consumer' | undefined
}

/** A record to publish; the topic is a separate argument. */
export type BrokerRecord = Omit<PublishRecord, 'topic'>

const knownOfRecord: KnownOptions<BrokerRecord> = {
  key: true,
  value: true,
  headers: true,
  partition: true,
  timestamp: true,
}

/** A record in the broker's log. */
export interface StoredRecord {
  /** Full name, suffix included. */
  readonly topic: string
  /** The partition of the topic. */
  readonly partition: number
  /** The offset within the partition. */
  readonly offset: bigint
  /** ms since 1970, or by the scheduler's time. */
  readonly timestamp: number
  /** Null if the record has no key. */
  readonly key: Buffer | null
  /** Null for a tombstone. */
  readonly value: Buffer | null
  /** By name: a single value, or an array of values in order. */
  readonly headers: ConsumedHeaders
  /** In the record's order. */
  readonly headerPairs: readonly HeaderPair[]
}

/** A position that a group has committed. */
export interface GroupCommit {
  /** Full name, suffix included. */
  readonly group: string
  /** Full name, suffix included. */
  readonly topic: string
  /** The partition of the topic. */
  readonly partition: number
  /** The next offset that the group will read. */
  readonly offset: bigint
  /** The metadata committed with the position. */
  readonly metadata: string
}

/** A consumer group at this moment. */
export interface GroupDescription {
  /** The state of the group, as Kafka names it. */
  readonly state: GroupState
  /** The generation of the group, with the consumer protocol its epoch. It grows with each rebalance. */
  readonly generation: number
  /** The members of the group, each with its subscription and its assignment. */
  readonly members: readonly {
    readonly id: string
    readonly clientId: string
    readonly topics: readonly string[]
    readonly assignments: readonly { readonly topic: string; readonly partition: number }[]
  }[]
}

/**
 * An in-process Kafka: topics with partitions, consumer groups that rebalance, committed offsets, and faults on demand. Its
 * only time is that of its scheduler, and it waits without polling. So on a `TestScheduler` every run is the same, and a
 * flush ends when nothing is left to happen.
 *
 * @example
 * const broker = memoryBroker({ partitions: 3 })
 * const client = createClient({ driver: broker.driver(), group: 'billing' })
 * broker.publish('orders', { key: 'a', value: 'first' })
 */
export function memoryBroker(options: MemoryBrokerOptions = {}): MemoryBroker {
  return new MemoryBroker(options)
}

/** An in-process Kafka; see {@link memoryBroker}, which makes one. */
export class MemoryBroker {
  /** Every record, from any writer, emitted when it is written and before its writer gets the answer. Hot; never completes. */
  readonly written: Observable<StoredRecord>
  /** Every committed position, emitted when the group accepts it and before the committer gets the answer. Hot; never completes. */
  readonly commits: Observable<GroupCommit>
  readonly #cluster: Cluster
  readonly #drivers = new WeakMap<Driver, MemoryDriver>()

  constructor(options: MemoryBrokerOptions = {}) {
    checkBrokerOptions(options)
    this.#cluster = new Cluster({
      partitions: options.partitions ?? 1,
      latency: options.latency ?? 0,
      scheduler: options.scheduler ?? asyncScheduler,
      autoCreate: options.autoCreate ?? true,
      maxBatchRecords: options.maxBatchRecords ?? 500,
      maxRecordBytes: options.maxRecordBytes ?? 1_048_588,
      groupProtocol: options.groupProtocol ?? 'classic',
    })
    this.written = this.#cluster.written.pipe(map(({ log, record }) => storedRecord(log, record)))
    this.commits = this.#cluster.commits.pipe(
      mergeMap(({ group, points }) =>
        points.map(({ topic, partition, offset, metadata = '' }) => ({ group, topic, partition, offset, metadata })),
      ),
    )
  }

  /** Makes a connection for one client. Each client needs its own. */
  driver(): Driver {
    const driver = new MemoryDriver(this.#cluster)
    this.#drivers.set(driver, driver)
    return driver
  }

  // Topics and records.

  /** Partition counts by topic. */
  topics(): ReadonlyMap<string, number> {
    return new Map(this.#cluster.topics.all().map(topic => [topic.name, topic.partitions]))
  }

  /**
   * Creates a topic. `partitions` defaults to the option of the broker.
   *
   * @throws ConfigurationError if the topic exists, or if `partitions` is not an integer ≥ 1.
   */
  createTopic(name: string, partitions?: number, config?: TopicConfig): void {
    this.#cluster.topics.create(name, partitions, config)
  }

  /** Deletes a topic with its records and committed positions. Readers notice it as with a real broker. */
  deleteTopic(name: string): void {
    this.#cluster.deleteTopic(name)
  }

  /** Writes at once, even while drivers are disconnected. Throws the `PublishError` of the first refused record. */
  publish(topic: string, records: BrokerRecord | readonly BrokerRecord[]): RecordMetadata[] {
    checkRecords(topic, records)
    const list = Array.isArray(records) ? (records as readonly BrokerRecord[]) : [records as BrokerRecord]
    const together = new Map()
    const results = list.map(record => this.#cluster.append({ ...record, topic }, together))
    return results.map(result => {
      if (!result.ok) throw result.error
      return { topic: result.topic, partition: result.partition, offset: result.offset }
    })
  }

  /** Every readable record, by partition and offset. */
  records(topic: string): StoredRecord[] {
    const logs = this.#cluster.topics.find(topic)?.logs ?? []
    return logs.flatMap(log => log.records.map(record => storedRecord(log, record)))
  }

  /** Compacts to the records given by offset or predicate; default: the latest record of each key, as in Kafka. */
  compact(
    topic: string,
    partition: number,
    keep?: readonly (number | bigint)[] | ((record: StoredRecord) => boolean),
  ): void {
    const log = this.#cluster.topics.log(topic, partition)
    if (typeof keep === 'function') log.compact(record => keep(storedRecord(log, record)))
    else if (keep !== undefined) log.compact(offsetIn(keep))
    else log.compact(offsetIn(newestOfKeys(log)))
  }

  /** Writes a control record, which takes an offset and is never delivered. Returns the offset. */
  appendMarker(topic: string, partition: number): bigint {
    return BigInt(this.#cluster.topics.log(topic, partition).appendMarker())
  }

  /** Deletes the records below `offset`, as retention does. */
  deleteBefore(topic: string, partition: number, offset: number | bigint): void {
    this.#cluster.topics.log(topic, partition).deleteBefore(Number(offset))
  }

  // Groups.

  /** The next offset that the group will read; undefined if it has committed none. */
  committed(group: string, topic: string, partition: number): bigint | undefined {
    const committed = this.#cluster.findGroup(group)?.committed({ topic, partition })
    return committed === undefined ? undefined : BigInt(committed.offset)
  }

  /** The metadata that the group has committed with the position. */
  committedMetadata(group: string, topic: string, partition: number): string | undefined {
    return this.#cluster.findGroup(group)?.committed({ topic, partition })?.metadata
  }

  /** How many offsets of the topic, over all partitions, the group has not committed. */
  lag(group: string, topic: string): number {
    const logs = this.#cluster.topics.find(topic)?.logs ?? []
    return logs.reduce((lag, log) => {
      const committed = this.#cluster.findGroup(group)?.committed(log)
      return lag + Math.max(0, log.end - Math.max(log.start, committed?.offset ?? 0))
    }, 0)
  }

  /** Every group that had a member. */
  groups(): readonly string[] {
    return this.#cluster.groups()
  }

  /** The state of a group; undefined if it never had a member. */
  group(name: string): GroupDescription | undefined {
    const group = this.#cluster.findGroup(name)
    if (group === undefined) return undefined
    return {
      state: group.state,
      generation: group.generation,
      members: [...group.members].map(member => ({
        id: member.memberId ?? '',
        clientId: member.clientId,
        topics: member.topics,
        assignments: [...member.assignments.values()].map(({ topic, partition }) => ({ topic, partition })),
      })),
    }
  }

  // Faults.

  /**
   * Starts a graceful rebalance that revokes the partition from its member and assigns it to another one; if there is no
   * other, to the same one as a new assignment.
   */
  revoke(group: string, topic: string, partition: number): void {
    this.#obtainGroup(group).revoke(topic, partition)
  }

  /**
   * Takes the partition away without asking: the assignment ends at once, and a commit in flight is refused. A rebalance
   * follows that assigns the partition to another member; if there is no other, to the same one as a new assignment.
   */
  lose(group: string, topic: string, partition: number): void {
    this.#obtainGroup(group).lose(topic, partition)
  }

  /** Makes the next request of that kind fail once with `error`. Several errors are used in order. @throws ConfigurationError for another kind. */
  failNext(kind: FaultyRequest, error: unknown): void {
    this.#cluster.faults.failNext(kind, error)
  }

  /** Makes the broker unreachable: nothing is delivered, commits fail, everything else waits. */
  disconnect(): void {
    this.#cluster.connection.online = false
  }

  /** Ends `disconnect()`: everything that waits continues. */
  reconnect(): void {
    this.#cluster.connection.online = true
  }

  /**
   * Kills the process with this driver: it gets no more events, and its assignments have ended. Its group rebalances when its
   * session is over: after the member's `sessionTimeout`, or `after` ms.
   */
  kill(driver: Driver, options: { readonly after?: number | undefined } = {}): void {
    checkOptions('kill', options, { after: true })
    this.#known('kill', driver).die(options.after)
  }

  /**
   * Suspends the process with this driver, like a paused virtual machine: none of its code runs, and it gets no events. Its
   * group rebalances without it after the member's `sessionTimeout`, or `after` ms; the member learns that once it is thawed.
   * User code with its own timers continues. Not possible in real time, which the test shares with its members.
   */
  freeze(driver: Driver, options: { readonly after?: number | undefined } = {}): void {
    checkOptions('freeze', options, { after: true })
    this.#known('freeze', driver).freeze(options.after)
  }

  /** Continues a frozen process. First it runs what was due meanwhile. */
  thaw(driver: Driver): void {
    this.#known('thaw', driver).thaw()
  }

  /**
   * Moves the wall clock of the process with this driver by `by` ms, forward or back, but not before 1970. The clock dates
   * what the client writes; durations are not affected.
   */
  setClock(driver: Driver, by: number): void {
    this.#known('setClock', driver).setClock(by)
  }

  #known(what: string, driver: Driver): MemoryDriver {
    const known = this.#drivers.get(driver)
    if (known === undefined) throw new ConfigurationError(`${what}() takes a driver of this broker`)
    return known
  }

  #obtainGroup(name: string) {
    const group = this.#cluster.findGroup(name)
    if (group === undefined) throw new ConfigurationError(`group '${name}' has no members`)
    return group
  }
}

/** A record may have a `topic` too, so that records for a client's `publish` can be written here. */
function checkRecords(topic: string, records: BrokerRecord | readonly BrokerRecord[]): void {
  if (typeof topic !== 'string' || topic === '') {
    throw invalid('memoryBroker: publish: topic', topic, 'must be a non-empty string')
  }
  for (const record of Array.isArray(records) ? records : [records]) {
    checkOptions(`memoryBroker: publish to ${topic}`, record, { ...knownOfRecord, topic: true } as typeof knownOfRecord)
  }
}

function storedRecord(log: Log, record: LogRecord): StoredRecord {
  const headerPairs = record.headers.map(([name, value]): HeaderPair => [name, copyOf(value)])
  // Has no prototype, because a header may be named `constructor` or `__proto__`.
  const headers: Record<string, Buffer | null | (Buffer | null)[]> = Object.create(null)
  for (const [name, value] of headerPairs) {
    const before = headers[name]
    if (before === undefined) headers[name] = value
    else if (Array.isArray(before)) before.push(value)
    else headers[name] = [before, value]
  }
  return withJson({
    topic: log.topic,
    partition: log.partition,
    offset: BigInt(record.offset),
    timestamp: record.timestamp,
    key: copyOf(record.key),
    value: copyOf(record.value),
    headers,
    headerPairs,
  })
}

function offsetIn(offsets: Iterable<number | bigint>): (record: LogRecord) => boolean {
  const kept = new Set([...offsets].map(Number))
  return record => kept.has(record.offset)
}

function newestOfKeys(log: Log): Iterable<number> {
  const keyless = log.records.filter(record => record.key === null).map(record => record.offset)
  const newest = new Map(log.records.map(record => [record.key?.toString('base64'), record.offset]))
  newest.delete(undefined)
  return [...keyless, ...newest.values()]
}
