import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { FetchError } from '../../../src/errors.js'
import { CorruptBatchError, UnsupportedCodecError } from '../../../src/protocol/records/errors.js'
import { MalformedMessageError } from '../../../src/protocol/wire/malformed-message-error.js'
import { encodeBatch, encodeFetchResponse, encodeMarker, encodeOnePartition, type WrittenPartition } from './encode.js'
import { decodeByKafkaJS, encodeKafkaJSMessageSet } from './kafkajs-internals.js'
import { type ReadFetchOptions, readFetch } from './read-fetch.js'

const versions = [4, 5, 6, 7, 8, 9, 10, 11]

/** As many records at consecutive offsets as there are values. */
const batchAt = (baseOffset: number, values: string[], more: object = {}) =>
  encodeBatch({ baseOffset, records: values.map(value => ({ value: Buffer.from(value) })), ...more })

const fetched = (partition: WrittenPartition, options?: ReadFetchOptions) => {
  const { partitions } = readFetch(encodeOnePartition(11, partition), 11, options)
  expect(partitions).toHaveLength(1)
  return partitions[0]!
}

const fetchedRecords = (batches: Buffer[], options?: ReadFetchOptions) =>
  fetched({ records: Buffer.concat(batches) }, options)

type Fetched = ReturnType<typeof fetched>
const valuesOf = ({ batches }: Fetched) =>
  batches.flatMap(batch => Array.from({ length: batch.count }, (_, i) => `${batch.value(i)}`))
const lastOffsetsOf = ({ batches }: Fetched) => batches.map(batch => batch.lastOffset)

describe('a fetch response', () => {
  it.each(versions)('is decoded as by kafkajs in version %i', async version => {
    const orders = {
      ...{ partition: 3, highWatermark: 12n, lastStableOffset: 11n, logStartOffset: 2n, preferredReadReplica: 5 },
      ...{ aborted: [{ producerId: 2 ** 40, firstOffset: 9 }], records: batchAt(9, ['a', 'b']) },
    }
    const refused = { partition: 4, errorCode: 6, highWatermark: -1n, lastStableOffset: -1n, records: null }
    const topics = [
      { topic: 'orders', partitions: [orders, refused] },
      { topic: 'größen', partitions: [{ records: Buffer.alloc(0) }] },
      { topic: 'none', partitions: [] },
    ]
    const payload = encodeFetchResponse(version, { throttleTime: 100, errorCode: 0, sessionId: 77, topics })
    const theirs = await decodeByKafkaJS(version, payload)
    const ours = readFetch(payload, version)
    expect(ours.throttleTimeMs).toBe(theirs.clientSideThrottleTime ?? theirs.throttleTime)
    expect(ours.sessionId).toBe(theirs.sessionId ?? 0)
    const theirPartitions = theirs.responses.flatMap(({ topicName, partitions }) =>
      partitions.map(partition => ({
        topic: topicName,
        partition: partition.partition,
        errorCode: partition.errorCode,
        highWatermark: Number(partition.highWatermark),
        lastStableOffset: Number(partition.lastStableOffset),
        logStartOffset: Number(partition.lastStartOffset ?? -1),
        abortedTransactions: partition.abortedTransactions.map(({ producerId, firstOffset }) => ({
          producerId: Number(producerId),
          firstOffset: Number(firstOffset),
        })),
        preferredReadReplica: partition.preferredReadReplica ?? -1,
        values: partition.messages.map(({ value }) => `${value}`),
      })),
    )
    expect(ours.partitions).toEqual(
      theirPartitions.map(({ values: _, ...partition }) => expect.objectContaining({ ...partition, error: undefined })),
    )
    expect(ours.partitions.map(valuesOf)).toEqual(theirPartitions.map(({ values }) => values))
  })

  describe('batches', () => {
    it('come in the order of the log, without a last one that is cut off', () => {
      const batches = [batchAt(0, ['a', 'b']), batchAt(2, ['c']), batchAt(3, ['d'])]
      const whole = batches[0]!.length + batches[1]!.length
      const all = Buffer.concat(batches)
      for (let length = whole; length < all.length; length++) {
        const partition = fetched({ records: all.subarray(0, length) })
        expect(partition.error).toBeUndefined()
        expect(valuesOf(partition)).toEqual(['a', 'b', 'c'])
      }
    })

    it('that are all cut off are an error, because another request would not help', () => {
      const batch = batchAt(7, ['a'])
      for (let length = 1; length < batch.length; length++) {
        const partition = fetched({ records: batch.subarray(0, length) }, { fetchOffset: () => 7 })
        expect(partition.batches).toEqual([])
        expect(partition.error).toMatchObject({ topic: 'orders', partition: 0, offset: 7n })
      }
    })

    it('before the requested offset are left out, but not the one that contains it', () => {
      const batches = [batchAt(0, ['a', 'b']), batchAt(2, ['c', 'd']), batchAt(4, ['e'])]
      const asked: unknown[] = []
      const fetchOffset = (...of: unknown[]) => {
        asked.push(of)
        return 3
      }
      expect(lastOffsetsOf(fetchedRecords(batches, { fetchOffset }))).toEqual([3, 4])
      expect(asked).toEqual([['orders', 0]])
    })

    it('that compaction has emptied still have their last offset', () => {
      const partition = fetchedRecords([encodeBatch({ baseOffset: 5, lastDelta: 9, codec: 1, records: [] })])
      expect(partition.batches).toMatchObject([{ count: 0, baseOffset: 5, lastOffset: 14 }])
    })

    it('are decompressed', () => {
      expect(valuesOf(fetchedRecords([batchAt(0, ['a', 'b'], { codec: 1, compress: gzipSync })]))).toEqual(['a', 'b'])
    })
  })

  describe('a batch that cannot be read', () => {
    const before = [batchAt(0, ['a']), batchAt(1, ['b'])]
    const after = batchAt(9, ['z'])

    const unreadable = (batch: Buffer, options?: ReadFetchOptions) => {
      const partition = fetchedRecords([...before, batch, after], options)
      expect(valuesOf(partition)).toEqual(['a', 'b'])
      expect(partition.error).toBeInstanceOf(FetchError)
      expect(partition.error).toMatchObject({ topic: 'orders', partition: 0, offset: 2n })
      return partition.error!
    }

    it('is reported, after the records before it were delivered', () => {
      const error = unreadable(batchAt(2, ['c'], { crc: 1 }))
      expect(error.message).toMatch(/^its CRC-32C is [0-9a-f]{8}, and it was written as 00000001$/)
      expect(error.cause).toBeInstanceOf(CorruptBatchError)
    })

    it('is found by any bit that its checksum covers', () => {
      const batch = batchAt(2, ['c'])
      for (let bit = 8 * 17; bit < 8 * batch.length; bit++) {
        const flipped = Buffer.from(batch)
        flipped[bit >>> 3]! ^= 1 << (bit & 7)
        expect(unreadable(flipped).message).toContain('CRC-32C')
      }
    })

    it('is read if checksums are not checked', () => {
      const options = { checkCrcs: false }
      expect(valuesOf(fetchedRecords([batchAt(2, ['c'], { crc: 1 }), after], options))).toEqual(['c', 'z'])
    })

    it('may have a missing codec', () => {
      const error = unreadable(batchAt(2, ['c'], { codec: 3 }))
      expect(error.cause).toBeInstanceOf(UnsupportedCodecError)
      expect(error.message).toContain('it is compressed with lz4, which cannot be read here')
    })

    it('may be one that its codec cannot decode', () => {
      expect(unreadable(batchAt(2, ['c'], { codec: 1 })).message).toContain('gzip cannot decompress it')
    })

    it('may contain invalid records', () => {
      expect(unreadable(batchAt(2, ['c'], { count: 2, lastDelta: 1 })).message).toContain(
        '2 records do not fit into it',
      )
    })

    it('may have a future format', () => {
      expect(unreadable(batchAt(2, ['c'], { magic: 3 })).message).toContain('its format is 3')
    })

    it('may have an impossible length', () => {
      for (const length of [48, 0, -1, -(2 ** 31)]) {
        const batch = batchAt(2, ['c'])
        batch.writeInt32BE(length, 8)
        expect(unreadable(batch).message).toContain(`its length is said to be ${length}`)
      }
    })

    it('leaves other partitions alone', () => {
      const partitions = [
        { partition: 0, records: batchAt(0, ['a'], { crc: 1 }) },
        { partition: 1, records: batchAt(0, ['b']) },
      ]
      const payload = encodeFetchResponse(11, { topics: [{ topic: 'orders', partitions }] })
      expect(readFetch(payload, 11).partitions.map(valuesOf)).toEqual([[], ['b']])
    })
  })

  describe('transactions', () => {
    const [mine, other] = [
      { isTransactional: true, producerId: 1 },
      { isTransactional: true, producerId: 2 },
    ]
    const abort = (baseOffset: number, producerId: number) => encodeMarker('abort', { baseOffset, producerId })
    const commit = (baseOffset: number, producerId: number) => encodeMarker('commit', { baseOffset, producerId })

    it('have markers, which contain no records but count for the position', () => {
      const partition = fetchedRecords([batchAt(0, ['a'], mine), commit(1, 1), batchAt(2, ['b'])])
      expect(valuesOf(partition)).toEqual(['a', 'b'])
      expect(lastOffsetsOf(partition)).toEqual([0, 1, 2])
      expect(partition.batches[1]).toMatchObject({ count: 0, isControl: true, byteLength: 0 })
    })

    it('that were aborted lose their records, up to their own marker', () => {
      const aborted = [{ producerId: 1, firstOffset: 1 }]
      const records = [
        batchAt(0, ['before'], { ...mine, isTransactional: true }),
        batchAt(1, ['aborted'], mine),
        batchAt(2, ['other transaction'], other),
        batchAt(3, ['no transaction'], { producerId: 1 }),
        batchAt(4, ['aborted, too'], mine),
        commit(5, 2),
        batchAt(6, ['after the marker of another'], mine),
        abort(7, 1),
        batchAt(8, ['next transaction'], mine),
        commit(9, 1),
      ]
      const partition = fetched({ aborted, records: Buffer.concat(records) })
      expect(valuesOf(partition)).toEqual(['before', 'other transaction', 'no transaction', 'next transaction'])
      expect(lastOffsetsOf(partition)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    })

    it('of one producer can be aborted one after the other, in any order of the list', () => {
      const aborted = [10, 0, 4].map(firstOffset => ({ producerId: 1, firstOffset }))
      const records = [
        ...[batchAt(0, ['a'], mine), abort(1, 1), batchAt(2, ['b'], mine), commit(3, 1)],
        ...[batchAt(4, ['c'], mine), abort(5, 1), batchAt(6, ['d'], mine), commit(7, 1)],
        ...[batchAt(10, ['e'], mine), abort(11, 1)],
      ]
      expect(valuesOf(fetched({ aborted, records: Buffer.concat(records) }))).toEqual(['b', 'd'])
    })

    it('may begin before the fetched range, and end after it', () => {
      const aborted = [{ producerId: 1, firstOffset: 3 }]
      expect(valuesOf(fetched({ aborted, records: batchAt(8, ['a', 'b'], mine) }))).toEqual([])
    })

    it('may begin in a fetched batch before the requested offset', () => {
      const aborted = [{ producerId: 1, firstOffset: 0 }]
      const records = Buffer.concat([batchAt(0, ['a'], mine), abort(1, 1), batchAt(2, ['b'], mine)])
      const partition = fetched({ aborted, records }, { fetchOffset: () => 2 })
      expect(valuesOf(partition)).toEqual(['b'])
      expect(lastOffsetsOf(partition)).toEqual([2])
    })

    it('that were aborted need no codec', () => {
      const aborted = [{ producerId: 1, firstOffset: 0 }]
      const partition = fetched({ aborted, records: batchAt(0, ['a'], { ...mine, codec: 3 }) })
      expect(partition).toMatchObject({ error: undefined, batches: [{ count: 0, lastOffset: 0 }] })
    })

    it('are all read if none is listed, as for uncommitted reads', () => {
      expect(valuesOf(fetchedRecords([batchAt(0, ['a'], mine), abort(1, 1)]))).toEqual(['a'])
    })

    it('require a type in their markers', () => {
      const aborted = [{ producerId: 1, firstOffset: 0 }]
      const marker = encodeMarker('abort', { baseOffset: 1, producerId: 1, records: [{ key: Buffer.alloc(3) }] })
      const partition = fetched({ aborted, records: Buffer.concat([batchAt(0, ['a'], mine), marker]) })
      expect(partition.error?.message).toContain('it is said to be a marker and has no type')
    })
  })

  describe('formats before Kafka 0.11', () => {
    const entries = [{ key: 'k', value: 'v', timestamp: 1 }]
    const messageSet = encodeKafkaJSMessageSet({ messageVersion: 1, compression: 0, entries }).buffer

    it('are detected, and not read', () => {
      const partition = fetched({ partition: 9, records: messageSet })
      expect(partition).toMatchObject({ partition: 9, batches: [], error: undefined, isOldFormat: true })
    })

    it('are reported with the next response if newer batches come first', () => {
      const partition = fetchedRecords([batchAt(0, ['a']), messageSet])
      expect(valuesOf(partition)).toEqual(['a'])
      expect(partition).toMatchObject({ isOldFormat: false, error: undefined })
    })
  })

  describe('a truncated response', () => {
    it('is refused, wherever it is cut', () => {
      const partitions = [{ records: batchAt(0, ['a']) }, { partition: 1, records: batchAt(0, ['b']) }]
      const payload = encodeFetchResponse(11, { throttleTime: 5, topics: [{ topic: 'orders', partitions }] })
      for (let length = 0; length < payload.length; length++) {
        expect(() => readFetch(payload.subarray(0, length), 11), `${length} bytes`).toThrow(MalformedMessageError)
      }
      expect(readFetch(payload, 11).partitions.map(valuesOf)).toEqual([['a'], ['b']])
    })

    it('is refused without a topic name, or with an impossible offset', () => {
      const payload = encodeOnePartition(4, { records: null })
      payload.writeInt16BE(-1, 8)
      expect(() => readFetch(payload, 4)).toThrow(MalformedMessageError)
    })
  })
})
