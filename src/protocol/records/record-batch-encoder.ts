import { gzipSync } from 'node:zlib'
import { crc32c } from './crc32c.js'
import type { HeaderPair } from './header-pair.js'

/** A record as it goes to the wire. */
export interface EncodableRecord {
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly HeaderPair[]
  /** Milliseconds since 1970, or before it; -1 is Kafka's word for none. */
  readonly timestamp: number
}

/** By which a broker knows a batch that it has already: who sent it, and as the how many-th record of the partition. */
export interface ProducerSequence {
  readonly producerId: bigint
  readonly epoch: number
  readonly first: number
}

const headerSize = 61
const crcFrom = 21
/** In a batch's attributes: its records are compressed by gzip. */
const gzipAttribute = 1

/**
 * A record batch of format 2, uncompressed unless `compression` is given. It keeps the order of headers and null headers, which
 * kafkajs's encoder does not, and makes no buffer for each record.
 */
export function encodeRecordBatch(
  records: readonly EncodableRecord[],
  sequence: ProducerSequence,
  compression?: 'gzip',
): Buffer {
  const base = records[0]!.timestamp
  const bodies = records.map((record, index) => bodySize(record, index, deltaOf(record.timestamp, base)))
  const size = bodies.reduce((sum, body) => sum + varintSize(body) + body, headerSize)
  const batch = Buffer.allocUnsafe(size)
  const writer = new Writer(batch, headerSize)
  records.forEach((record, index) => {
    writer.varint(bodies[index]!)
    writer.int8(0)
    writer.varint(deltaOf(record.timestamp, base))
    writer.varint(index)
    writer.bytes(record.key)
    writer.bytes(record.value)
    writer.varint(record.headers.length)
    for (const [name, value] of record.headers) {
      writer.bytes(nameBytes(name))
      writer.bytes(value)
    }
  })
  if (compression === undefined) return sealed(batch, 0, records, sequence)
  const body = gzipSync(batch.subarray(headerSize))
  return sealed(Buffer.concat([batch.subarray(0, headerSize), body]), gzipAttribute, records, sequence)
}

/** The batch with its header and checksum, over records that are written already. */
function sealed(
  batch: Buffer,
  attributes: number,
  records: readonly EncodableRecord[],
  sequence: ProducerSequence,
): Buffer {
  writeHeader(batch, attributes, records, sequence)
  batch.writeUInt32BE(crc32c(batch, crcFrom, batch.length), 17)
  return batch
}

function writeHeader(
  batch: Buffer,
  attributes: number,
  records: readonly EncodableRecord[],
  sequence: ProducerSequence,
): void {
  const base = records[0]!.timestamp
  let latest = base
  for (const { timestamp } of records) if (timestamp > latest) latest = timestamp
  batch.writeBigInt64BE(0n, 0) // The base offset, which the broker assigns.
  batch.writeInt32BE(batch.length - 12, 8)
  batch.writeInt32BE(-1, 12) // The leader's epoch.
  batch.writeInt8(2, 16)
  batch.writeInt16BE(attributes, crcFrom)
  batch.writeInt32BE(records.length - 1, 23)
  batch.writeBigInt64BE(BigInt(base), 27)
  batch.writeBigInt64BE(BigInt(latest), 35)
  batch.writeBigInt64BE(sequence.producerId, 43)
  batch.writeInt16BE(sequence.epoch, 51)
  batch.writeInt32BE(sequence.first, 53)
  batch.writeInt32BE(records.length, 57)
}

function bodySize({ key, value, headers }: EncodableRecord, index: number, delta: number | bigint): number {
  let size = 1 + varintSize(delta) + varintSize(index) + bytesSize(key) + bytesSize(value) + varintSize(headers.length)
  for (const [name, content] of headers) {
    size += bytesSize(nameBytes(name)) + bytesSize(content)
  }
  return size
}

/** How many bytes the record takes in a batch, uncompressed, whose first record has the timestamp `base`. */
export function recordSize(record: EncodableRecord, index: number, base: number): number {
  const body = bodySize(record, index, deltaOf(record.timestamp, base))
  return varintSize(body) + body
}

/** Header names are few, and on every record. */
const names = new Map<string, Buffer>()
const namesKept = 1_000
/** UTF-16 units. Copies of records carry the names that others gave: a thousand of any length would have no bound. */
const longestKept = 64

function nameBytes(name: string): Buffer {
  if (name.length > longestKept) return Buffer.from(name)
  let bytes = names.get(name)
  if (bytes === undefined) {
    bytes = Buffer.from(name)
    if (names.size >= namesKept) names.clear()
    names.set(name, bytes)
  }
  return bytes
}

function bytesSize(bytes: Buffer | null): number {
  return bytes === null ? 1 : varintSize(bytes.length) + bytes.length
}

/** Of a zigzag number. Differences of timestamps can be beyond 32 bits, and beyond what doubles hold exactly. */
function varintSize(value: number | bigint): number {
  if (typeof value === 'bigint') return varlongSize(value)
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

/** Twice this is still exact: up to here a delta needs no bigint. */
const EXACT_DELTA = 2 ** 51

/** From the first timestamp of the batch. A number where that is exact, as it nearly always is. */
function deltaOf(timestamp: number, base: number): number | bigint {
  const delta = timestamp - base
  return Math.abs(delta) <= EXACT_DELTA ? delta : BigInt(timestamp) - BigInt(base)
}

class Writer {
  constructor(
    readonly buffer: Buffer,
    public at: number,
  ) {}

  int8(value: number): void {
    this.buffer[this.at++] = value
  }

  varint(value: number | bigint): void {
    if (typeof value === 'bigint') {
      this.#varlong(value)
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
    bytes.copy(this.buffer, this.at)
    this.at += bytes.length
  }
}
