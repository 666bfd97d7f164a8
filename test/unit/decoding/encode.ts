import { crc32c } from '../../../src/protocol/records/crc32c.js'

// Writes what kafkajs cannot: null header values, header order, gaps, markers, log-append time, wrong checksums.

export interface WrittenRecord {
  /** From the batch's base offset. */
  readonly delta: number
  readonly timestampDelta: bigint
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly (readonly [name: string, value: Buffer | null])[]
}

export interface WrittenBatch {
  readonly baseOffset?: number | bigint
  readonly lastDelta?: number
  readonly leaderEpoch?: number
  readonly codec?: number
  readonly compress?: (bytes: Buffer) => Buffer
  readonly isLogAppendTime?: boolean
  readonly isTransactional?: boolean
  readonly isControl?: boolean
  readonly baseTimestamp?: bigint
  readonly maxTimestamp?: bigint
  readonly producerId?: number
  readonly records?: readonly Partial<WrittenRecord>[]
  /** Instead of the number of records. */
  readonly count?: number
  /** Instead of the encoded records. */
  readonly bytes?: Buffer
  readonly crc?: number
  readonly magic?: number
}

export function encodeBatch(batch: WrittenBatch): Buffer {
  const records = batch.records ?? []
  const plain = batch.bytes ?? Buffer.concat(records.map((record, i) => encodeRecord({ delta: i, ...record })))
  const body = batch.compress ? batch.compress(plain) : plain
  const out = Buffer.alloc(61 + body.length)
  body.copy(out, 61)
  out.writeBigInt64BE(BigInt(batch.baseOffset ?? 0), 0)
  out.writeInt32BE(out.length - 12, 8)
  out.writeInt32BE(batch.leaderEpoch ?? 0, 12)
  out.writeInt8(batch.magic ?? 2, 16)
  const flags = [batch.isLogAppendTime, batch.isTransactional, batch.isControl]
  const attributes = flags.reduce((bits, flag, i) => bits | (flag ? 8 << i : 0), batch.codec ?? 0)
  out.writeInt16BE(attributes, 21)
  out.writeInt32BE(batch.lastDelta ?? records.at(-1)?.delta ?? Math.max(records.length - 1, 0), 23)
  out.writeBigInt64BE(batch.baseTimestamp ?? 0n, 27)
  out.writeBigInt64BE(batch.maxTimestamp ?? 0n, 35)
  out.writeBigInt64BE(BigInt(batch.producerId ?? -1), 43)
  out.writeInt32BE(batch.count ?? records.length, 57)
  out.writeUInt32BE(batch.crc ?? crc32c(out, 21, out.length), 17)
  return out
}

export function encodeRecord(record: Partial<WrittenRecord>): Buffer {
  const { delta = 0, timestampDelta = 0n, key = null, value = null, headers = [] } = record
  const body = Buffer.concat([
    Buffer.from([0]),
    varint(timestampDelta),
    varint(delta),
    prefixed(key),
    prefixed(value),
    varint(headers.length),
    ...headers.flatMap(([name, header]) => [prefixed(Buffer.from(name)), prefixed(header)]),
  ])
  return Buffer.concat([varint(body.length), body])
}

export function encodeMarker(type: 'abort' | 'commit', batch: WrittenBatch): Buffer {
  const record = { key: Buffer.from([0, 0, 0, type === 'abort' ? 0 : 1]), value: Buffer.alloc(6) }
  return encodeBatch({ isTransactional: true, isControl: true, records: [record], ...batch })
}

export function varint(value: number | bigint): Buffer {
  const signed = BigInt(value)
  let rest = BigInt.asUintN(64, (signed << 1n) ^ (signed >> 63n))
  const bytes: number[] = []
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
  return Buffer.from([...bytes, Number(rest)])
}

const prefixed = (bytes: Buffer | null) => (bytes ? Buffer.concat([varint(bytes.length), bytes]) : varint(-1))

export interface WrittenPartition {
  readonly partition?: number
  readonly errorCode?: number
  readonly highWatermark?: bigint
  readonly lastStableOffset?: bigint
  readonly logStartOffset?: bigint
  readonly aborted?: readonly { readonly producerId: number; readonly firstOffset: number }[]
  readonly preferredReadReplica?: number
  /** Null is written as such. */
  readonly records: Buffer | null
}

export interface WrittenResponse {
  readonly throttleTime?: number
  readonly errorCode?: number
  readonly sessionId?: number
  readonly topics: readonly { readonly topic: string; readonly partitions: readonly WrittenPartition[] }[]
}

export function encodeFetchResponse(version: number, response: WrittenResponse): Buffer {
  const head = [int32(response.throttleTime ?? 0)]
  if (version >= 7) head.push(int16(response.errorCode ?? 0), int32(response.sessionId ?? 0))
  return Buffer.concat([
    ...head,
    int32(response.topics.length),
    ...response.topics.flatMap(({ topic, partitions }) => [
      int16(Buffer.byteLength(topic)),
      Buffer.from(topic),
      int32(partitions.length),
      ...partitions.map(partition => encodePartition(version, partition)),
    ]),
  ])
}

function encodePartition(version: number, partition: WrittenPartition): Buffer {
  const { aborted = [], records } = partition
  return Buffer.concat([
    int32(partition.partition ?? 0),
    int16(partition.errorCode ?? 0),
    int64(partition.highWatermark ?? 0n),
    int64(partition.lastStableOffset ?? 0n),
    ...(version >= 5 ? [int64(partition.logStartOffset ?? 0n)] : []),
    int32(aborted.length),
    ...aborted.flatMap(({ producerId, firstOffset }) => [int64(BigInt(producerId)), int64(BigInt(firstOffset))]),
    ...(version >= 11 ? [int32(partition.preferredReadReplica ?? -1)] : []),
    int32(records?.length ?? -1),
    records ?? Buffer.alloc(0),
  ])
}

/** A response with one partition 0 of the topic `orders`. */
export const encodeOnePartition = (version: number, partition: WrittenPartition) =>
  encodeFetchResponse(version, { topics: [{ topic: 'orders', partitions: [partition] }] })

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

function int64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(value)
  return bytes
}
