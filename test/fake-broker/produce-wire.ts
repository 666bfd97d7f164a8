import { gunzipSync } from 'node:zlib'
import { crc32c } from '../../src/protocol/records/crc32c'
import type { SentBatch } from './replica'

export interface SentPartition {
  readonly topic: string
  readonly partition: number
  readonly batch: SentBatch
}

export interface PartitionAnswer {
  readonly topic: string
  readonly partition: number
  readonly code: number
  readonly base: number
}

/** Reads bytes from its present position. */
class Cursor {
  at = 0

  constructor(readonly bytes: Buffer) {}

  skip(count: number): number {
    const start = this.at
    this.at += count
    return start
  }

  int16(): number {
    return this.bytes.readInt16BE(this.skip(2))
  }

  int32(): number {
    return this.bytes.readInt32BE(this.skip(4))
  }

  text(length: number): string {
    const start = this.skip(length)
    return this.bytes.toString('utf8', start, this.at)
  }

  part(length: number): Buffer {
    const start = this.skip(length)
    return this.bytes.subarray(start, this.at)
  }

  varint(): number {
    let raw = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.bytes[this.skip(1)]!
      raw |= BigInt(byte & 127) << shift
      if (byte < 128) return Number((raw >> 1n) ^ -(raw & 1n))
    }
  }

  field(): string | null {
    const length = this.varint()
    return length === -1 ? null : this.text(length)
  }

  end(what: string): void {
    if (this.at !== this.bytes.length) throw new Error(`${this.bytes.length - this.at} bytes are left of ${what}`)
  }
}

/** Decodes a Produce request of versions 3 to 8 by handwritten code, so that it does not share faults with the encoder. */
export function readProduceRequest(bytes: Buffer): SentPartition[] {
  const cursor = new Cursor(bytes)
  if (cursor.int16() !== -1) throw new Error('a transactional id was not expected')
  if (cursor.int16() !== -1) throw new Error('acks must be -1')
  cursor.int32()
  const sent: SentPartition[] = []
  for (let topics = cursor.int32(); topics > 0; topics--) {
    const topic = cursor.text(cursor.int16())
    for (let partitions = cursor.int32(); partitions > 0; partitions--) {
      const partition = cursor.int32()
      sent.push({ topic, partition, batch: readBatch(cursor.part(cursor.int32())) })
    }
  }
  cursor.end('a Produce request')
  return sent
}

export function produceAnswer(answers: readonly PartitionAnswer[], version: number): Buffer {
  const parts: Buffer[] = [int32(answers.length)]
  for (const { topic, partition, code, base } of answers) {
    const name = Buffer.from(topic)
    const body = Buffer.alloc(4 + 2 + 8 + 8 + (version >= 5 ? 8 : 0))
    body.writeInt32BE(partition, 0)
    body.writeInt16BE(code, 4)
    body.writeBigInt64BE(BigInt(base), 6)
    body.writeBigInt64BE(-1n, 14)
    if (version >= 5) body.writeBigInt64BE(0n, 22)
    const length = Buffer.alloc(2)
    length.writeInt16BE(name.length)
    parts.push(length, name, int32(1), body)
  }
  parts.push(int32(0))
  return Buffer.concat(parts)
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

function readBatch(bytes: Buffer): SentBatch {
  if (bytes.readInt32BE(8) !== bytes.length - 12) throw new Error('the length of a batch is wrong')
  if (bytes[16] !== 2) throw new Error('a batch has another format than 2')
  if (bytes.readUInt32BE(17) !== crc32c(bytes, 21, bytes.length)) throw new Error('the CRC of a batch is wrong')
  const count = bytes.readInt32BE(57)
  if (bytes.readInt32BE(23) !== count - 1) throw new Error('the last offset of a batch does not fit its count')
  // The lowest three bits of the attributes name the codec; 1 is gzip.
  const cursor = new Cursor((bytes.readInt16BE(21) & 7) === 1 ? gunzipSync(bytes.subarray(61)) : bytes.subarray(61))
  const values: (string | null)[] = []
  for (let record = 0; record < count; record++) {
    const size = cursor.varint()
    const end = cursor.at + size
    cursor.skip(1)
    cursor.varint()
    if (cursor.varint() !== record) throw new Error('the offsets in a batch are not in order')
    cursor.field()
    values.push(cursor.field())
    for (let headers = cursor.varint(); headers > 0; headers--) [cursor.field(), cursor.field()]
    if (cursor.at !== end) throw new Error('the size of a record is wrong')
  }
  cursor.end('a batch')
  return {
    producerId: bytes.readBigInt64BE(43),
    epoch: bytes.readInt16BE(51),
    first: bytes.readInt32BE(53),
    count,
    values,
  }
}
