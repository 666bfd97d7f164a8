import { gzipSync } from 'node:zlib'
import { type SchedulerLike, Subject } from 'rxjs'
import type { CommitPoint } from '../../commit-point.js'
import { PublishError } from '../../errors.js'
import { type ProduceResult, refused, written } from '../../produce-result.js'
import { headerPairs, type ProduceRecord } from '../../publish.js'
import { Connection } from './connection.js'
import { Faults } from './faults.js'
import { Group } from './group.js'
import { Log, type LogRecord } from './log.js'
import { type Partitions, Topics } from './topics.js'

export interface ClusterOptions {
  readonly partitions: Partitions
  readonly latency: number
  readonly scheduler: SchedulerLike
  readonly autoCreate: boolean
  readonly maxBatchRecords: number
  readonly maxRecordBytes: number
}

/** What the drivers of one broker share: topics, groups, and the way to them. */
export class Cluster {
  readonly topics: Topics
  readonly connection: Connection
  readonly faults = new Faults()
  /** Every record, as it is written. */
  readonly written = new Subject<{ readonly log: Log; readonly record: LogRecord }>()
  /** What groups accept. */
  readonly commits = new Subject<{ readonly group: string; readonly points: readonly CommitPoint[] }>()
  readonly #groups = new Map<string, Group>()

  constructor(readonly options: ClusterOptions) {
    this.topics = new Topics(options.partitions, options.autoCreate)
    this.connection = new Connection(options.scheduler, options.latency)
  }

  get scheduler(): SchedulerLike {
    return this.options.scheduler
  }

  /** The group as far as it is known: one that nobody has joined is not made by asking. */
  findGroup(name: string): Group | undefined {
    return this.#groups.get(name)
  }

  groups(): readonly string[] {
    return [...this.#groups.keys()]
  }

  obtainGroup(name: string): Group {
    const group = this.#groups.get(name) ?? new Group(name, this.topics, this.connection)
    this.#groups.set(name, group)
    return group
  }

  /** Writes what can be written; records that are written together to one partition stand together. */
  append(records: readonly ProduceRecord[], now: number = this.scheduler.now()): ProduceResult[] {
    const baseOffsets = new Map<Log, number>()
    return records.map(record => {
      const log = this.#logFor(record)
      if (!(log instanceof Log)) return refused(log)
      const baseOffset = baseOffsets.get(log) ?? log.end
      baseOffsets.set(log, baseOffset)
      const offset = log.append(record, record.timestamp ?? now, baseOffset)
      this.written.next({ log, record: log.records.at(-1)! })
      return written(log.topic, log.partition, BigInt(offset))
    })
  }

  /** The log that the record goes to, or why it is refused, as a broker has it. */
  #logFor(record: ProduceRecord): Log | PublishError {
    const { topic: name, key, timestamp } = record
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
    const size = sizeOf(record, maxRecordBytes)
    if (size > maxRecordBytes) return refuse('MESSAGE_TOO_LARGE', `a record of ${size} bytes for topic '${name}'`)
    if (timestamp !== undefined && timestamp !== noTimestamp) {
      const ahead = timestamp - this.scheduler.now()
      if (ahead > (timestampAfterMax ?? Infinity) || -ahead > (timestampBeforeMax ?? Infinity)) {
        return refuse('INVALID_TIMESTAMP', `a record of ${timestamp}, ${ahead} ms ahead, for topic '${name}'`)
      }
    }
    if (compacted && (key === null || key === undefined)) {
      return refuse('INVALID_RECORD', `a record without a key for the compacted topic '${name}'`)
    }
    const log = topic.logFor(record)
    if (log !== undefined) return log
    const message = `topic '${name}' has ${topic.partitions} partitions, and no partition ${record.partition}`
    return new PublishError(message, { retriable: false, topic: name })
  }
}

/** Kafka's word for none. */
const noTimestamp = -1

/** Bytes of key, value and headers; compressed, if the record is and they are too many otherwise. */
function sizeOf({ key, value, headers, compression }: ProduceRecord, limit: number): number {
  let size = (key == null ? 0 : Buffer.byteLength(key)) + (value == null ? 0 : Buffer.byteLength(value))
  for (const [name, content] of headerPairs(headers)) size += Buffer.byteLength(name) + (content?.length ?? 0)
  if (compression === undefined || size <= limit) return size
  const parts = [key, value, ...headerPairs(headers).flat()].filter(part => part !== null && part !== undefined)
  return gzipSync(Buffer.concat(parts.map(part => Buffer.from(part as string)))).length
}
