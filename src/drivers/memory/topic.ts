import { partitionOfKey } from '../../partitioner.js'
import type { PublishRecord } from '../../publish.js'
import { Log } from './log.js'

export class Topic {
  readonly logs: readonly Log[]
  #turn = 0

  constructor(
    readonly name: string,
    partitions: number,
  ) {
    this.logs = Array.from({ length: partitions }, (_, partition) => new Log(name, partition))
  }

  get partitions(): number {
    return this.logs.length
  }

  /** Where the record goes: to its own partition, by its key, or in turns. Undefined: it names a partition there is not. */
  logFor(record: Omit<PublishRecord, 'topic'>): Log | undefined {
    if (record.partition !== undefined) return this.logs[record.partition]
    if (record.key !== null && record.key !== undefined) {
      const key = typeof record.key === 'string' ? Buffer.from(record.key) : record.key
      return this.logs[partitionOfKey(key, this.partitions)]
    }
    return this.logs[this.#turn++ % this.partitions]
  }
}
