import { describe, expect, it } from 'vitest'
import { HEADER_BYTES, readBatchHeader } from '../../../src/protocol/records/batch-header.js'
import { CorruptBatchError } from '../../../src/protocol/records/errors.js'
import { LazyRecordBatch } from '../../../src/protocol/records/lazy-record-batch.js'
import { encodeBatch, encodeRecord, varint, type WrittenBatch } from './encode.js'

const read = (written: WrittenBatch) => {
  const bytes = encodeBatch(written)
  return LazyRecordBatch.of(readBatchHeader(bytes, 0), bytes, HEADER_BYTES, bytes.length)
}

describe('LazyRecordBatch', () => {
  it('has the fields of the batch', () => {
    const batch = read({
      baseOffset: 2 ** 40,
      lastDelta: 7,
      leaderEpoch: 3,
      isTransactional: true,
      producerId: 2 ** 33,
    })
    expect(batch).toMatchObject({
      ...{ baseOffset: 2 ** 40, lastOffset: 2 ** 40 + 7, partitionLeaderEpoch: 3, producerId: 2 ** 33 },
      ...{ isTransactional: true, isControl: false, count: 0, byteLength: 0 },
    })
  })

  it('reads keys and values, null and empty ones apart', () => {
    const batch = read({
      records: [
        { key: Buffer.from('k'), value: null },
        { key: null, value: Buffer.alloc(0) },
      ],
    })
    expect(batch.key(0)).toEqual(Buffer.from('k'))
    expect(batch.value(0)).toBeNull()
    expect(batch.key(1)).toBeNull()
    expect(batch.value(1)).toEqual(Buffer.alloc(0))
  })

  it('leaves headers as they are on the wire', () => {
    const [one, two] = [Buffer.from('1'), Buffer.from('2')]
    const headers = [
      ...([
        ['b', one],
        ['a', null],
        ['b', two],
        ['constructor', one],
        ['__proto__', two],
        ['', null],
      ] as const),
      ...([
        ['größe', one],
        ['b', Buffer.alloc(0)],
      ] as const),
    ]
    const batch = read({ records: [{ headers }, { headers: headers.toReversed() }, {}] })
    expect(batch.headers(0)).toEqual(headers)
    expect(batch.headers(1)).toEqual(headers.toReversed())
    expect(batch.headers(2)).toEqual([])
  })

  it("has the producer's times, relative to the first one", () => {
    const deltas = [0n, 1n, -5n, 2n ** 31n, -(2n ** 40n), 1_000_000_000_000n]
    const batch = read({
      baseTimestamp: 1_700_000_000_000n,
      records: deltas.map(timestampDelta => ({ timestampDelta })),
    })
    expect(deltas.map((_, i) => batch.timestamp(i))).toEqual(deltas.map(delta => 1_700_000_000_000 + Number(delta)))
  })

  it("has the broker's time with log-append time", () => {
    const records = [{ timestampDelta: 3n }, { timestampDelta: 4n }]
    const batch = read({ isLogAppendTime: true, baseTimestamp: 1n, maxTimestamp: 1_700_000_000_000n, records })
    expect([batch.timestamp(0), batch.timestamp(1)]).toEqual([1_700_000_000_000, 1_700_000_000_000])
  })

  it('rounds times that a number cannot represent, so that they do not stop a partition', () => {
    const nanoseconds = 1_700_000_000_123_456_789n
    const batch = read({ baseTimestamp: nanoseconds, records: [{}, { timestampDelta: 2n ** 40n }] })
    expect(batch.timestamp(0)).toBe(Number(nanoseconds))
    expect(batch.timestamp(1)).toBe(Number(nanoseconds) + 2 ** 40)
  })

  it('finds the first record at or after an offset, over gaps of compaction', () => {
    const batch = read({ baseOffset: 100, lastDelta: 20, records: [{ delta: 3 }, { delta: 4 }, { delta: 9 }] })
    expect([0, 1, 2].map(i => batch.offset(i))).toEqual([103, 104, 109])
    const asked = [0, 100, 103, 104, 105, 109, 110, 120, 1000]
    expect(asked.map(offset => batch.firstIndexAt(offset))).toEqual([0, 0, 0, 1, 2, 2, 3, 3, 3])
    expect(batch.lastOffset).toBe(120)
  })

  it('has the size of each record, and of all records', () => {
    const records = [{ value: Buffer.alloc(10) }, { value: Buffer.alloc(1000), key: Buffer.from('key') }]
    const batch = read({ records })
    const sizes = records.map((record, delta) => encodeRecord({ ...record, delta }).length)
    expect([batch.sizeOf(0), batch.sizeOf(1)]).toEqual(sizes)
    expect(batch.byteLength).toBe(sizes[0]! + sizes[1]!)
  })

  it('copies one record into separate memory', () => {
    const headers = [['h', Buffer.from('x')]] as const
    const records = [{}, { key: Buffer.from('k'), value: Buffer.from('v'), headers, timestampDelta: 5n }, {}]
    const batch = read({ baseOffset: 10, baseTimestamp: 1000n, producerId: 7, records })
    const copy = batch.copy(1)
    expect(copy).toMatchObject({ count: 1, baseOffset: 10, lastOffset: 11, producerId: 7, byteLength: batch.sizeOf(1) })
    expect([copy.offset(0), copy.timestamp(0), copy.sizeOf(0)]).toEqual([11, 1005, batch.sizeOf(1)])
    expect([copy.key(0), copy.value(0), copy.headers(0)]).toEqual([Buffer.from('k'), Buffer.from('v'), headers])
    expect(copy.value(0)!.buffer.byteLength).toBe(batch.sizeOf(1))
    expect(copy.copy(0).headers(0)).toEqual(headers)
    expect([copy.firstIndexAt(11), copy.firstIndexAt(12)]).toEqual([0, 1])
  })

  it('copies nothing else', () => {
    const batch = read({ records: [{ key: Buffer.from('k'), value: Buffer.from('v') }] })
    expect(batch.value(0)!.buffer).toBe(batch.key(0)!.buffer)
  })

  it.each(['offset', 'timestamp', 'key', 'value', 'headers', 'sizeOf', 'copy'] as const)(
    'refuses to read the %s at an index without a record',
    accessor => {
      const batch = read({ records: [{}] })
      for (const index of [-1, 1, Number.NaN]) expect(() => batch[accessor](index)).toThrow(RangeError)
    },
  )

  const record = (body: Buffer) => Buffer.concat([varint(body.length), body])
  const body = (...parts: (Buffer | number)[]) =>
    record(Buffer.concat([Buffer.of(0, 0, 0), ...parts.map(part => (typeof part === 'number' ? varint(part) : part))]))
  const endless = Buffer.alloc(12, 255)
  const good = encodeRecord({})

  it.each<[string, WrittenBatch]>([
    ['fewer records than it counts', { count: 2, lastDelta: 1, bytes: Buffer.concat([good, Buffer.alloc(7)]) }],
    ['more records than it counts', { count: 1, bytes: Buffer.concat([good, good]) }],
    ['a count it has no room for', { count: 2 ** 30, lastDelta: 2 ** 30, bytes: good }],
    ['a count above its offsets', { count: 2, lastDelta: 0, bytes: Buffer.concat([good, encodeRecord({ delta: 1 })]) }],
    ['a negative count', { count: -1 }],
    ['a negative last delta', { lastDelta: -1 }],
    ['a negative base offset', { baseOffset: -1 }],
    ['an offset no number holds', { baseOffset: 2 ** 53 - 1, lastDelta: 1 }],
    ['an offset far from what a number holds', { baseOffset: 2n ** 62n }],
    ['records out of order', { lastDelta: 3, records: [{ delta: 2 }, { delta: 1 }] }],
    ['an offset twice', { lastDelta: 3, records: [{ delta: 2 }, { delta: 2 }] }],
    ['a record before its base offset', { records: [{ delta: -1 }], lastDelta: 0 }],
    ['a record after its last offset', { records: [{ delta: 2 }], lastDelta: 1 }],
    ['a record of negative length', { count: 1, bytes: Buffer.concat([varint(-7), Buffer.alloc(7)]) }],
    ['a record longer than the batch', { count: 1, bytes: Buffer.concat([varint(7), Buffer.alloc(6)]) }],
    ['a record of no length', { count: 1, bytes: Buffer.alloc(7) }],
    ['a key longer than its record', { count: 1, bytes: body(100, -1, 0) }],
    ['a value longer than its record', { count: 1, bytes: body(-1, 100, 0) }],
    ['a negative count of headers', { count: 1, bytes: body(-1, -1, -1) }],
    ['more headers than fit', { count: 1, bytes: body(-1, -1, 2 ** 30) }],
    ['a header without a name', { count: 1, bytes: body(-1, -1, 1, -1, -1) }],
    ['a header name longer than its record', { count: 1, bytes: body(-1, -1, 1, 100, -1) }],
    ['a header value longer than its record', { count: 1, bytes: body(-1, -1, 1, 0, 100) }],
    ['bytes after the headers', { count: 1, bytes: body(-1, -1, 0, 0) }],
    ['a length without end', { count: 1, bytes: endless }],
    ['a timestamp without end', { count: 1, bytes: record(Buffer.concat([Buffer.of(0), endless])) }],
    ['a value length beyond 32 bits', { count: 1, bytes: body(-1, endless) }],
    [
      'a record that ends in its timestamp',
      { count: 1, bytes: Buffer.concat([record(Buffer.of(0, 128)), Buffer.alloc(9)]) },
    ],
  ])('refuses a batch with %s', (_, written) => {
    expect(() => read(written)).toThrow(CorruptBatchError)
  })

  it('supports the largest offset that a number represents', () => {
    expect(read({ baseOffset: 2 ** 53 - 2, records: [{}, {}] }).offset(1)).toBe(2 ** 53 - 1)
  })
})
