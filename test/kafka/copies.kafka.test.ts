import fc from 'fast-check'
import { lastValueFrom, tap } from 'rxjs'
import type { HeaderPair } from 'rxmika'
import { afterAll, beforeAll, expect } from 'vitest'
import { GroupHeaders } from '../../src/retry/headers'
import type { StoredRecord } from '../contract/backend'
import { Collected } from '../contract/collected'
import { kafkaBackend } from '../contract/kafka-backend'
import { scenarios, type World } from '../contract/world'
import { type AnyRecord, anyRecords, hostileOwn } from '../properties/any-record'
import { describeKafka, kafkaBrokers } from './describe-kafka'

const backend = kafkaBackend(() => kafkaBrokers)
const scenario = scenarios(backend)

/** Each record has a unique timestamp, by which it is identified. */
const base = 1_700_000_000_000

async function shop(world: World) {
  const partitions = 3
  const names = ['orders', 'retries', 'dlq'].map(name => world.topic(name, partitions))
  const [topic, retryTopic, dlqTopic] = (await Promise.all(names)) as [string, string, string]
  return { topic, retryTopic, dlqTopic, group: world.name('group') }
}

function bytes({ key, value, timestamp, headers }: StoredRecord, group: GroupHeaders): AnyRecord {
  return { key, value, timestamp, headers: headers.filter(([name]) => !group.isOwn(name)) }
}

const byTime = <T extends { readonly timestamp: number }>(records: readonly T[]) =>
  [...records].sort((one, other) => one.timestamp - other.timestamp)

describeKafka('copies on a real Kafka', () => {
  beforeAll(() => backend.open())
  afterAll(() => backend.close())

  scenario('of 200 generated records equal their records, through retry, DLQ and replay', async world => {
    const { topic, ...options } = await shop(world)
    const records = anyRecords(200, base)
    const run = world.client(options)
    await lastValueFrom(run.client.publish(records.map(record => ({ topic, ...record }))))
    const seen = new Collected(
      run.client
        .topic(topic, { retries: 1, dlq: true })
        .pipe(tap(record => (record.source.kind === 'dlq' ? record.ack() : record.fail(new Error('no'))))),
    )
    run.client.start()
    await seen.count(400)
    // The first replay skips half of them, and writes these back. The second replay delivers them.
    const even = ({ timestamp }: { readonly timestamp: number }) => timestamp % 2 === 0
    await run.events.until(events => events.filter(({ type }) => type === 'dead-lettered').length === 200)
    expect(await lastValueFrom(run.client.replayDlq({ filter: even }))).toEqual({
      ...{ delivered: 100, skipped: 100, remaining: 0 },
    })
    expect(await lastValueFrom(run.client.replayDlq())).toEqual({ delivered: 100, skipped: 0, remaining: 0 })

    const group = new GroupHeaders(options.group)
    const stored = async (name: string) => byTime(await backend.records(name)).map(record => bytes(record, group))
    expect(await stored(topic)).toEqual(records)
    expect(await stored(options.retryTopic)).toEqual(records)
    const odd = records.filter(record => !even(record))
    expect(await stored(options.dlqTopic)).toEqual(byTime([...records, ...odd]))
    const shown = ({ key, value, timestamp }: Omit<AnyRecord, 'headers'>) => ({ key, value, timestamp })
    for (const kind of ['topic', 'retry', 'dlq']) {
      const delivered = byTime(seen.values.filter(({ source }) => source.kind === kind))
      expect(delivered.map(shown)).toEqual(records.map(shown))
      expect(delivered.map(({ headers }) => Object.entries(headers))).toEqual(
        records.map(({ headers }) => inKafkajsShape(headers)),
      )
    }
  })

  scenario(
    'with hostile headers of the group are dead-lettered once or skipped, and delay no other record',
    async world => {
      const { topic, ...options } = await shop(world)
      const group = new GroupHeaders(options.group)
      const hostile = fc.sample(hostileOwn(options.group, topic), 200)
      const good: HeaderPair[] = [[`mika_err_${options.group}_org_topic`, Buffer.from(topic)]]
      const records = anyRecords(220, base).map((record, at) => {
        return { ...record, headers: [...record.headers, ...(at % 11 === 0 ? good : hostile[at % 200]!)] }
      })
      // Records with a delay have their own tests.
      const prompt = records.filter(({ headers }) => !headers.some(([name]) => name.endsWith('_not_before')))
      const run = world.client(options)
      const seen = new Collected(run.client.topic(topic, { retries: 1, dlq: true }).pipe(tap(record => record.ack())))
      await lastValueFrom(run.client.publish(prompt.map(record => ({ topic: options.retryTopic, ...record }))))
      run.client.start()

      const fates = prompt.map(({ headers }) => {
        const read = group.read(headers, { kind: 'retry', partition: 0, offset: 0, timestamp: 0 })
        if (read.kind !== 'own') return read.kind
        return read.origin.topic === topic ? 'delivered' : 'no-consumer'
      })
      const count = (...kinds: string[]) => fates.filter(fate => kinds.includes(fate)).length
      expect(count('malformed')).toBeGreaterThan(20)
      expect(count('foreign')).toBeGreaterThan(20)
      await run.events.until(
        events =>
          events.filter(({ type }) => type === 'dead-lettered').length === count('malformed', 'no-consumer') &&
          events.filter(({ type }) => type === 'skipped').length === count('foreign'),
      )
      await seen.count(count('delivered'))
      expect(await run.client.closeGracefully()).toEqual({ drained: true, unsettled: 0, left: [] })
      expect(seen.values).toHaveLength(count('delivered'))
      const lag = await Promise.all(
        [0, 1, 2].map(async partition => {
          const end = (await backend.records(options.retryTopic)).filter(
            record => record.partition === partition,
          ).length
          return BigInt(end) - ((await backend.committed(options.group, options.retryTopic, partition)) ?? 0n)
        }),
      )
      expect(lag).toEqual([0n, 0n, 0n])
      const dead = await backend.records(options.dlqTopic)
      const header = ({ headers }: StoredRecord, field: string) =>
        String(headers.find(([name]) => name === `mika_err_${options.group}_${field}`)?.[1])
      const malformed = dead.filter(copy => header(copy, 'disposition') === 'malformed')
      expect(malformed).toHaveLength(count('malformed'))
      for (const copy of malformed) {
        expect(header(copy, 'retries')).toBe('0')
        const original = prompt.find(({ timestamp }) => timestamp === copy.timestamp)!
        expect(bytes(copy, group)).toEqual(bytes({ ...copy, ...original }, group))
      }
    },
  )
})

function inKafkajsShape(pairs: readonly HeaderPair[]): unknown {
  const headers: Record<string, unknown> = Object.create(null)
  for (const [name, value] of pairs) {
    const before = headers[name]
    headers[name] = before === undefined ? value : Array.isArray(before) ? [...before, value] : [before, value]
  }
  return Object.entries(headers)
}
