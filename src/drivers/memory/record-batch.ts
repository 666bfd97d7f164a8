import type { HeaderPair, RecordBatch } from '../../record-batch.js'
import type { LogRecord } from './log.js'

/** The records of one fetch. Bytes are copied when they are read, so that a reader cannot change the log. */
export class LogBatch implements RecordBatch {
  readonly byteLength: number

  constructor(
    readonly records: readonly LogRecord[],
    readonly lastOffset: number,
  ) {
    this.byteLength = records.reduce((sum, record) => sum + record.byteLength, 0)
  }

  get count(): number {
    return this.records.length
  }

  offset(index: number): number {
    return this.#at(index).offset
  }

  timestamp(index: number): number {
    return this.#at(index).timestamp
  }

  key(index: number): Buffer | null {
    return copyOf(this.#at(index).key)
  }

  value(index: number): Buffer | null {
    return copyOf(this.#at(index).value)
  }

  headers(index: number): readonly HeaderPair[] {
    return this.#at(index).headers.map(([name, value]): HeaderPair => [name, copyOf(value)])
  }

  copy(index: number): RecordBatch {
    const record = this.#at(index)
    return new LogBatch([record], record.offset)
  }

  #at(index: number): LogRecord {
    const record = this.records[index]
    if (record === undefined)
      throw new RangeError(`record ${index} does not exist (the batch has ${this.count} records)`)
    return record
  }
}

export function copyOf(bytes: Buffer | null): Buffer | null {
  return bytes === null ? null : Buffer.from(bytes)
}
