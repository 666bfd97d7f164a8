import { partitionOfKey } from '../../partitioner.js'
import type { PublishRecord } from '../../publish.js'
import { Log } from './log.js'

/** What a topic of the in-process broker refuses, like the configuration of a topic in Kafka. */
export interface TopicConfig {
  /** A record with more bytes in key, value and headers is refused for good; default: the broker's `maxRecordBytes`. */
  readonly maxRecordBytes?: number | undefined
  /** A timestamp further in the future is refused for good, ms; default: none is. In Kafka 4 the default is one hour. */
  readonly timestampAfterMax?: number | undefined
  /** A timestamp further in the past is refused for good, ms; default, as in Kafka: none is. */
  readonly timestampBeforeMax?: number | undefined
  /** Whether a record without a key is refused for good; default false. */
  readonly compacted?: boolean | undefined
}

export class Topic {
  readonly logs: readonly Log[]
  #turn = 0

  constructor(
    readonly name: string,
    partitions: number,
    readonly config: TopicConfig = {},
  ) {
    this.logs = Array.from({ length: partitions }, (_, partition) => new Log(name, partition))
  }

  get partitions(): number {
    return this.logs.length
  }

  /** The log for a record: by its partition, by its key, or in turn. Undefined: its partition does not exist. */
  logFor(record: Omit<PublishRecord, 'topic'>): Log | undefined {
    if (record.partition !== undefined) return this.logs[record.partition]
    if (record.key !== null && record.key !== undefined) {
      const key = typeof record.key === 'string' ? Buffer.from(record.key) : record.key
      return this.logs[partitionOfKey(key, this.partitions)]
    }
    return this.logs[this.#turn++ % this.partitions]
  }
}
