import * as zlib from 'node:zlib'
import { pino } from 'pino'
import { type Codecs, type Driver, FetchError, type ProduceResult } from 'rxmika'
import { afterAll, beforeAll, expect } from 'vitest'
import { type KafkaOptions, kafkaDriver } from '../../src/drivers/kafka/index'
import { Collected } from '../contract/collected'
import { done, Member } from '../contract/driver-member'
import { kafkaBackend } from '../contract/kafka-backend'
import { numbered, scenarios, texts, type World } from '../contract/world'
import { produced } from '../produced'
import { createTopic } from './create-topic'
import { describeKafka, kafkaBrokers } from './describe-kafka'
import { lz4 } from './lz4'

describeKafka('what a driver reads and writes', () => {
  const backend = kafkaBackend(() => kafkaBrokers)
  const scenario = scenarios(backend)
  beforeAll(() => backend.open())
  afterAll(() => backend.close())

  async function connected(world: World, options: Pick<KafkaOptions, 'codecs'> = {}): Promise<Driver> {
    const driver = kafkaDriver({ brokers: kafkaBrokers, ...options })
    world.drivers.push(driver)
    await done(driver.connect({ clientId: 'codec', logger: pino({ level: 'silent' }) }))
    return driver
  }

  async function topicWith(world: World, base: string, config: Readonly<Record<string, string>>): Promise<string> {
    const topic = world.name(base)
    const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }))
    await createTopic({ brokers: kafkaBrokers }, { topic, numPartitions: 1, configEntries })
    return topic
  }

  // ── Compression ──────────────────────────────────────────────────────────────────────────────────────────────────

  // Node has zstd from 22.15 on.
  const zstdIsBuiltIn = 'zstdDecompressSync' in zlib
  const readable: readonly (readonly [string, Codecs])[] = [
    ['gzip', {}],
    ['snappy', {}],
    ['lz4', { lz4 }],
    ...(zstdIsBuiltIn ? ([['zstd', {}]] as const) : []),
  ]
  const values = numbered(0, 500).map(({ value }) => ({ value: `${value}:`.padEnd(200, 'abc') }))

  for (const [codec, codecs] of readable) {
    scenario(`reads records that the broker stores with ${codec}`, async world => {
      const topic = await topicWith(world, codec, { 'compression.type': codec })
      await backend.publish(topic, values)
      const member = new Member(await connected(world, { codecs }), { topics: [topic] })
      await member.read(values.length)
      expect(texts(member.reads)).toEqual(values.map(({ value }) => value))

      const run = world.client({ codecs })
      const seen = new Collected(run.client.topic(topic))
      run.client.start()
      await seen.count(values.length)
      expect(texts(seen)).toEqual(values.map(({ value }) => value))
    })
  }

  for (const codec of zstdIsBuiltIn ? ['lz4'] : ['lz4', 'zstd']) {
    scenario(`ends with an error that names place and codec if there is no decoder for ${codec}`, async world => {
      const topic = await topicWith(world, codec, { 'compression.type': codec })
      await backend.publish(topic, values)
      const member = new Member(await connected(world), { group: world.name('group'), topics: [topic] })
      const { error } = await member.events.ended()
      expect(error).toBeInstanceOf(FetchError)
      expect(error).toMatchObject({ topic, partition: 0, offset: 0n })
      expect(String(error)).toContain(`compressed with ${codec}`)
      expect(String(error)).toContain(topic)
      expect(member.reads).toEqual([])
    })

    scenario(`closes a client without a decoder for ${codec}, with the same error`, async world => {
      const topic = await topicWith(world, codec, { 'compression.type': codec })
      await backend.publish(topic, values)
      const run = world.client({ group: world.name('group') })
      run.expected = [FetchError]
      const orders = new Collected(run.client.topic(topic))
      run.client.start()
      await run.client.closed
      expect(orders.end!.error).toBeInstanceOf(FetchError)
      expect(orders.end!.error).toMatchObject({ topic, partition: 0, offset: 0n })
      expect(String(orders.end!.error)).toContain(`compressed with ${codec}`)
      expect(run.errors.values).toEqual([orders.end!.error])
    })
  }

  // ── Size ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  scenario('splits a batch that is too large for the topic', async world => {
    const topic = await topicWith(world, 'small', { 'max.message.bytes': '20000' })
    const driver = await connected(world)
    const records = numbered(0, 100).map(({ value }) => ({ topic, value: value.padStart(1_000, '.') }))
    const results = await done(produced(driver, records))
    expect(results).toEqual(records.map((_, at) => ({ ok: true, topic, partition: 0, offset: BigInt(at) })))
    expect(texts(await backend.records(topic))).toEqual(records.map(({ value }) => value))
  })

  scenario('refuses for good one record that is too large, and writes the others', async world => {
    const topic = await topicWith(world, 'small', { 'max.message.bytes': '20000' })
    const driver = await connected(world)
    const records = numbered(0, 30).map(({ value }, at) => ({
      topic,
      value: value.padStart(at === 17 ? 50_000 : 100, '.'),
    }))
    const results = (await done(produced(driver, records))) as readonly ProduceResult[]
    const refused = results[17]
    expect(refused).toMatchObject({ ok: false, error: { code: 'RXMIKA_PUBLISH', retriable: false, topic } })
    expect(refused).toMatchObject({ error: { message: expect.stringContaining('MESSAGE_TOO_LARGE') } })
    const written = records.filter((_, at) => at !== 17).map(({ value }) => value)
    expect(results.filter(result => result.ok)).toHaveLength(29)
    expect(texts(await backend.records(topic))).toEqual(written)
    // The next record is accepted too: the sequence of the partition continues.
    const [next] = (await done(produced(driver, [{ topic, value: 'next' }]))) as readonly ProduceResult[]
    expect(next).toEqual({ ok: true, topic, partition: 0, offset: 29n })
  })
})
