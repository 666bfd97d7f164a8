import { describe, expect, it, vi } from 'vitest'
import type {
  KafkaJSBroker,
  KafkaJSCluster,
  LazyFetchOptions,
} from '../../../src/drivers/kafkajs/decoding/lazy-decoding.js'
import { batchesOf, decodeLazily, fetchLazily } from '../../../src/drivers/kafkajs/decoding/lazy-fetch.js'
import type { FetchError } from '../../../src/errors.js'
import { UnsupportedCodecError } from '../../../src/protocol/records/errors.js'
import { encodeBatch, encodeFetchResponse, encodeMarker, encodeOnePartition, type WrittenPartition } from './encode.js'
import {
  encodeKafkaJSMessageSet,
  KafkaJSBatch,
  type KafkaJSFetchResponse,
  kafkaJSLookup,
  kafkaJSRequests,
} from './kafkajs-internals.js'

const [FETCH, METADATA] = [1, 3]

const brokerOf = (version: number): KafkaJSBroker => ({
  lookupRequest: lookupOf(version),
  connectionPool: { host: 'kafka', port: 9092 },
})

const lookupOf = (version: number) =>
  kafkaJSLookup({ [FETCH]: { minVersion: 0, maxVersion: version }, [METADATA]: { minVersion: 0, maxVersion: 5 } })

const asks = (partition: number, fetchOffset: number | string) => ({
  topic: 'orders',
  partitions: [{ partition, fetchOffset: `${fetchOffset}` }],
})

/** As kafkajs's connection does with a response: it decodes, then parses. */
const receive = async (broker: KafkaJSBroker, payload: Buffer, topics = [asks(0, 0)]) => {
  const { response } = broker.lookupRequest(FETCH, kafkaJSRequests.Fetch)({ topics })
  const { parse } = response as unknown as { parse: (data: unknown) => Promise<KafkaJSFetchResponse> }
  return parse(await response.decode(payload))
}

const lazily = (options: Partial<LazyFetchOptions> = {}, version = 11) => {
  const onUnreadable = vi.fn<(error: FetchError) => void>()
  const broker = brokerOf(version)
  decodeLazily(broker, { onUnreadable, ...options })
  return { broker, onUnreadable }
}

/** What `eachBatch` gets of one partition that was asked for from `offset` on, through kafkajs's own `Batch`. */
const deliver = async (broker: KafkaJSBroker, partition: WrittenPartition, offset = 0, version = 11) => {
  const { responses } = await receive(broker, encodeOnePartition(version, partition), [asks(0, offset)])
  expect(responses).toHaveLength(1)
  return new KafkaJSBatch('orders', `${offset}`, responses[0]!.partitions[0]!)
}

const offsetsOf = (batch: { messages: readonly unknown[] }) =>
  batchesOf(batch).flatMap(({ batch, from }) =>
    Array.from({ length: batch.count - from }, (_, i) => batch.offset(from + i)),
  )

const batchAt = (baseOffset: number, count: number, more: object = {}) =>
  encodeBatch({
    baseOffset,
    records: Array.from({ length: count }, (_, i) => ({ value: Buffer.from(`${i}`) })),
    ...more,
  })

describe('decodeLazily', () => {
  it('gives kafkajs a message for a batch, and eachBatch the records from the offset asked for on', async () => {
    const { broker } = lazily()
    const records = Buffer.concat([batchAt(0, 3), batchAt(3, 4), batchAt(7, 2)])
    const batch = await deliver(broker, { records, highWatermark: 9n }, 4)
    expect(batch.messages).toMatchObject([{ offset: '6' }, { offset: '8' }])
    expect(offsetsOf(batch)).toEqual([4, 5, 6, 7, 8])
    expect(batch.lastOffset()).toBe('8')
  })

  it('moves the position of kafkajs past markers, aborted records and what compaction took', async () => {
    const { broker } = lazily()
    const transaction = { isTransactional: true, producerId: 1 }
    const aborted = [{ producerId: 1, firstOffset: 0 }]
    const marker = encodeMarker('abort', { baseOffset: 2, producerId: 1 })
    const compacted = encodeBatch({ baseOffset: 3, lastDelta: 9, records: [] })
    const records = Buffer.concat([batchAt(0, 2, transaction), marker, compacted])
    const batch = await deliver(broker, { records, aborted, highWatermark: 13n })
    expect(batch.isEmpty()).toBe(false)
    expect(batch.lastOffset()).toBe('12')
    expect(batchesOf(batch).map(({ batch }) => [batch.count, batch.lastOffset])).toEqual([
      [0, 1],
      [0, 2],
      [0, 12],
    ])
  })

  it('gives eachBatch nothing to do where nothing was fetched', async () => {
    const { broker } = lazily()
    const batch = await deliver(broker, { records: null, highWatermark: 5n }, 5)
    expect(batch.isEmpty()).toBe(true)
    expect(batchesOf(batch)).toEqual([])
  })

  it.each([4, 7, 8, 11])('keeps throttling and the session of version %i as kafkajs has them', async version => {
    const { broker } = lazily({}, version)
    const payload = encodeFetchResponse(version, { throttleTime: 9, errorCode: 70, sessionId: 5, topics: [] })
    const { decode } = brokerOf(version).lookupRequest(FETCH, kafkaJSRequests.Fetch)({ topics: [] }).response
    expect(await receive(broker, payload)).toMatchObject((await decode(payload)) as object)
  })

  it('keeps requests, and every other API', () => {
    const plain = brokerOf(11)
    const { broker } = lazily()
    const encoder = (of: KafkaJSBroker, api: number, requests: unknown) =>
      of.lookupRequest(api, requests)({ topics: [] })
    expect(encoder(broker, FETCH, kafkaJSRequests.Fetch)).toMatchObject({
      request: { apiKey: FETCH, apiVersion: 11, apiName: 'Fetch' },
      requestTimeout: encoder(plain, FETCH, kafkaJSRequests.Fetch)['requestTimeout' as never],
    })
    const decoder = (of: KafkaJSBroker) => encoder(of, METADATA, kafkaJSRequests.Metadata).response.decode
    expect(decoder(broker)).toBe(decoder(plain))
  })

  it('outlives a new connection, for which kafkajs sets the look-up anew', async () => {
    const { broker } = lazily()
    broker.lookupRequest = lookupOf(7)
    const batch = await deliver(broker, { records: batchAt(0, 3) }, 1, 7)
    expect(batch.messages).toHaveLength(1)
    expect(offsetsOf(batch)).toEqual([1, 2])
  })

  it('is missed where it is missing', async () => {
    const batch = await deliver(brokerOf(11), { records: batchAt(0, 1) })
    expect(() => batchesOf(batch)).toThrow('call fetchLazily first')
  })

  it('wraps a broker once', async () => {
    const { broker, onUnreadable } = lazily()
    const second = vi.fn()
    decodeLazily(broker, { onUnreadable: second })
    await deliver(broker, { records: batchAt(0, 1, { crc: 1 }) })
    expect(onUnreadable).toHaveBeenCalledOnce()
    expect(second).not.toHaveBeenCalled()
  })

  describe('what cannot be read', () => {
    it('is told once nothing is left to deliver before it', async () => {
      const { broker, onUnreadable } = lazily()
      const records = Buffer.concat([batchAt(0, 2), batchAt(2, 1, { codec: 3 })])
      const first = await deliver(broker, { records })
      expect(offsetsOf(first)).toEqual([0, 1])
      expect(onUnreadable).not.toHaveBeenCalled()

      const second = await deliver(broker, { records }, 2)
      expect(second.isEmpty()).toBe(true)
      expect(onUnreadable).toHaveBeenCalledExactlyOnceWith(
        expect.objectContaining({ topic: 'orders', partition: 0, offset: 2n, cause: new UnsupportedCodecError('lz4') }),
      )
    })

    it('is read by a codec of the user', async () => {
      const { broker } = lazily({ codecs: { lz4: compressed => compressed.subarray(1) } })
      const compress = (bytes: Buffer) => Buffer.concat([Buffer.of(4), bytes])
      expect(offsetsOf(await deliver(broker, { records: batchAt(0, 2, { codec: 3, compress }) }))).toEqual([0, 1])
    })

    it('is not even noticed without checksums, if they are all that is wrong', async () => {
      const { broker } = lazily({ checkCrcs: false })
      expect(offsetsOf(await deliver(broker, { records: batchAt(0, 2, { crc: 1 }) }))).toEqual([0, 1])
    })

    it('ends the connection, and nothing more, where it is the whole response', async () => {
      const { broker, onUnreadable } = lazily()
      const payload = encodeOnePartition(11, { records: batchAt(0, 1) }).subarray(0, -1)
      // The name by which kafkajs drops the connection instead of the consumer.
      const closed = { name: 'KafkaJSConnectionClosedError', host: 'kafka', port: 9092 }
      await expect(receive(broker, payload)).rejects.toMatchObject(closed)
      expect(onUnreadable).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ topic: undefined }))
    })
  })

  describe('a partition that the broker refuses', () => {
    const OUT_OF_RANGE = 1
    const partitions = [
      { partition: 0, errorCode: OUT_OF_RANGE, records: null },
      { partition: 1, records: batchAt(5, 1) },
    ]
    const payload = encodeFetchResponse(11, { topics: [{ topic: 'orders', partitions }] })
    const asked = [asks(1, 5), asks(0, 44)]

    it('is refused by kafkajs, too', async () => {
      const { broker } = lazily()
      await expect(receive(broker, payload, asked)).rejects.toMatchObject({ name: 'KafkaJSOffsetOutOfRange' })
    })

    it('can be taken care of, and then the others are delivered', async () => {
      const onRefused = vi.fn(() => true)
      const { broker } = lazily({ onRefused })
      const { responses } = await receive(broker, payload, asked)
      expect(responses.map(({ partitions }) => partitions[0]!.messages.length)).toEqual([0, 1])
      const refused = { topic: 'orders', partition: 0, offset: 44n, errorCode: OUT_OF_RANGE }
      expect(onRefused).toHaveBeenCalledExactlyOnceWith(refused)
    })

    it('can be left to kafkajs', async () => {
      const { broker } = lazily({ onRefused: () => false })
      await expect(receive(broker, payload, asked)).rejects.toMatchObject({ name: 'KafkaJSOffsetOutOfRange' })
    })
  })

  describe('formats before Kafka 0.11', () => {
    const entries = ['a', 'b', 'c'].map(key => ({ key, value: key.toUpperCase(), timestamp: 1_700_000_000_000 }))
    const messageSet = (messageVersion: number) => {
      const messages = entries.map((entry, offset) => {
        const { buffer } = encodeKafkaJSMessageSet({ messageVersion, compression: 0, entries: [entry] })
        buffer.writeBigInt64BE(BigInt(10 + offset), 0)
        return buffer
      })
      return Buffer.concat(messages)
    }

    it.each([4, 6, 7, 11])('are decoded by kafkajs: version %i', async version => {
      const { broker } = lazily({}, version)
      const batch = await deliver(broker, { records: messageSet(1) }, 11, version)
      expect(batch.lastOffset()).toBe('12')
      const [fetched, ...others] = batchesOf(batch)
      expect(others).toEqual([])
      expect(fetched).toMatchObject({ from: 0, batch: { count: 2, lastOffset: 12, byteLength: 4 } })
      for (const [i, name] of ['b', 'c'].entries()) {
        for (const { at, batch } of [
          { at: i, batch: fetched!.batch },
          { at: 0, batch: fetched!.batch.copy(i) },
        ]) {
          expect([batch.offset(at), batch.timestamp(at), batch.headers(at)]).toEqual([11 + i, 1_700_000_000_000, []])
          expect(`${batch.key(at)} ${batch.value(at)}`).toBe(`${name} ${name.toUpperCase()}`)
        }
      }
      const copy = fetched!.batch.copy(1)
      expect([copy.key(0), copy.value(0)].map(bytes => bytes!.buffer.byteLength)).toEqual([1, 1])
      expect(() => fetched!.batch.value(2)).toThrow(RangeError)
      expect(() => fetched!.batch.headers(2)).toThrow(RangeError)
    })

    it('have no time in the oldest one', async () => {
      const { broker } = lazily()
      expect(batchesOf(await deliver(broker, { records: messageSet(0) }))[0]!.batch.timestamp(0)).toBe(-1)
    })

    it('come unwrapped from brokers that have nothing else', async () => {
      const broker = brokerOf(3)
      const { lookupRequest } = broker
      decodeLazily(broker, { onUnreadable: vi.fn() })
      const decoderOf = (lookup: typeof lookupRequest) =>
        lookup(FETCH, kafkaJSRequests.Fetch)({ topics: [] }).response.decode
      expect(decoderOf(broker.lookupRequest)).toBe(decoderOf(lookupRequest))
    })

    it('that kafkajs cannot decode are told', async () => {
      const { broker, onUnreadable } = lazily()
      const records = messageSet(1)
      // The lowest bits of its attributes: LZ4.
      records[17] = 3
      expect((await deliver(broker, { records }, 10)).isEmpty()).toBe(true)
      expect(onUnreadable).toHaveBeenCalledExactlyOnceWith(
        expect.objectContaining({
          topic: 'orders',
          partition: 0,
          offset: 10n,
          message: expect.stringContaining('LZ4'),
        }),
      )
    })
  })
})

describe('fetchLazily', () => {
  it('makes every broker of the cluster lazy that kafkajs looks for', async () => {
    const broker = brokerOf(11)
    const findBroker = vi.fn(async (_: { nodeId: string }) => broker)
    const cluster: KafkaJSCluster = { findBroker }
    fetchLazily(cluster, { onUnreadable: vi.fn() })
    await cluster.findBroker({ nodeId: '1' })
    expect(await cluster.findBroker({ nodeId: '2' })).toBe(broker)
    expect(findBroker.mock.calls).toEqual([[{ nodeId: '1' }], [{ nodeId: '2' }]])
    expect(offsetsOf(await deliver(broker, { records: batchAt(0, 1) }))).toEqual([0])
  })
})
