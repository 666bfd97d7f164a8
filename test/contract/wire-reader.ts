import { once } from 'node:events'
import { createConnection } from 'node:net'
import { gunzipSync } from 'node:zlib'
import type { HeaderPair } from 'rxmika'
import type { StoredRecord } from './backend'

/**
 * Reads all records of a partition from the broker's bytes, because kafkajs loses the order of headers, and this library
 * is under test. Only for uncompressed batches, without SASL or TLS.
 */
export async function readPartition(
  leader: { host: string; port: number },
  topic: string,
  partition: number,
): Promise<StoredRecord[]> {
  const socket = createConnection(leader)
  const records: StoredRecord[] = []
  try {
    await once(socket, 'connect')
    for (let offset = 0n, end = 1n; offset < end; ) {
      socket.write(fetchRequest(topic, partition, offset))
      const fetched = parseFetchResponse(await receive(socket), partition)
      records.push(...fetched.records.filter(record => record.offset >= offset))
      end = fetched.highWatermark
      offset = fetched.nextOffset ?? end
    }
  } finally {
    socket.destroy()
  }
  return records
}

async function receive(socket: NodeJS.ReadableStream): Promise<Buffer> {
  let bytes = Buffer.alloc(0)
  for (;;) {
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    bytes = Buffer.concat([bytes, chunk])
    if (bytes.length >= 4 && bytes.length >= 4 + bytes.readInt32BE(0)) return bytes.subarray(4)
  }
}

const int = (bytes: 1 | 2 | 4, value: number) => {
  const buffer = Buffer.alloc(bytes)
  buffer.writeIntBE(value, 0, bytes)
  return buffer
}

const long = (value: bigint) => {
  const buffer = Buffer.alloc(8)
  buffer.writeBigInt64BE(value)
  return buffer
}

const text = (value: string) => Buffer.concat([int(2, Buffer.byteLength(value)), Buffer.from(value)])

/** Fetch, version 4. */
function fetchRequest(topic: string, partition: number, offset: bigint): Buffer {
  const atMost = int(4, 8 * 1024 * 1024)
  const body = Buffer.concat([
    ...[int(2, 1), int(2, 4), int(4, 0), text('contract')],
    ...[int(4, -1), int(4, 0), int(4, 0), atMost, int(1, 0)],
    ...[int(4, 1), text(topic), int(4, 1), int(4, partition), long(offset), atMost],
  ])
  return Buffer.concat([int(4, body.length), body])
}

class Bytes {
  at = 0

  constructor(readonly buffer: Buffer) {}

  get left(): number {
    return this.buffer.length - this.at
  }

  int(bytes: 1 | 2 | 4): number {
    this.at += bytes
    return this.buffer.readIntBE(this.at - bytes, bytes)
  }

  long(): bigint {
    this.at += 8
    return this.buffer.readBigInt64BE(this.at - 8)
  }

  take(length: number): Buffer {
    this.at += length
    return this.buffer.subarray(this.at - length, this.at)
  }

  varint(): bigint {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = BigInt(this.int(1)) & 0xffn
      value |= (byte & 0x7fn) << shift
      if (byte < 0x80n) return (value >> 1n) ^ -(value & 1n)
    }
  }

  bytes(): Buffer | null {
    const length = Number(this.varint())
    return length < 0 ? null : this.take(length)
  }
}

function parseFetchResponse(response: Buffer, partition: number) {
  const bytes = new Bytes(response)
  bytes.take(4 + 4 + 4)
  bytes.take(bytes.int(2))
  bytes.take(4 + 4)
  const error = bytes.int(2)
  if (error !== 0) throw new Error(`the broker answered the fetch of partition ${partition} with error ${error}`)
  const highWatermark = bytes.long()
  bytes.take(8)
  bytes.take(Math.max(0, bytes.int(4)) * 16)
  const batches = new Bytes(bytes.take(Math.max(0, bytes.int(4))))
  const records: StoredRecord[] = []
  let nextOffset: bigint | undefined
  while (batches.left >= 12) {
    const baseOffset = batches.long()
    const length = batches.int(4)
    if (batches.left < length) break
    const batch = new Bytes(batches.take(length))
    batch.take(4 + 1 + 4)
    const attributes = batch.int(2)
    const codec = attributes & 7
    if (codec > 1) throw new Error(`a batch compressed by codec ${codec} cannot be read here`)
    nextOffset = baseOffset + BigInt(batch.int(4)) + 1n
    const firstTimestamp = batch.long()
    batch.take(8 + 8 + 2 + 4)
    const count = batch.int(4)
    const body = codec === 1 ? new Bytes(gunzipSync(batch.take(batch.left))) : batch
    for (let at = 0; at < count; at++) {
      records.push({ partition, ...parseRecord(new Bytes(body.bytes()!), baseOffset, firstTimestamp) })
    }
  }
  return { records, highWatermark, nextOffset }
}

function parseRecord(record: Bytes, baseOffset: bigint, firstTimestamp: bigint): Omit<StoredRecord, 'partition'> {
  record.take(1)
  const timestamp = Number(firstTimestamp + record.varint())
  const offset = baseOffset + record.varint()
  const key = record.bytes()
  const value = record.bytes()
  const headers: HeaderPair[] = []
  for (let count = record.varint(); count > 0n; count--) headers.push([record.bytes()!.toString(), record.bytes()])
  return { offset, timestamp, key, value, headers }
}
