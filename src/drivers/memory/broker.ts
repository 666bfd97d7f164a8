import { asyncScheduler, map, mergeMap, type Observable, type SchedulerLike } from 'rxjs'
import type { Driver } from '../../driver.js'
import { ConfigurationError } from '../../errors.js'
import { checkOptions, invalid, type KnownOptions } from '../../options.js'
import type { PublishRecord, RecordMetadata } from '../../publish.js'
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

export interface MemoryBrokerOptions {
  /** Partitions of topics created by their first use: one number for all, or by topic; default 1. */
  readonly partitions?: Partitions | undefined
  /** How long every request takes, ms; default 0: the scheduler's next turn. */
  readonly latency?: number | undefined
  /** The time of everything; default RxJS's `asyncScheduler`. On a `TestScheduler` the broker runs in virtual time. */
  readonly scheduler?: SchedulerLike | undefined
  /** Whether a topic is created by its first use; default true. */
  readonly autoCreate?: boolean | undefined
  /** The most records that a fetch of one partition gives; default 500. */
  readonly maxBatchRecords?: number | undefined
  /** A record with more bytes in key, value and headers is refused for good; default Kafka's 1,048,588. */
  readonly maxRecordBytes?: number | undefined
  /**
   * How members join their group whose client leaves it open (no `groupProtocol`, or `'auto'`): `'classic'`, by which everything rests
   * during a rebalance, or `'consumer'`, by which partitions move one by one and what is kept goes on (KIP-848). A group's
   * first member decides for the group. Default `'classic'`.
   */
  readonly groupProtocol?: 'classic' | 'consumer' | undefined
}

/** A record to publish; its topic is named beside it. */
export type BrokerRecord = Omit<PublishRecord, 'topic'>

const knownOfRecord: KnownOptions<BrokerRecord> = {
  key: true,
  value: true,
  headers: true,
  partition: true,
  timestamp: true,
}

/** A record as it stands in the broker. */
export interface StoredRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
  /** Milliseconds since 1970, or of the scheduler's time. */
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** By name: one value, or several in their order. */
  readonly headers: ConsumedHeaders
  /** In the order of the record. */
  readonly headerPairs: readonly HeaderPair[]
}

/** A position that a group has committed. */
export interface GroupCommit {
  readonly group: string
  readonly topic: string
  readonly partition: number
  /** The next offset that the group will read. */
  readonly offset: bigint
  /** What was committed beside the position. */
  readonly metadata: string
}

export interface GroupDescription {
  readonly state: GroupState
  readonly generation: number
  readonly members: readonly {
    readonly id: string
    readonly clientId: string
    readonly topics: readonly string[]
    readonly assignments: readonly { readonly topic: string; readonly partition: number }[]
  }[]
}

/**
 * A small Kafka in this process: topics with partitions, consumer groups that rebalance, committed offsets, and faults
 * to order. It keeps time by its scheduler alone and waits without polling, so that on a `TestScheduler` it is
 * repeatable and a flush ends when nothing is left to happen.
 *
 * @example
 * const broker = memoryBroker({ partitions: 3 })
 * const client = createClient({ driver: broker.driver(), group: 'billing' })
 * broker.publish('orders', { key: 'a', value: 'first' })
 */
export function memoryBroker(options: MemoryBrokerOptions = {}): MemoryBroker {
  return new MemoryBroker(options)
}

export class MemoryBroker {
  /** Every record, whoever writes it, as it is written and before its writer is answered. Hot; never ends. */
  readonly written: Observable<StoredRecord>
  /** Every position, as a group accepts it and before its committer is answered. Hot; never ends. */
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

  /** A connection for one client; each client needs its own. */
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

  createTopic(name: string, partitions?: number, config?: TopicConfig): void {
    this.#cluster.topics.create(name, partitions, config)
  }

  /** Its records and what groups have committed of it are gone; who reads it learns that as from a real broker. */
  deleteTopic(name: string): void {
    this.#cluster.deleteTopic(name)
  }

  /** Writes at once, also while drivers are disconnected. Throws the `PublishError` of the first record refused. */
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

  /** Every record that can be read, by partition and offset. */
  records(topic: string): StoredRecord[] {
    const logs = this.#cluster.topics.find(topic)?.logs ?? []
    return logs.flatMap(log => log.records.map(record => storedRecord(log, record)))
  }

  /** Compacts to the records named by offset or predicate; default: the newest of each key, as Kafka does. */
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

  /** Writes a control record, which takes an offset and is never delivered. */
  appendMarker(topic: string, partition: number): bigint {
    return BigInt(this.#cluster.topics.log(topic, partition).appendMarker())
  }

  /** Deletes what is below `offset`, as retention does. */
  deleteBefore(topic: string, partition: number, offset: number | bigint): void {
    this.#cluster.topics.log(topic, partition).deleteBefore(Number(offset))
  }

  // Groups.

  /** The next offset that the group will read; undefined where it has committed none. */
  committed(group: string, topic: string, partition: number): bigint | undefined {
    const committed = this.#cluster.findGroup(group)?.committed({ topic, partition })
    return committed === undefined ? undefined : BigInt(committed.offset)
  }

  /** What the group has committed beside the position. */
  committedMetadata(group: string, topic: string, partition: number): string | undefined {
    return this.#cluster.findGroup(group)?.committed({ topic, partition })?.metadata
  }

  /** Offsets of the topic, over all its partitions, that the group has not committed. */
  lag(group: string, topic: string): number {
    const logs = this.#cluster.topics.find(topic)?.logs ?? []
    return logs.reduce((lag, log) => {
      const committed = this.#cluster.findGroup(group)?.committed(log)
      return lag + Math.max(0, log.end - Math.max(log.start, committed?.offset ?? 0))
    }, 0)
  }

  /** Every group that somebody has joined. */
  groups(): readonly string[] {
    return this.#cluster.groups()
  }

  /** Undefined: nobody has ever joined it. */
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
   * A graceful rebalance that takes the partition from its member and gives it to another, or, where there is none, to
   * the same as a new assignment.
   */
  revoke(group: string, topic: string, partition: number): void {
    this.#obtainGroup(group).revoke(topic, partition)
  }

  /**
   * Takes the partition without asking: the assignment has ended at once, and a commit under way is refused. A
   * rebalance follows that gives the partition to another member, or to the same as a new assignment.
   */
  lose(group: string, topic: string, partition: number): void {
    this.#obtainGroup(group).lose(topic, partition)
  }

  /** The next request of that kind fails, once, with `error`; several are used up in order. */
  failNext(kind: FaultyRequest, error: unknown): void {
    this.#cluster.faults.failNext(kind, error)
  }

  /** The broker is away: nothing is delivered, commits fail, everything else waits. */
  disconnect(): void {
    this.#cluster.connection.online = false
  }

  reconnect(): void {
    this.#cluster.connection.online = true
  }

  /**
   * The process with this driver is gone: it hears nothing more, and its assignments have ended. Its group goes on
   * without it once its session is over: after the member's `sessionTimeout`, or `after` ms.
   */
  kill(driver: Driver, options: { readonly after?: number } = {}): void {
    checkOptions('kill', options, { after: true })
    this.#known('kill', driver).die(options.after)
  }

  /**
   * The process with this driver stands still, as on a machine that is paused: nothing of it runs, and it hears of nothing.
   * Its group goes on without it after the member's `sessionTimeout`, or `after` ms; the member learns of that once it is
   * thawed. What user code does by timers of its own goes on. Not in real time, which the test shares with its members.
   */
  freeze(driver: Driver, options: { readonly after?: number } = {}): void {
    checkOptions('freeze', options, { after: true })
    this.#known('freeze', driver).freeze(options.after)
  }

  /** A frozen process goes on: first with what would have run meanwhile. */
  thaw(driver: Driver): void {
    this.#known('thaw', driver).thaw()
  }

  /**
   * Sets the wall clock of the process with this driver `by` ms forward, or back, but to no time before 1970. It dates what
   * the client writes; durations go on as they were.
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
    if (group === undefined) throw new ConfigurationError(`nobody has joined group '${name}'`)
    return group
  }
}

/** `topic` may stand in a record, too: what a client publishes can be written here. */
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
  // Without a prototype: a header may be named `constructor` or `__proto__`.
  const headers: Record<string, Buffer | null | (Buffer | null)[]> = Object.create(null)
  for (const [name, value] of headerPairs) {
    const before = headers[name]
    if (before === undefined) headers[name] = value
    else if (Array.isArray(before)) before.push(value)
    else headers[name] = [before, value]
  }
  return {
    topic: log.topic,
    partition: log.partition,
    offset: BigInt(record.offset),
    timestamp: record.timestamp,
    key: copyOf(record.key),
    value: copyOf(record.value),
    headers,
    headerPairs,
  }
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
