import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { CompressionTypes, Kafka, logLevel } from 'kafkajs'
import { pino } from 'pino'
import { lastValueFrom, tap } from 'rxjs'
import { PublishError, type RxMikaError, UnroutableFailureError } from 'rxmika'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { encodeRecordBatch } from '../../src/protocol/records/record-batch-encoder'
import { GroupHeaders } from '../../src/retry/headers'
import type { StoredRecord } from '../contract/backend'
import { Collected } from '../contract/collected'
import { kafkaBackend } from '../contract/kafka-backend'
import { type Run, scenarios, type World } from '../contract/world'
import { produced } from '../produced'
import { type AnyRecord, anyRecord } from '../properties/any-record'
import { createTopic } from './create-topic'
import { describeKafka, kafkaBrokers } from './describe-kafka'

const backend = kafkaBackend(() => kafkaBrokers)
const scenario = scenarios(backend)

const hour = 3_600_000
/** The largest value of the brokers' timestamp settings: every timestamp is accepted. */
const anyTime = '9223372036854775807'

type Settings = Readonly<Record<string, string>>

/** A topic with one partition and Kafka's defaults, but without retention, because retention counts from the records' timestamps. */
async function topicWith(world: World, base: string, settings: Settings = {}): Promise<string> {
  const topic = world.name(base)
  const configEntries = Object.entries({ 'retention.ms': '-1', ...settings }).map(([name, value]) => ({ name, value }))
  await createTopic({ brokers: [...kafkaBrokers] }, { topic, numPartitions: 1, configEntries })
  return topic
}

/** Writes the records one by one, and expects that the broker accepts each. */
async function write(world: World, topic: string, records: readonly AnyRecord[]): Promise<void> {
  const driver = backend.driver()
  world.drivers.push(driver)
  const context = { clientId: 'writer', logger: pino({ level: 'silent' }) }
  await lastValueFrom(driver.connect(context), { defaultValue: undefined })
  for (const record of records) {
    const [result] = await lastValueFrom(produced(driver, [{ topic, ...record }]))
    expect(result).toMatchObject({ ok: true })
  }
}

/** Fails every delivery until each record is dead-lettered or held. */
async function failAll(run: Run, topic: string, count: number): Promise<void> {
  run.expected = [PublishError, UnroutableFailureError]
  run.client
    .topic(topic, { retries: 1, dlq: true })
    .pipe(tap(record => record.fail(Object.assign(new Error('m'.repeat(2_000)), { name: 'ChargeError' }))))
    .subscribe()
  run.client.start()
  const held = new Collected(run.client.errors)
  const unroutable = (errors: readonly RxMikaError[]) => errors.filter(error => error instanceof UnroutableFailureError)
  const dead = () => run.events.values.filter(({ type }) => type === 'dead-lettered').length
  const isOver = () => dead() + unroutable(held.values).length >= count
  await Promise.race([run.events.until(isOver), held.until(isOver)])
}

const heldOf = (run: Run) => run.errors.values.filter(error => error instanceof UnroutableFailureError)

class Fates {
  constructor(
    readonly group: GroupHeaders,
    readonly retries: readonly StoredRecord[],
    readonly dead: readonly StoredRecord[],
  ) {}

  static async of(group: string, retryTopic: string, dlqTopic: string): Promise<Fates> {
    const [retries, dead] = await Promise.all([backend.records(retryTopic), backend.records(dlqTopic)])
    return new Fates(new GroupHeaders(group), retries, dead)
  }

  ownHeader({ headers }: StoredRecord, field: string): string | undefined {
    return headers.find(([name]) => name === `mika_err_${this.group.group}_${field}`)?.[1]?.toString()
  }

  /** The copies of the record at that offset: on the retry topic, on the DLQ topic. */
  at(offset: number): readonly [readonly StoredRecord[], readonly StoredRecord[]] {
    const isOf = (copy: StoredRecord) => this.ownHeader(copy, 'org_offset') === String(offset)
    return [this.retries.filter(isOf), this.dead.filter(isOf)]
  }

  content({ key, value, headers }: StoredRecord | AnyRecord): unknown {
    return { key, value, headers: headers.filter(([name]) => !this.group.isOwn(name)) }
  }
}

const keyed = <T extends AnyRecord>(record: T, at: number): T => ({ ...record, key: Buffer.from(`key ${at}`) })

describeKafka('the last resort accepts every record that Kafka accepted', () => {
  beforeAll(() => backend.open())
  afterAll(() => backend.close())

  scenario(
    'a record with any timestamp is retried once and dead-lettered, its own timestamp kept in a header',
    async world => {
      const group = world.name('group')
      const topic = await topicWith(world, 'orders', { 'message.timestamp.after.max.ms': anyTime })
      const [retryTopic, dlqTopic] = await Promise.all([topicWith(world, 'retries'), topicWith(world, 'dlq')])
      const now = Date.now()
      const timestamps = [
        ...[-1, 0, 1, -86_400_000, -2, now, now - hour, now + hour / 2, now + 2 * hour, now * 1_000],
        ...[Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER + 1],
        ...fc.sample(fc.maxSafeInteger(), 20),
      ]
      const records = fc.sample(anyRecord, timestamps.length).map((record, at) => ({
        ...record,
        timestamp: timestamps[at]!,
      }))
      await write(world, topic, records)
      const run = world.client({ group, retryTopic, dlqTopic })
      await failAll(run, topic, records.length)
      expect(heldOf(run)).toEqual([])
      await Promise.all([run.committed(topic, 0, records.length), run.committed(retryTopic, 0, records.length)])
      const fates = await Fates.of(group, retryTopic, dlqTopic)
      records.forEach((record, at) => {
        const [retries, dead] = fates.at(at)
        expect([retries.length, dead.length]).toEqual([1, 1])
        for (const copy of [...retries, ...dead]) {
          expect(fates.content(copy)).toEqual(fates.content(record))
          expect(fates.ownHeader(copy, 'org_timestamp')).toBe(String(record.timestamp))
          // Kafka 4 refuses what is more than an hour ahead.
          if (record.timestamp < now + hour) expect(copy.timestamp).toBe(record.timestamp)
          else expect(Math.abs(copy.timestamp - now)).toBeLessThan(hour)
        }
      })
      // A copy that was refused and then written with another timestamp is no error.
      expect(run.errors.values).toEqual([])
    },
  )

  scenario('a record up to the size limit of a topic is copied with the headers that fit', async world => {
    const group = world.name('group')
    const limit = 8_192
    const settings = { 'max.message.bytes': String(limit) }
    const names = ['orders', 'retries', 'dlq'].map(name => topicWith(world, name, settings))
    const [topic, retryTopic, dlqTopic] = (await Promise.all(names)) as [string, string, string]
    const identity = { producerId: 0n, epoch: 0, first: 0 }
    const room =
      limit - encodeRecordBatch([{ key: null, value: randomBytes(limit), headers: [], timestamp: 0 }], identity).length
    // The exact limit and smaller sizes. Every second value is text, which gzip compresses well.
    const sizes = [0, 0, 1, 100, 400, 700, 1_000, 1_500, 3_000, 6_000].map(less => limit + room - less)
    const records = sizes.map((size, at): AnyRecord => {
      const value = at % 2 === 0 ? randomBytes(size) : Buffer.alloc(size, 'text ')
      return { key: null, value, headers: [], timestamp: 1_700_000_000_000 }
    })
    await write(world, topic, records)
    const run = world.client({ group, retryTopic, dlqTopic })
    await failAll(run, topic, records.length)
    const fates = await Fates.of(group, retryTopic, dlqTopic)
    const held = heldOf(run).map(error => (error as UnroutableFailureError).offset)
    for (const error of heldOf(run)) expect(error.message).toContain('MESSAGE_TOO_LARGE')
    records.forEach((record, at) => {
      const [retries, dead] = fates.at(at)
      const isHopeless = at % 2 === 0 && sizes[at]! > limit + room - 400
      if (isHopeless) {
        expect([retries.length, dead.length, held.includes(BigInt(at))]).toEqual([0, 0, true])
        return
      }
      expect([retries.length, dead.length, held.includes(BigInt(at))]).toEqual([1, 1, false])
      for (const copy of [...retries, ...dead]) expect(fates.content(copy)).toEqual(fates.content(record))
    })
    // All headers if there is room, the fewest if there is not.
    const [[, [full]], [, [least]]] = [fates.at(9), fates.at(4)]
    expect([fates.ownHeader(full!, 'error_name'), fates.ownHeader(full!, 'error_stack') !== undefined]).toEqual([
      'ChargeError',
      true,
    ])
    expect([fates.ownHeader(least!, 'error_name'), fates.ownHeader(least!, 'retries')]).toEqual([undefined, '1'])
  })

  scenario('a compressed record is copied although its uncompressed size exceeds the limit', async world => {
    const group = world.name('group')
    const settings = { 'max.message.bytes': '20000' }
    const names = ['orders', 'retries', 'dlq'].map(name => topicWith(world, name, settings))
    const [topic, retryTopic, dlqTopic] = (await Promise.all(names)) as [string, string, string]
    const producer = new Kafka({ brokers: [...kafkaBrokers], logLevel: logLevel.NOTHING }).producer()
    await producer.connect()
    const value = JSON.stringify(Array.from({ length: 20_000 }, (_, id) => ({ id: id % 100, name: 'name' })))
    try {
      await producer.send({ topic, compression: CompressionTypes.GZIP, messages: [{ key: 'k', value }] })
    } finally {
      await producer.disconnect()
    }
    const run = world.client({ group, retryTopic, dlqTopic })
    await failAll(run, topic, 1)
    expect(heldOf(run)).toEqual([])
    const fates = await Fates.of(group, retryTopic, dlqTopic)
    const [retries, dead] = fates.at(0)
    expect([...retries, ...dead].map(copy => String(copy.value) === value)).toEqual([true, true])
    // The copy has all its headers.
    expect(fates.ownHeader(dead[0]!, 'error_stack')).toBeDefined()

    // A replay that skips the dead letter writes it back.
    expect(await lastValueFrom(run.client.replayDlq({ filter: () => false }))).toMatchObject({
      skipped: 1,
      remaining: 0,
    })
    const written = (await backend.records(dlqTopic)).map(copy => String(copy.value) === value)
    expect(written).toEqual([true, true])
  })

  scenario('a record with any key, value and headers is retried and dead-lettered', async world => {
    const group = world.name('group')
    const names = ['orders', 'retries', 'dlq'].map(name => topicWith(world, name))
    const [topic, retryTopic, dlqTopic] = (await Promise.all(names)) as [string, string, string]
    const odd = ['', '__proto__', 'constructor', 'toString', '\u0000', 'ünï', 'x'.repeat(500)]
    const many = Array.from(
      { length: 2_000 },
      (_, at) => [odd[at % odd.length]!, at % 3 === 0 ? null : Buffer.from([at % 256])] as const,
    )
    const records: AnyRecord[] = [
      ...fc.sample(anyRecord, 60),
      { key: null, value: null, headers: many, timestamp: 0 },
      {
        key: Buffer.alloc(0),
        value: Buffer.alloc(0),
        headers: odd.map(name => [name, Buffer.alloc(0)] as const),
        timestamp: 0,
      },
    ].map(record => ({ ...record, timestamp: 1_700_000_000_000 }))
    await write(world, topic, records)
    const run = world.client({ group, retryTopic, dlqTopic })
    await failAll(run, topic, records.length)
    expect(run.errors.values).toEqual([])
    const fates = await Fates.of(group, retryTopic, dlqTopic)
    records.forEach((record, at) => {
      const [retries, dead] = fates.at(at)
      expect([retries.length, dead.length]).toEqual([1, 1])
      for (const copy of [...retries, ...dead]) expect(fates.content(copy)).toEqual(fates.content(record))
    })
  })

  describe('on compacted topics', () => {
    const compacted = { 'cleanup.policy': 'compact' }

    scenario('a record without a key goes to the next step, and is unroutable after the last', async world => {
      const group = world.name('group')
      const topic = await topicWith(world, 'orders')
      const [retryTopic, dlqTopic] = await Promise.all([
        topicWith(world, 'retries', compacted),
        topicWith(world, 'dlq'),
      ])
      const records = fc.sample(anyRecord, 30).map((record, at) => ({
        ...(at % 3 === 0 ? { ...record, key: null } : keyed(record, at)),
        timestamp: 1_700_000_000_000,
      }))
      await write(world, topic, records)
      const run = world.client({ group, retryTopic, dlqTopic })
      await failAll(run, topic, records.length)
      expect(heldOf(run)).toEqual([])
      await run.committed(topic, 0, records.length)
      const fates = await Fates.of(group, retryTopic, dlqTopic)
      records.forEach((_, at) => {
        const [retries, dead] = fates.at(at)
        expect([retries.length, dead.length]).toEqual([at % 3 === 0 ? 0 : 1, 1])
      })

      const other = world.client({ group: world.name('other'), dlqTopic: retryTopic })
      other.expected = [PublishError, UnroutableFailureError]
      other.client.topic(topic, { dlq: true }).subscribe(record => record.fail('no'))
      other.client.start()
      await other.errors.until(() => heldOf(other).length === 10)
      for (const error of heldOf(other)) expect(error.message).toContain('INVALID_RECORD')
      expect(other.client.stalls()).toMatchObject([{ topic, offset: 0n, why: 'unroutable' }])
    })
  })
})
