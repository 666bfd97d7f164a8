import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { crc32c } from '../../src/protocol/records/crc32c.js'
import { CorruptBatchError, UnsupportedCodecError } from '../../src/protocol/records/errors.js'
import type { LazyRecordBatch } from '../../src/protocol/records/lazy-record-batch.js'
import { uncompressSnappy } from '../../src/protocol/records/snappy.js'
import { MalformedMessageError } from '../../src/protocol/wire/malformed-message-error.js'
import type { HeaderPair } from '../../src/record-batch.js'
import { snappy, unsnappy, xerial } from '../unit/decoding/compress.js'
import {
  encodeBatch,
  encodeFetchResponse,
  encodeMarker,
  encodeOnePartition,
  type WrittenBatch,
  type WrittenRecord,
} from '../unit/decoding/encode.js'
import {
  decodeByKafkaJS,
  encodeKafkaJSBatch,
  encodeKafkaJSRecord,
  kafkaJSCrc32c,
  Long,
} from '../unit/decoding/kafkajs-internals.js'
import { readFetch } from '../unit/decoding/read-fetch.js'

const buffer = (maxLength: number) => fc.uint8Array({ maxLength }).map(array => Buffer.from(array))
// Lengths of one, two and three bytes as varints.
const bytes = fc.oneof({ weight: 8, arbitrary: buffer(80) }, { weight: 1, arbitrary: buffer(9000) })
const nullable = fc.option(bytes)
const headerName = fc.oneof(fc.constantFrom('constructor', '__proto__', 'trace', ''), fc.string({ unit: 'grapheme' }))
const headers = fc.array(fc.tuple(headerName, fc.option(buffer(40))), { maxLength: 5 })
const timestampDelta = fc.oneof(fc.bigInt(-70n, 70n), fc.bigInt(-(2n ** 45n), 2n ** 45n))
const record = fc.record({
  timestampDelta,
  key: nullable,
  value: nullable,
  headers,
  gap: fc.constantFrom(0, 0, 0, 1, 70, 9000),
})

const compressions = [
  { codec: 0 },
  { codec: 1, compress: (plain: Buffer) => gzipSync(plain) },
  { codec: 2, compress: snappy },
  { codec: 2, compress: (plain: Buffer) => xerial(plain, 100) },
]

/** Records at rising offsets with gaps between them, and after the last one. */
const batch = fc
  .record({
    records: fc.array(record, { maxLength: 12 }),
    gapAfter: fc.nat(3),
    compression: fc.constantFrom(...compressions),
    isLogAppendTime: fc.boolean(),
    baseTimestamp: fc.bigInt(0n, 2n ** 41n),
    leaderEpoch: fc.nat(),
  })
  .map(({ records, gapAfter, compression, ...batch }) => {
    let delta = -1
    const placed: WrittenRecord[] = records.map(({ gap, ...record }) => {
      delta += 1 + gap
      return { ...record, delta }
    })
    const maxTimestamp = batch.baseTimestamp + 5n
    return { ...batch, ...compression, maxTimestamp, records: placed, lastDelta: Math.max(delta, 0) + gapAfter }
  })

/** Batches one after the other in a log. */
const log = fc.tuple(fc.constantFrom(0, 100, 2 ** 40), fc.array(batch, { maxLength: 5 })).map(([start, batches]) => {
  let baseOffset = start
  return batches.map(batch => {
    const placed = { ...batch, baseOffset }
    baseOffset += batch.lastDelta + 1
    return placed
  })
})

type Placed = Omit<WrittenBatch, 'records'> & { readonly records: readonly WrittenRecord[] }

interface ReadRecord {
  readonly offset: number
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly HeaderPair[]
}

const recordsOf = (batch: LazyRecordBatch): ReadRecord[] =>
  Array.from({ length: batch.count }, (_, i) => recordAt(batch, i))

const recordAt = (batch: LazyRecordBatch, i: number): ReadRecord => ({
  offset: batch.offset(i),
  timestamp: batch.timestamp(i),
  key: batch.key(i),
  value: batch.value(i),
  headers: batch.headers(i),
})

const written = (batch: Placed): ReadRecord[] =>
  batch.records.map(({ delta, timestampDelta, key, value, headers }) => ({
    offset: Number(batch.baseOffset) + delta,
    timestamp: Number(batch.isLogAppendTime ? batch.maxTimestamp! : batch.baseTimestamp! + timestampDelta),
    key,
    value,
    headers,
  }))

describe('a fetched log', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(log, fc.constantFrom(4, 5, 7, 11), (batches, version) => {
        const payload = encodeOnePartition(version, { records: Buffer.concat(batches.map(encodeBatch)) })
        const { partitions } = readFetch(payload, version)
        expect(partitions[0]!.error).toBeUndefined()
        expect(partitions[0]!.batches.map(recordsOf)).toEqual(batches.map(written))
        const lastOffsets = batches.map(({ baseOffset, lastDelta }) => baseOffset + lastDelta)
        expect(partitions[0]!.batches.map(batch => batch.lastOffset)).toEqual(lastOffsets)
      }),
    )
  })

  it('contains equal records of equal size in copies', () => {
    fc.assert(
      fc.property(batch, written => {
        const payload = encodeOnePartition(11, { records: encodeBatch(written) })
        const [batch] = readFetch(payload, 11).partitions[0]!.batches
        const sizes = Array.from({ length: batch!.count }, (_, i) => batch!.sizeOf(i))
        expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(batch!.byteLength)
        for (let i = 0; i < batch!.count; i++) {
          const copy = batch!.copy(i)
          expect(recordsOf(copy)).toEqual([recordAt(batch!, i)])
          expect(copy.byteLength).toBe(sizes[i])
        }
      }),
    )
  })

  it('can be read from any offset', () => {
    fc.assert(
      fc.property(log, fc.nat(20_000), (batches, ahead) => {
        const offset = (batches[0]?.baseOffset ?? 0) + ahead
        const payload = encodeOnePartition(11, { records: Buffer.concat(batches.map(encodeBatch)) })
        const { partitions } = readFetch(payload, 11, { fetchOffset: () => offset })
        const read = partitions[0]!.batches.flatMap(batch => recordsOf(batch).slice(batch.firstIndexAt(offset)))
        const expected = batches.flatMap(written).filter(record => record.offset >= offset)
        expect(read).toEqual(expected)
      }),
    )
  })

  it('that kafkajs wrote is read as kafkajs reads it', async () => {
    // Without null header values, on which kafkajs fails; with unique names; and without names of every object's properties.
    const name = fc.string({ minLength: 1 }).filter(name => !(name in {}))
    const headers = fc.uniqueArray(fc.tuple(name, buffer(20)), {
      selector: ([name]) => name,
      maxLength: 4,
    })
    const record = fc.record({
      timestampDelta: fc.integer({ min: 0, max: 2 ** 40 }),
      key: nullable,
      value: nullable,
      headers,
    })
    const log = fc.array(fc.tuple(fc.array(record, { minLength: 1, maxLength: 8 }), fc.constantFrom(0, 1)), {
      maxLength: 4,
    })
    await fc.assert(
      fc.asyncProperty(log, async batches => {
        let offset = 0
        const encoded: Buffer[] = []
        for (const [records, compression] of batches) {
          const batch = await encodeKafkaJSBatch({
            compression,
            firstOffset: Long.fromValue(offset),
            firstTimestamp: 1_700_000_000_000,
            lastOffsetDelta: records.length - 1,
            records: records.map(({ headers, ...record }, offsetDelta) =>
              encodeKafkaJSRecord({ ...record, offsetDelta, headers: Object.fromEntries(headers) }),
            ),
          })
          encoded.push(batch.buffer)
          offset += records.length
        }
        const payload = encodeOnePartition(11, { records: Buffer.concat(encoded) })
        const theirs = (await decodeByKafkaJS(11, payload)).responses[0]!.partitions[0]!.messages
        const ours = readFetch(payload, 11).partitions[0]!
        expect(ours.error).toBeUndefined()
        const readable = ours.batches.flatMap(recordsOf).map(({ headers, ...record }) => ({
          ...record,
          headers: Object.fromEntries(headers),
        }))
        expect(readable).toEqual(
          theirs.map(({ offset, timestamp, key, value, headers }) => ({
            ...{ offset: Number(offset), timestamp: Number(timestamp), key, value },
            headers: { ...headers },
          })),
        )
        // The order of names too, as far as an object keeps it.
        const written = batches.flatMap(([records]) =>
          records.map(record => Object.keys(Object.fromEntries(record.headers))),
        )
        expect(readable.map(({ headers }) => Object.keys(headers))).toEqual(written)
      }),
    )
  })

  it('loses exactly the records of aborted transactions', () => {
    // Each producer has one transaction after the other. Batches and markers of several producers are mixed.
    const step = fc.record({
      producerId: fc.nat(2),
      does: fc.constantFrom('write', 'write', 'write plainly', 'commit', 'abort'),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), steps => {
        const open = new Map<number, { firstOffset: number; offsets: number[] }>()
        const aborted: { producerId: number; firstOffset: number }[] = []
        const rolledBack = new Set<number>()
        const offsets: number[] = []
        const batches = steps.map(({ producerId, does }, baseOffset) => {
          if (does === 'commit' || does === 'abort') {
            const transaction = open.get(producerId)
            if (transaction && does === 'abort') {
              aborted.push({ producerId, firstOffset: transaction.firstOffset })
              for (const offset of transaction.offsets) rolledBack.add(offset)
            }
            open.delete(producerId)
            return encodeMarker(does, { baseOffset, producerId })
          }
          offsets.push(baseOffset)
          if (does === 'write plainly') return encodeBatch({ baseOffset, producerId, records: [{}] })
          const transaction = open.get(producerId) ?? { firstOffset: baseOffset, offsets: [] }
          transaction.offsets.push(baseOffset)
          open.set(producerId, transaction)
          return encodeBatch({ baseOffset, producerId, isTransactional: true, records: [{}] })
        })
        const payload = encodeOnePartition(11, { records: Buffer.concat(batches), aborted })
        const partition = readFetch(payload, 11).partitions[0]!
        const read = partition.batches.flatMap(recordsOf).map(({ offset }) => offset)
        expect(read).toEqual(offsets.filter(offset => !rolledBack.has(offset)))
        expect(partition.batches.map(batch => batch.lastOffset)).toEqual(steps.map((_, offset) => offset))
      }),
    )
  })
})

describe('hostile bytes', () => {
  const extreme = fc.constantFrom(0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 1000, 255, 65_535)
  const mutation = fc.oneof(
    fc.record({ kind: fc.constant('byte' as const), at: fc.nat(), value: fc.nat(255) }),
    fc.record({ kind: fc.constant('int32' as const), at: fc.nat(), value: extreme }),
    fc.record({ kind: fc.constant('cut' as const), at: fc.nat(), value: fc.constant(0) }),
    fc.record({ kind: fc.constant('repeat' as const), at: fc.nat(), value: fc.nat(200) }),
  )

  const mutate = (payload: Buffer, { kind, at, value }: { kind: string; at: number; value: number }): Buffer => {
    const place = at % Math.max(payload.length - 4, 1)
    if (kind === 'cut') return payload.subarray(0, place)
    if (kind === 'repeat') return Buffer.concat([payload.subarray(0, place + value), payload.subarray(place)])
    const mutated = Buffer.from(payload)
    if (kind === 'byte') mutated[place] = value
    else if (mutated.length >= 4) mutated.writeInt32BE(value, Math.min(place, mutated.length - 4))
    return mutated
  }

  /** The payload in the middle of other bytes, none of which may be read. */
  const surrounded = (payload: Buffer, by: number) => {
    const all = Buffer.alloc(payload.length + 2048, by)
    payload.copy(all, 1024)
    return all.subarray(1024, 1024 + payload.length)
  }

  const readAll = (payload: Buffer, version: number) => {
    let response: ReturnType<typeof readFetch>
    try {
      response = readFetch(payload, version, { checkCrcs: false })
    } catch (error) {
      expect(error).toBeInstanceOf(MalformedMessageError)
      return { error: (error as Error).message }
    }
    return {
      ...response,
      partitions: response.partitions.map(({ batches, failure: _, error, ...partition }) => {
        expect(
          error === undefined ||
            error.cause instanceof CorruptBatchError ||
            error.cause instanceof UnsupportedCodecError,
        ).toBe(true)
        return { ...partition, error: error?.message, records: batches.map(recordsOf) }
      }),
    }
  }

  it('never make decoding throw, or read beyond their end', () => {
    const aborted = [{ producerId: 1, firstOffset: 0 }]
    const response = fc.tuple(log, log, fc.constantFrom(4, 5, 7, 11)).map(([one, two, version]) => {
      const marker = encodeMarker('abort', { baseOffset: 1, producerId: 1 })
      const records = Buffer.concat([
        ...one.map(encodeBatch),
        encodeBatch({ isTransactional: true, producerId: 1 }),
        marker,
      ])
      const partitions = [
        { records, aborted },
        { partition: 1, records: Buffer.concat(two.map(encodeBatch)) },
      ]
      return { payload: encodeFetchResponse(version, { topics: [{ topic: 'orders', partitions }] }), version }
    })
    fc.assert(
      fc.property(response, fc.array(mutation, { minLength: 1, maxLength: 4 }), ({ payload, version }, mutations) => {
        const mutated = mutations.reduce(mutate, payload)
        expect(readAll(surrounded(mutated, 0), version)).toEqual(readAll(surrounded(mutated, 255), version))
      }),
      { numRuns: 2000 },
    )
  }, 60_000)

  it('are tolerated in the records of a batch too', () => {
    fc.assert(
      fc.property(batch, fc.array(mutation, { minLength: 1, maxLength: 3 }), (batch, mutations) => {
        const encoded = encodeBatch({ ...batch, codec: 0, compress: undefined })
        const mutated = Buffer.concat([encoded.subarray(0, 61), mutations.reduce(mutate, encoded.subarray(61))])
        mutated.writeInt32BE(mutated.length - 12, 8)
        const payload = encodeOnePartition(11, { records: mutated })
        expect(readAll(surrounded(payload, 0), 11)).toEqual(readAll(surrounded(payload, 255), 11))
      }),
      { numRuns: 2000 },
    )
  }, 60_000)

  it('are not accepted as a response', () => {
    fc.assert(
      fc.property(buffer(300), fc.constantFrom(4, 5, 7, 11), (payload, version) => {
        readAll(payload, version)
      }),
    )
  })

  it('are refused by Snappy, or read as snappyjs reads them', () => {
    fc.assert(
      fc.property(bytes, fc.array(mutation, { maxLength: 3 }), fc.boolean(), (plain, mutations, isStream) => {
        const mutated = mutations.reduce(mutate, isStream ? xerial(plain, 1000) : snappy(plain))
        let read: Buffer
        try {
          read = uncompressSnappy(mutated)
        } catch (error) {
          expect(error).toBeInstanceOf(CorruptBatchError)
          return
        }
        // Input that is not refused is valid, so snappyjs ends on it.
        if (!isStream) expect(read).toEqual(unsnappy(mutated))
        else if (mutations.length === 0) expect(read).toEqual(plain)
      }),
    )
  })
})

describe('the checksum', () => {
  it('equals that of kafkajs', () => {
    fc.assert(
      fc.property(bytes, plain => {
        expect(crc32c(plain, 0, plain.length)).toBe(kafkaJSCrc32c(plain))
      }),
    )
  })
})
