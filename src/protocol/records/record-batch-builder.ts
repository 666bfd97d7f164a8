import type { BatchHeader } from './batch-header.js'
import type { HeaderPair } from './header-pair.js'
import { LazyRecordBatch } from './lazy-record-batch.js'

/** A record to encode. */
export interface EncodableRecord {
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly HeaderPair[]
  /** ms since 1970. Kafka's -1 means none; other negative values lie before 1970. */
  readonly timestamp: number
}

/** The encoded records of one batch. The producer and the sequence are added later. */
export interface BatchBody {
  readonly count: number
  /** Of the first record. */
  readonly baseTimestamp: number
  readonly maxTimestamp: number
  /** The records, after room for the batch's header (`batchHeaderBytes`). */
  readonly bytes: Buffer
}

/** The size of the batch's header, which is part of the batch's size. */
export const batchHeaderBytes = 61

const firstRoom = 256 * 1024
/** A buffer of at most this size is reused for the next batch. */
const maxSpare = 1024 * 1024

/** An unused buffer. Reused, because every page of a new one would have to be touched first. */
let spare: Buffer | undefined

/**
 * Encodes records one after the other, and keeps only their bytes. Header pairs that are identical to those of the previous
 * record are copied from its bytes: copies of failed records share most of them.
 */
export class RecordBatchBuilder {
  #buffer: Buffer
  #at = batchHeaderBytes
  #count = 0
  #base = 0
  #latest = 0
  /** The headers of the previous record. */
  #pairs: readonly HeaderPair[] = []
  /** The start of each of these headers, and the end of the last one. */
  readonly #starts: number[] = []

  constructor() {
    this.#buffer = spare ?? Buffer.allocUnsafeSlow(firstRoom)
    spare = undefined
  }

  get count(): number {
    return this.#count
  }

  /** The size of the batch in bytes if this record were added. */
  sizeWith(record: EncodableRecord): number {
    const body = this.#bodySize(record, this.#deltaOf(record.timestamp))
    return this.#at + varintSize(body) + body
  }

  /** Adds a record. Returns false and adds nothing if the batch would be larger than `maxSize`. */
  add(record: EncodableRecord, maxSize = Number.POSITIVE_INFINITY): boolean {
    const { key, value, headers, timestamp } = record
    const delta = this.#deltaOf(timestamp)
    const body = this.#bodySize(record, delta)
    const size = this.#at + varintSize(body) + body
    if (size > maxSize) return false
    this.#makeRoom(size)
    const writer = new Writer(this.#buffer, this.#at)
    writer.varint(body)
    // Attributes, which have no meaning yet.
    writer.byte(0)
    writer.varint(delta)
    writer.varint(this.#count)
    writer.bytes(key)
    writer.bytes(value)
    writer.varint(headers.length)
    this.#writeHeaders(writer, headers)
    if (this.#count === 0) this.#base = this.#latest = timestamp
    else if (timestamp > this.#latest) this.#latest = timestamp
    this.#pairs = headers
    this.#at = writer.at
    this.#count++
    return true
  }

  /** The added records, in their own memory; undefined if there are none. The builder cannot be used after that. */
  build(): BatchBody | undefined {
    const buffer = this.#buffer
    if (buffer.length <= maxSpare) spare = buffer
    if (this.#count === 0) return undefined
    const bytes = Buffer.allocUnsafeSlow(this.#at)
    buffer.copy(bytes, 0, 0, this.#at)
    return { count: this.#count, baseTimestamp: this.#base, maxTimestamp: this.#latest, bytes }
  }

  #makeRoom(size: number): void {
    if (size <= this.#buffer.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(size, 2 * this.#buffer.length))
    this.#buffer.copy(larger, 0, 0, this.#at)
    this.#buffer = larger
  }

  /** A number if that is exact, which it nearly always is. */
  #deltaOf(timestamp: number): number | bigint {
    if (this.#count === 0) return 0
    const delta = timestamp - this.#base
    return Math.abs(delta) <= exactDelta ? delta : BigInt(timestamp) - BigInt(this.#base)
  }

  #bodySize({ key, value, headers }: EncodableRecord, delta: number | bigint): number {
    const starts = this.#starts
    let size =
      1 + varintSize(delta) + varintSize(this.#count) + bytesSize(key) + bytesSize(value) + varintSize(headers.length)
    for (let at = 0; at < headers.length; at++) {
      const pair = headers[at]!
      if (pair === this.#pairs[at]) size += starts[at + 1]! - starts[at]!
      else size += bytesSize(nameBytes(pair[0], at)) + bytesSize(pair[1])
    }
    return size
  }

  #writeHeaders(writer: Writer, headers: readonly HeaderPair[]): void {
    const before = this.#pairs
    const starts = this.#starts
    let at = 0
    while (at < headers.length) {
      const pair = headers[at]!
      if (pair !== before[at]) {
        starts[at] = writer.at
        writer.bytes(nameBytes(pair[0], at))
        writer.bytes(pair[1])
        at++
        continue
      }
      const from = starts[at]!
      const shift = writer.at - from
      const first = at
      while (at < headers.length && headers[at] === before[at]) at++
      const end = starts[at]!
      for (let copied = first; copied < at; copied++) starts[copied] = starts[copied]! + shift
      writer.again(from, end)
    }
    starts[at] = writer.at
  }
}

/** The records of an encoded body, as views of its bytes. For making batches of some of them. */
export function recordsOf({ count, baseTimestamp, maxTimestamp, bytes }: BatchBody): readonly EncodableRecord[] {
  const header: BatchHeader = {
    ...{ baseOffset: 0, lastOffset: count - 1, count, partitionLeaderEpoch: -1, producerId: -1, crc: 0, codec: 0 },
    ...{ baseTimestamp, maxTimestamp, isLogAppendTime: false, isTransactional: false, isControl: false },
  }
  const batch = LazyRecordBatch.of(header, bytes, batchHeaderBytes, bytes.length)
  return Array.from({ length: count }, (_, index) => ({
    key: batch.key(index),
    value: batch.value(index),
    headers: batch.headers(index),
    timestamp: batch.timestamp(index),
  }))
}

// ── Header names ───────────────────────────────────────────────────────────────────────────────────────────────────

/** The bytes of header names, which are few and used by every record. */
const names = new Map<string, Buffer>()
const namesKept = 1_000
/** In UTF-16 units. Longer names are not kept: copies of records have the names that others chose, so a limit is needed. */
const longestKept = 64
/** The last name at each position of a record: most records of a topic have the same names in the same order. */
const lastNames: string[] = []
const lastBytes: Buffer[] = []
const placesKept = 32

function nameBytes(name: string, place: number): Buffer {
  if (lastNames[place] === name) return lastBytes[place]!
  const bytes = knownBytes(name)
  // Positions in order, so that the arrays have no holes.
  if (place < placesKept && place <= lastNames.length && name.length <= longestKept) {
    lastNames[place] = name
    lastBytes[place] = bytes
  }
  return bytes
}

function knownBytes(name: string): Buffer {
  if (name.length > longestKept) return Buffer.from(name)
  let bytes = names.get(name)
  if (bytes === undefined) {
    bytes = Buffer.from(name)
    if (names.size >= namesKept) names.clear()
    names.set(name, bytes)
  }
  return bytes
}

// ── Numbers ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Up to twice this number, doubles are exact. Up to this number, a delta needs no bigint. */
const exactDelta = 2 ** 51

function bytesSize(bytes: Buffer | null): number {
  return bytes === null ? 1 : varintSize(bytes.length) + bytes.length
}

/** The size of a zigzag number. Differences of timestamps may exceed 32 bits, and what doubles hold exactly. */
function varintSize(value: number | bigint): number {
  if (typeof value === 'bigint') return varlongSize(value)
  // Most are lengths and indexes: avoid a loop and divisions.
  if (value >= 0 && value < 0x4000_0000) {
    return value < 0x40 ? 1 : value < 0x2000 ? 2 : value < 0x10_0000 ? 3 : value < 0x800_0000 ? 4 : 5
  }
  let rest = value < 0 ? -value * 2 - 1 : value * 2
  let size = 1
  for (; rest >= 128; rest = Math.floor(rest / 128)) size++
  return size
}

function varlongSize(value: bigint): number {
  let size = 1
  for (let rest = zigzag(value); rest >= 128n; rest >>= 7n) size++
  return size
}

function zigzag(value: bigint): bigint {
  return BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
}

class Writer {
  constructor(
    readonly buffer: Buffer,
    public at: number,
  ) {}

  byte(value: number): void {
    this.buffer[this.at++] = value
  }

  varint(value: number | bigint): void {
    if (typeof value === 'bigint') {
      this.#varlong(value)
      return
    }
    if (value >= 0 && value < 0x4000_0000) {
      let rest = value << 1
      for (; rest >= 128; rest >>>= 7) this.buffer[this.at++] = (rest & 127) | 128
      this.buffer[this.at++] = rest
      return
    }
    let rest = value < 0 ? -value * 2 - 1 : value * 2
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.buffer[this.at++] = (rest % 128) + 128
    this.buffer[this.at++] = rest
  }

  #varlong(value: bigint): void {
    let rest = zigzag(value)
    for (; rest >= 128n; rest >>= 7n) this.buffer[this.at++] = Number(rest & 127n) | 128
    this.buffer[this.at++] = Number(rest)
  }

  bytes(bytes: Buffer | null): void {
    this.varint(bytes === null ? -1 : bytes.length)
    if (bytes === null) return
    this.buffer.set(bytes, this.at)
    this.at += bytes.length
  }

  /** Copies the bytes from `from` up to `end` to the current position. */
  again(from: number, end: number): void {
    this.buffer.copyWithin(this.at, from, end)
    this.at += end - from
  }
}
