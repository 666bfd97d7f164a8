import type { BatchHeader } from './batch-header.js'
import { readHeaderName } from './header-name.js'
import type { HeaderPair } from './header-pair.js'
import { STRIDE, scanRecords } from './scan-records.js'
import { next, readBigVarlong, readVarint, readVarlong, skipVarint } from './varint.js'

const NOTHING = Buffer.alloc(0)
const NO_RECORDS = Int32Array.of(0)

/**
 * One record batch of the log, whose records are still bytes.
 *
 * Creating it finds the records and checks every length in them. Keys, values, headers and timestamps are read on access, as
 * views of the fetched bytes. So its methods throw only for an invalid index.
 */
export class LazyRecordBatch {
  private constructor(
    private readonly header: BatchHeader,
    /** Reading continues after this offset: the last one of the batch; in a copy, that of the record. */
    readonly lastOffset: number,
    private readonly bytes: Buffer,
    /** See `STRIDE`. */
    private readonly positions: Int32Array,
    readonly count: number,
  ) {}

  /**
   * The batch of the uncompressed records at `from … end`.
   *
   * @throws CorruptBatchError
   */
  static of(header: BatchHeader, bytes: Buffer, from: number, end: number): LazyRecordBatch {
    const lastDelta = header.lastOffset - header.baseOffset
    const positions = scanRecords(bytes, from, end, header.count, lastDelta)
    return new LazyRecordBatch(header, header.lastOffset, bytes, positions, header.count)
  }

  /** The batch without its records: a marker, or an aborted batch. It references no fetched bytes. */
  static withoutRecords(header: BatchHeader): LazyRecordBatch {
    return new LazyRecordBatch(header, header.lastOffset, NOTHING, NO_RECORDS, 0)
  }

  get baseOffset(): number {
    return this.header.baseOffset
  }

  get partitionLeaderEpoch(): number {
    return this.header.partitionLeaderEpoch
  }

  get isTransactional(): boolean {
    return this.header.isTransactional
  }

  get isControl(): boolean {
    return this.header.isControl
  }

  /** -1: the producer is neither idempotent nor transactional. */
  get producerId(): number {
    return this.header.producerId
  }

  /** The size of the uncompressed records. Their memory may hold more: the rest of the fetch response. */
  get byteLength(): number {
    return this.positions[this.count * STRIDE]! - this.positions[0]!
  }

  /** The size of one record in bytes, including its length prefix. */
  sizeOf(index: number): number {
    const place = this.#place(index)
    return this.positions[place + STRIDE]! - this.positions[place]!
  }

  offset(index: number): number {
    return this.header.baseOffset + this.positions[this.#place(index) + 1]!
  }

  /** ms since 1970, or -1. Rounded beyond 2^53, as with nanoseconds. */
  timestamp(index: number): number {
    const at = this.#timestampAt(this.#place(index))
    if (this.header.isLogAppendTime) return this.header.maxTimestamp
    const { baseTimestamp } = this.header
    const delta = readVarlong(this.bytes, at)
    if (Number.isSafeInteger(delta)) return baseTimestamp + delta
    return Number(BigInt(baseTimestamp) + readBigVarlong(this.bytes, at))
  }

  key(index: number): Buffer | null {
    const place = this.#place(index)
    const valueAt = this.positions[place + 2]!
    const timestampEnd = skipVarint(this.bytes, this.#timestampAt(place), valueAt)
    return this.#read(skipVarint(this.bytes, timestampEnd, valueAt), valueAt)
  }

  value(index: number): Buffer | null {
    const place = this.#place(index)
    return this.#read(this.positions[place + 2]!, this.positions[place + STRIDE]!)
  }

  headers(index: number): readonly HeaderPair[] {
    const collected = new HeaderPairs()
    this.scanHeaders(index, collected)
    return collected.pairs
  }

  /** Passes the position of each header's value, without a buffer for it. */
  scanHeaders(index: number, visitor: HeaderVisitor): void {
    const place = this.#place(index)
    const { bytes } = this
    const end = this.positions[place + STRIDE]!
    const valueLength = readVarint(bytes, this.positions[place + 2]!, end)
    const count = readVarint(bytes, next + Math.max(valueLength, 0), end)
    let at = next
    for (let i = 0; i < count; i++) {
      const nameLength = readVarint(bytes, at, end)
      const nameEnd = next + nameLength
      const name = readHeaderName(bytes, next, nameEnd, i)
      const length = readVarint(bytes, nameEnd, end)
      const from = next
      at = from + Math.max(length, 0)
      visitor.header(name, bytes, length < 0 ? -1 : from, at)
    }
  }

  /** The index of the first record at or after `offset`; `count` if there is none. */
  firstIndexAt(offset: number): number {
    const delta = offset - this.header.baseOffset
    if (delta <= 0) return 0
    let low = 0
    let high = this.count
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.positions[middle * STRIDE + 1]! < delta) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Copies one record to its own memory, so that keeping it does not keep the fetch response. */
  copy(index: number): LazyRecordBatch {
    const place = this.#place(index)
    const [from, delta, valueAt, end] = this.positions.subarray(place, place + STRIDE + 1) as unknown as Place
    // Not from Node's pool of small buffers: one buffer keeps the whole pool in memory.
    const own = Buffer.allocUnsafeSlow(end - from)
    this.bytes.copy(own, 0, from, end)
    const positions = Int32Array.of(0, delta, valueAt - from, end - from)
    return new LazyRecordBatch(this.header, this.header.baseOffset + delta, own, positions, 1)
  }

  #place(index: number): number {
    if (index >= 0 && index < this.count) return index * STRIDE
    throw new RangeError(`record ${index} does not exist (the batch has ${this.count} records)`)
  }

  /** After the record's length and its attributes, which have no meaning yet. */
  #timestampAt(place: number): number {
    return skipVarint(this.bytes, this.positions[place]!, this.positions[place + STRIDE]!) + 1
  }

  /** Bytes with a length prefix. */
  #read(at: number, end: number): Buffer | null {
    const length = readVarint(this.bytes, at, end)
    return length < 0 ? null : this.bytes.subarray(next, next + length)
  }
}

/** Gets the position of a header's value; `from` is -1 for null. */
interface HeaderVisitor {
  header(name: string, bytes: Buffer, from: number, end: number): void
}

class HeaderPairs implements HeaderVisitor {
  readonly pairs: HeaderPair[] = []

  header(name: string, bytes: Buffer, from: number, end: number): void {
    this.pairs.push([name, from < 0 ? null : bytes.subarray(from, end)])
  }
}

type Place = readonly [from: number, delta: number, valueAt: number, end: number]
