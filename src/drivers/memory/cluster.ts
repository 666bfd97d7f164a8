import { gzipSync } from 'node:zlib'
import { type SchedulerLike, Subject } from 'rxjs'
import type { CommitPoint } from '../../commit-point.js'
import type { GroupProtocol } from '../../driver.js'
import { type EncodableRecord, encodable, notEncodable } from '../../encodable-record.js'
import { PublishError } from '../../errors.js'
import { type ProduceResult, refused, written } from '../../produce-result.js'
import type { ProduceRecord } from '../../publish.js'
import type { HeaderPair } from '../../record-batch.js'
import { ClassicGroup } from './classic-group.js'
import { Connection } from './connection.js'
import { ConsumerGroup } from './consumer-group.js'
import { Faults } from './faults.js'
import type { Group } from './group.js'
import type { Log, LogRecord } from './log.js'
import { copyOf } from './record-batch.js'
import { type Partitions, Topics } from './topics.js'

export interface ClusterOptions {
  readonly partitions: Partitions
  readonly latency: number
  readonly scheduler: SchedulerLike
  readonly autoCreate: boolean
  readonly maxBatchRecords: number
  readonly maxRecordBytes: number
  /** The protocol of groups whose clients leave it open. */
  readonly groupProtocol: 'classic' | 'consumer'
}

const groups = { classic: ClassicGroup, consumer: ConsumerGroup }

/** What the drivers of one broker share: topics, groups, and the connection to them. */
export class Cluster {
  readonly topics: Topics
  readonly connection: Connection
  readonly faults = new Faults()
  /** Emits every record when it is written. */
  readonly written = new Subject<{ readonly log: Log; readonly record: LogRecord }>()
  /** Emits every commit that a group accepts. */
  readonly commits = new Subject<{ readonly group: string; readonly points: readonly CommitPoint[] }>()
  readonly #groups = new Map<string, Group>()

  constructor(readonly options: ClusterOptions) {
    this.topics = new Topics(options.partitions, options.autoCreate)
    this.connection = new Connection(options.scheduler, options.latency)
  }

  get scheduler(): SchedulerLike {
    return this.options.scheduler
  }

  /** Deletes a topic and the positions that groups have committed for it. */
  deleteTopic(name: string): void {
    for (const group of this.#groups.values()) group.forget(name)
    this.topics.delete(name)
  }

  /** The group if it exists. A group is created by its first member, and not by this look-up. */
  findGroup(name: string): Group | undefined {
    return this.#groups.get(name)
  }

  groups(): readonly string[] {
    return [...this.#groups.keys()]
  }

  /** The group for a new member. If it has no other member, it uses this member's protocol. */
  obtainGroup(name: string, protocol: GroupProtocol = 'auto'): Group {
    const before = this.#groups.get(name)
    const Protocol = groups[protocol === 'auto' ? this.options.groupProtocol : protocol]
    if (before instanceof Protocol || (before !== undefined && before.members.size > 0)) return before
    const group = new Protocol(name, this.topics, this.connection, before?.offsets)
    this.#groups.set(name, group)
    return group
  }

  /**
   * Writes the record, if it can be written.
   *
   * @param together For each log, the first offset of the records written together with this one; they are fetched together.
   */
  append(record: ProduceRecord, together: Map<Log, number>, now: number = this.scheduler.now()): ProduceResult {
    const bytes = encoded(record, now)
    if (bytes instanceof PublishError) return refused(bytes)
    const log = this.#logFor(record, bytes)
    if (log instanceof PublishError) return refused(log)
    const baseOffset = together.get(log) ?? log.end
    together.set(log, baseOffset)
    const offset = log.append(owned(record, bytes), baseOffset)
    this.written.next({ log, record: log.records.at(-1)! })
    return written(log.topic, log.partition, BigInt(offset))
  }

  /** The log for the record, or the refusal that a broker would give. */
  #logFor(
    { topic: name, partition, timestamp, compression }: ProduceRecord,
    bytes: EncodableRecord,
  ): Log | PublishError {
    const refuse = (reason: string, why: string, retriable = false) =>
      new PublishError(`${reason}: ${why}`, { retriable, topic: name, reason })
    const topic = this.topics.obtain(name)
    if (topic === undefined) return refuse('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic '${name}'`, true)
    const {
      maxRecordBytes = this.options.maxRecordBytes,
      timestampBeforeMax,
      timestampAfterMax,
      compacted,
    } = topic.config
    const size = sizeOf(bytes, compression, maxRecordBytes)
    if (size > maxRecordBytes) return refuse('MESSAGE_TOO_LARGE', `a record of ${size} bytes for topic '${name}'`)
    if (timestamp !== undefined && timestamp !== noTimestamp) {
      const ahead = timestamp - this.scheduler.now()
      if (ahead > (timestampAfterMax ?? Infinity) || -ahead > (timestampBeforeMax ?? Infinity)) {
        return refuse('INVALID_TIMESTAMP', `a record of ${timestamp}, ${ahead} ms ahead, for topic '${name}'`)
      }
    }
    if (compacted && bytes.key === null) {
      return refuse('INVALID_RECORD', `a record without a key for the compacted topic '${name}'`)
    }
    const log = topic.logFor({ key: bytes.key, value: bytes.value, partition })
    if (log !== undefined) return log
    const message = `topic '${name}' has ${topic.partitions} partitions, and no partition ${partition}`
    return new PublishError(message, { retriable: false, topic: name })
  }
}

/** Encodes the record as for a broker. A record that cannot be encoded is refused alone. */
function encoded(record: ProduceRecord, now: number): EncodableRecord | PublishError {
  try {
    return encodable(record, () => now)
  } catch (cause) {
    return notEncodable(record.topic, `topic '${record.topic}'`, cause)
  }
}

/**
 * Copies the caller's bytes, so that it may reuse its buffers. Strings were encoded for this record alone: a second copy would
 * share Node's pool with the first, which then occupies as much memory again while the log is kept.
 */
function owned(record: ProduceRecord, { key, value, headers, timestamp }: EncodableRecord): EncodableRecord {
  return {
    key: typeof record.key === 'string' ? key : copyOf(key),
    value: typeof record.value === 'string' ? value : copyOf(value),
    headers: headers.map(([name, value]): HeaderPair => [name, copyOf(value)]),
    timestamp,
  }
}

/** Kafka's timestamp for none. */
const noTimestamp = -1

/** The bytes of key, value and headers; after compression, if the record is compressed and would be too large otherwise. */
function sizeOf({ key, value, headers }: EncodableRecord, compression: 'gzip' | undefined, limit: number): number {
  let size = (key?.length ?? 0) + (value?.length ?? 0)
  for (const [name, content] of headers) size += Buffer.byteLength(name) + (content?.length ?? 0)
  if (compression === undefined || size <= limit) return size
  const parts = [key, value, ...headers.flat()].filter(part => part !== null)
  return gzipSync(Buffer.concat(parts.map(part => Buffer.from(part as string)))).length
}
