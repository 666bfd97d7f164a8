import { Subject } from 'rxjs'
import type { EncodableRecord } from '../../encodable-record.js'
import type { HeaderPair } from '../../record-batch.js'
import { LogBatch } from './record-batch.js'

/** A record in a partition's log. */
export interface LogRecord {
  readonly offset: number
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly HeaderPair[]
  readonly byteLength: number
  /** The offset of the first record written together with it. A fetch returns records written together as a whole. */
  readonly baseOffset: number
}

export interface LogRead {
  readonly batch: LogBatch
  /** The index of the first record at or after the position. */
  readonly from: number
}

/** The records of one partition in offset order, with gaps for markers and compacted records. */
export class Log {
  /** Emits after every change that waiting fetches must know. */
  readonly changed = new Subject<void>()
  #records: LogRecord[] = []
  #start = 0
  #end = 0

  constructor(
    readonly topic: string,
    readonly partition: number,
  ) {}

  get records(): readonly LogRecord[] {
    return this.#records
  }

  /** The first readable offset. */
  get start(): number {
    return this.#start
  }

  /** The offset that the next record will get. */
  get end(): number {
    return this.#end
  }

  /** @param record Its bytes belong to the log from now on. */
  append({ timestamp, key, value, headers }: EncodableRecord, baseOffset: number): number {
    const offset = this.#end++
    const byteLength = recordBytes(key, value, headers)
    this.#records.push({ offset, timestamp, key, value, headers, byteLength, baseOffset })
    this.changed.next()
    return offset
  }

  /** Writes a control record, as transactions do. It takes an offset and is never delivered. */
  appendMarker(): number {
    const offset = this.#end++
    this.changed.next()
    return offset
  }

  compact(keep: (record: LogRecord) => boolean): void {
    this.#records = this.#records.filter(keep)
  }

  /** Removes the offsets below `offset`, as retention does. */
  deleteBefore(offset: number): void {
    this.#start = Math.min(Math.max(offset, this.#start), this.#end)
    this.#records = this.#records.slice(this.#indexOf(this.#start))
    this.changed.next()
  }

  inRange(offset: number): boolean {
    return offset >= this.#start && offset <= this.#end
  }

  /** The offset of the first record that is not older, or the end if there is none. */
  offsetAt(timestamp: number): number {
    return this.#records.find(record => record.timestamp >= timestamp)?.offset ?? this.#end
  }

  /**
   * Up to `max` records at or after `position`. `lastOffset` reaches to the next record or to the end of the log, so that a
   * reader's position passes markers and gaps. With `whole`, earlier records written together with the first one are included,
   * as in a real fetch, and the reader has to skip them.
   */
  read(position: number, max: number, whole: boolean): LogRead {
    const first = this.#indexOf(position)
    let start = first
    const baseOffset = this.#records[first]?.baseOffset
    while (whole && start > 0 && first - start < max && this.#records[start - 1]!.baseOffset === baseOffset) start--
    const next = this.#records[first + max]
    const batch = new LogBatch(this.#records.slice(start, first + max), (next?.offset ?? this.#end) - 1)
    return { batch, from: first - start }
  }

  /** The index of the first record at or after the offset. */
  #indexOf(offset: number): number {
    let low = 0
    let high = this.#records.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#records[middle]!.offset < offset) low = middle + 1
      else high = middle
    }
    return low
  }
}

function recordBytes(key: Buffer | null, value: Buffer | null, headers: readonly HeaderPair[]): number {
  let length = (key?.length ?? 0) + (value?.length ?? 0)
  for (const [name, value] of headers) length += Buffer.byteLength(name) + (value?.length ?? 0)
  return length
}
