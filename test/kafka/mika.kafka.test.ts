import { lastValueFrom, tap } from 'rxjs'
import type { ConsumeRecord, HeaderPair } from 'rxmika'
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import type { StoredRecord } from '../contract/backend'
import { Collected } from '../contract/collected'
import { kafkaBackend } from '../contract/kafka-backend'
import { numbered, scenarios, texts, type World } from '../contract/world'
import { anyRecords } from '../properties/any-record'
import { kafkaBrokers } from './describe-kafka'
import { Mika, type MikaOptions, mikaProgram } from './mika/mika'
import { orNotRun } from './or-not-run'

const program =
  kafkaBrokers.length === 0 ? undefined : await orNotRun(mikaProgram, 'The suite with MiKa in Go is NOT RUN.')

const backend = kafkaBackend(() => kafkaBrokers)
const scenario = scenarios(backend)
const running: Mika[] = []

async function go(options: Omit<MikaOptions, 'brokers'>): Promise<Mika> {
  const mika = await Mika.start(program!, { brokers: kafkaBrokers, ...options })
  running.push(mika)
  return mika
}

/** Topics that both sides use; names without the suffix. */
async function shop(world: World, { suffix = '', partitions = 1 } = {}) {
  const names = { orders: world.name('orders'), retryTopic: world.name('retries'), dlqTopic: world.name('dlq') }
  await Promise.all(Object.values(names).map(name => backend.createTopic(name + suffix, partitions)))
  return names
}

const isOwn = (group: string) => (name: string) => name.startsWith(`mika_err_${group}_`)

/** A group's headers, by their short names. */
function own({ headers }: { readonly headers: readonly HeaderPair[] }, group: string): Record<string, string> {
  const found = headers.filter(([name]) => isOwn(group)(name))
  return Object.fromEntries(found.map(([name, value]) => [name.slice(`mika_err_${group}_`.length), String(value)]))
}

/** All other headers. */
function others({ headers }: { readonly headers: readonly HeaderPair[] }, group: string): HeaderPair[] {
  return headers.filter(([name]) => !isOwn(group)(name))
}

const odd: readonly HeaderPair[] = [
  ['b', Buffer.from('1')],
  ['a', Buffer.from([0xff, 0x00, 0xfe])],
  ['b', null],
  ['constructor', Buffer.from('not a function')],
  ['__proto__', Buffer.alloc(0)],
  ['b', Buffer.from('1')],
  ['', Buffer.from('no name')],
]

/** Long enough for snappy to make it shorter. */
const long = (text: string) => Buffer.from(text.repeat(1_000))
const at = 1_700_000_000_000

describe.skipIf(program === undefined)('MiKa in Go', () => {
  beforeAll(() => backend.open())
  afterAll(() => backend.close())
  afterEach(() => {
    for (const mika of running.splice(0)) mika.kill()
  })

  describe.each(['', '-dev'])("in one group, with the suffix '%s'", suffix => {
    scenario('writes retries, compressed by snappy, that this library acks, or fails to the DLQ', async world => {
      const { orders, retryTopic, dlqTopic } = await shop(world, { suffix })
      const group = world.name('group')
      const fullGroup = group + suffix
      const topics = [{ name: orders, retries: 1, dlq: true }]
      const mika = await go({ group, retryTopic, dlqTopic, suffix, topics, pauseRetries: true })
      await mika.fail({ times: 2, message: 'Go says no' })
      await mika.produce(orders + suffix, [
        { key: Buffer.from('a'), value: long('a'), headers: odd, timestamp: at },
        { key: null, value: long('b'), headers: odd, timestamp: at + 1 },
      ])
      const failed = await mika.delivered(2)
      expect(failed.map(({ outcome }) => outcome)).toEqual(['retried', 'retried'])
      await mika.stop()
      await expect(backend.records(retryTopic + suffix)).rejects.toThrow(
        'a batch compressed by codec 2 cannot be read here',
      )

      const run = world.client({ group, retryTopic, dlqTopic, suffix })
      const seen = new Collected(
        run.client
          .topic(orders, { retries: 1, dlq: true })
          .pipe(tap(record => (String(record.key) === 'a' ? record.ack() : record.fail(new Error('rxmika says no'))))),
      )
      run.client.start()
      await run.committed(retryTopic, 0, 2)
      // No record of `orders` itself: Go had committed them, and both are one group.
      expect(seen.values).toHaveLength(2)
      for (const [index, record] of seen.values.entries()) {
        expect(record).toMatchObject({ topic: orders, partition: 0, attempt: 2, timestamp: at + index })
        expect(record.source).toMatchObject({ kind: 'retry', topic: retryTopic, partition: 0, offset: BigInt(index) })
        expect(record.value).toEqual(long(index === 0 ? 'a' : 'b'))
        expect(record.key).toEqual(index === 0 ? Buffer.from('a') : null)
        expect(Object.entries(record.headers)).toEqual([
          ['b', [Buffer.from('1'), null, Buffer.from('1')]],
          ['a', Buffer.from([0xff, 0x00, 0xfe])],
          ['constructor', Buffer.from('not a function')],
          ['__proto__', Buffer.alloc(0)],
          ['', Buffer.from('no name')],
        ])
      }

      const dead = await backend.records(dlqTopic + suffix)
      expect(dead).toHaveLength(1)
      expect(dead[0]).toMatchObject({ key: null, value: long('b'), timestamp: at + 1 })
      expect(others(dead[0]!, fullGroup)).toEqual(odd)
      expect(own(dead[0]!, fullGroup)).toMatchObject({
        org_topic: orders + suffix,
        retries: '1',
        msg: 'rxmika says no',
        disposition: 'exhausted',
      })
    })

    scenario(
      'reads retries of this library as its own, continues their count, and dead-letters them when they are used up',
      async world => {
        const { orders, retryTopic, dlqTopic } = await shop(world, { suffix })
        const group = world.name('group')
        const fullGroup = group + suffix
        const run = world.client({ group, retryTopic, dlqTopic, suffix })
        const { client } = run
        client.topic(orders, { retries: 2, dlq: true }).subscribe(record => {
          // Paused, so that it leaves its retry to Go.
          client.pause(orders)
          record.fail(new Error('rxmika says no'))
        })
        await lastValueFrom(client.publish({ topic: orders, key: 'k', value: 'v', headers: odd, timestamp: at }))
        client.start()
        await run.committed(orders, 0, 1)
        await client.close()

        const topics = [{ name: orders, retries: 2, dlq: true }]
        const failing = { times: 2, message: 'Go says no' }
        const mika = await go({ group, retryTopic, dlqTopic, suffix, topics, failing })
        const [first, second] = await mika.delivered(2)
        expect(first).toMatchObject({ originalTopic: orders + suffix, retries: 1, outcome: 'retried' })
        expect(second).toMatchObject({ originalTopic: orders + suffix, retries: 2, outcome: 'dead-lettered' })
        for (const { record } of [first!, second!]) {
          expect(record).toMatchObject({ topic: retryTopic + suffix, timestamp: at })
          expect([record.key, record.value]).toEqual([Buffer.from('k'), Buffer.from('v')])
          expect(others(record, fullGroup)).toEqual(odd)
          expect(record.headers.map(([name]) => name)).toEqual(first!.record.headers.map(([name]) => name))
        }
        // Go keeps the headers that this library adds to MiKa's three, as it keeps all others.
        const { org_topic, retries, msg, ...rest } = own(first!.record, fullGroup)
        expect({ org_topic, retries, msg }).toEqual({ org_topic: orders + suffix, retries: '1', msg: 'rxmika says no' })
        expect(own(second!.record, fullGroup)).toEqual({ org_topic, retries: '2', msg, ...rest })

        await mika.consumeDlq()
        const dead = (await mika.delivered(3))[2]!
        expect(dead).toMatchObject({ originalTopic: orders + suffix, retries: 2, outcome: 'acked' })
        expect(dead.record.topic).toBe(dlqTopic + suffix)
        expect(mika.errors).toEqual([])
      },
    )

    scenario('writes dead letters that this library replays, with their count of retries', async world => {
      const { orders, retryTopic, dlqTopic } = await shop(world, { suffix })
      const group = world.name('group')
      const fullGroup = group + suffix
      const topics = [{ name: orders, retries: 1, dlq: true }]
      const mika = await go({ group, retryTopic, dlqTopic, suffix, topics })
      await mika.fail({ times: 2, message: 'Go says no' })
      await mika.produce(orders + suffix, [{ key: Buffer.from('k'), value: long('v'), headers: odd, timestamp: at }])
      const deliveries = await mika.delivered(2)
      expect(deliveries.map(({ outcome }) => outcome)).toEqual(['retried', 'dead-lettered'])
      await mika.stop()

      const run = world.client({ group, retryTopic, dlqTopic, suffix })
      let works = false
      const seen = new Collected(
        run.client
          .topic(orders, { retries: 1, dlq: true })
          .pipe(tap(record => (works ? record.ack() : record.fail(new Error('rxmika says no'))))),
      )
      run.client.start()
      expect(await lastValueFrom(run.client.replayDlq())).toEqual({ delivered: 1, skipped: 0, remaining: 0 })
      works = true
      expect(await lastValueFrom(run.client.replayDlq())).toEqual({ delivered: 1, skipped: 0, remaining: 0 })
      await run.committed(dlqTopic, 0, 2)
      expect(seen.values.map(({ source, attempt }) => [source.kind, source.offset, attempt])).toEqual([
        ['dlq', 0n, 2],
        ['dlq', 1n, 2],
      ])
      expect(seen.values.map(({ value }) => value)).toEqual([long('v'), long('v')])
      await run.client.close()

      // Both are completed for the group. Go finds only what the group dead-letters later.
      const later = await go({ group, retryTopic, dlqTopic, suffix, topics })
      await later.consumeDlq()
      await later.fail({ times: 1, message: 'Go says no', retryable: false })
      await later.produce(orders + suffix, [{ key: Buffer.from('k'), value: Buffer.from('w'), timestamp: at }])
      const [failed, replayed] = await later.delivered(2)
      expect(failed).toMatchObject({ retries: 0, outcome: 'dead-lettered' })
      expect(replayed).toMatchObject({ retries: 0, outcome: 'acked', record: { topic: dlqTopic + suffix, offset: 2 } })
      expect(own(replayed!.record, fullGroup)).toEqual({
        org_topic: orders + suffix,
        retries: '0',
        msg: 'Go says no',
      })
    })

    scenario('replays dead letters of this library, with their count of retries', async world => {
      const { orders, retryTopic, dlqTopic } = await shop(world, { suffix })
      const group = world.name('group')
      const run = world.client({ group, retryTopic, dlqTopic, suffix })
      run.client.topic(orders, { retries: 2, dlq: true }).subscribe(record => record.fail(new Error('rxmika says no')))
      await lastValueFrom(run.client.publish({ topic: orders, key: 'k', value: 'v', headers: odd, timestamp: at }))
      run.client.start()
      await Promise.all([run.committed(orders, 0, 1), run.committed(retryTopic, 0, 2)])
      await run.client.close()

      const mika = await go({
        ...{ group, retryTopic, dlqTopic, suffix },
        topics: [{ name: orders, retries: 2, dlq: true }],
        failing: { times: 1, message: 'Go says no' },
      })
      await mika.consumeDlq()
      const [failed, acked] = await mika.delivered(2)
      expect(failed).toMatchObject({ originalTopic: orders + suffix, retries: 2, outcome: 'dead-lettered' })
      expect(acked).toMatchObject({ originalTopic: orders + suffix, retries: 2, outcome: 'acked' })
      expect(acked!.record).toMatchObject({ topic: dlqTopic + suffix, offset: 1, timestamp: at })
      expect([acked!.record.key, acked!.record.value]).toEqual([Buffer.from('k'), Buffer.from('v')])
      expect(others(acked!.record, group + suffix)).toEqual(odd)
      expect(await backend.records(retryTopic + suffix)).toHaveLength(2)
    })
  })

  scenario(
    'shares a group with this library by cooperative-sticky, and its partitions move here when it leaves',
    async world => {
      const { orders, retryTopic, dlqTopic } = await shop(world)
      const names = { group: world.name('group'), retryTopic, dlqTopic }
      const record = (value: string) => ({ key: null, value: Buffer.from(value), timestamp: at })
      const mika = await go({ ...names, topics: [{ name: orders, retries: 1, dlq: true }] })
      await mika.produce(orders, [record('a'), record('b')])
      await mika.delivered(2)

      const run = world.client(names)
      const seen = new Collected(run.client.topic(orders, { retries: 1, dlq: true }).pipe(tap(record => record.ack())))
      run.client.start()
      await run.event('state', ({ state }) => state === 'running')
      // Either of the two may have the partition now.
      await mika.produce(orders, [record('c')])
      await mika.stop()
      await lastValueFrom(run.client.publish({ topic: orders, value: 'd' }))
      await run.committed(orders, 0, 4)
      expect(texts(seen).at(-1)).toBe('d')
      expect(['c', 'd']).toEqual(expect.arrayContaining(texts(seen)))
    },
  )

  describe('in another group', () => {
    scenario('shares retry and DLQ topic, and each skips the other’s copies', async world => {
      const suffix = '-dev'
      const { orders, retryTopic, dlqTopic } = await shop(world, { suffix })
      // One name begins with the other.
      const tsGroup = world.name('group')
      const goGroup = `${tsGroup}${suffix}_eu`
      const third: HeaderPair[] = [
        [`mika_err_${tsGroup}_org_topic`, Buffer.from('a group without the suffix')],
        ['mika_err_third_retries', Buffer.from('7')],
      ]
      const run = world.client({ group: tsGroup, retryTopic, dlqTopic, suffix })
      const seen = new Collected(
        run.client
          .topic(orders, { retries: 1, dlq: true })
          .pipe(tap(record => (record.source.kind === 'dlq' ? record.ack() : record.fail('rxmika says no')))),
      )
      const mika = await go({
        ...{ group: goGroup, retryTopic, dlqTopic, suffix },
        topics: [{ name: orders, retries: 1, dlq: true }],
        failing: { times: 10, message: 'Go says no' },
      })
      const records = numbered(0, 5).map(({ value }) => ({ topic: orders, value, headers: third, timestamp: at }))
      await lastValueFrom(run.client.publish(records))
      run.client.start()
      await Promise.all([
        ...[mika.delivered(10), mika.passedOver(5)],
        ...[run.committed(orders, 0, 5), run.committed(retryTopic, 0, 10)],
      ])
      const kinds = seen.values.map(({ value, source }) => `${value} ${source.kind}`).sort()
      expect(kinds).toEqual(['0', '1', '2', '3', '4'].flatMap(value => [`${value} retry`, `${value} topic`]))
      const outcomes = mika.deliveries.map(({ outcome, retries }) => `${outcome} ${retries}`).sort()
      expect(outcomes).toEqual([...Array(5).fill('dead-lettered 1'), ...Array(5).fill('retried 0')])

      const skipped = run.events.values.filter(event => event.type === 'skipped')
      expect(skipped).toHaveLength(5)
      const progress = await lastValueFrom(run.client.replayDlq())
      expect(progress).toEqual({ delivered: 5, skipped: 5, remaining: 0 })
      expect(texts(seen.values.filter(({ source }) => source.kind === 'dlq')).sort()).toEqual(['0', '1', '2', '3', '4'])
      await mika.consumeDlq()
      await Promise.all([mika.delivered(15), mika.passedOver(10)])
      for (const { record } of mika.deliveries.slice(10)) {
        expect(own(record, `${goGroup}${suffix}`)).toMatchObject({ retries: '1', org_topic: orders + suffix })
        expect(others(record, `${goGroup}${suffix}`)).toEqual(third)
      }
      for (const record of mika.skipped) {
        expect(own(record, `${tsGroup}${suffix}`)).toMatchObject({ retries: '1', org_topic: orders + suffix })
        expect(record.headers.slice(0, 2)).toEqual(third)
        expect(own(record, `${goGroup}${suffix}`)).toEqual({})
      }
    })

    scenario('leaves this group’s headers unchanged on a record of both groups, and vice versa', async world => {
      const { orders, retryTopic, dlqTopic } = await shop(world)
      const [tsGroup, goGroup] = [world.name('ours'), world.name('theirs')]
      const marks = (group: string, retries: number): HeaderPair[] => [
        [`mika_err_${group}_org_topic`, Buffer.from(orders)],
        [`mika_err_${group}_retries`, Buffer.from(String(retries))],
        [`mika_err_${group}_msg`, Buffer.from('once')],
      ]
      const run = world.client({ group: tsGroup, retryTopic, dlqTopic })
      const seen: ConsumeRecord[] = []
      run.client.topic(orders, { retries: 1, dlq: true }).subscribe(record => {
        seen.push(record)
        record.fail('rxmika says no')
      })
      const headers = [...marks(tsGroup, 3), ...odd, ...marks(goGroup, 1)]
      await lastValueFrom(run.client.publish({ topic: dlqTopic, value: 'both', headers, timestamp: at }))
      run.client.start()
      expect(await lastValueFrom(run.client.replayDlq())).toMatchObject({ delivered: 1, skipped: 0 })
      expect(seen).toMatchObject([{ topic: orders, attempt: 4 }])
      const [, copy] = await backend.records(dlqTopic)
      expect(others(copy!, tsGroup)).toEqual([...odd, ...marks(goGroup, 1)])
      expect(own(copy!, tsGroup)).toMatchObject({ org_topic: orders, retries: '3', msg: 'rxmika says no' })

      // Closed, because it would also get the records that Go writes now: they have the headers of both groups.
      await run.client.close()
      // Both records have Go's headers too. Go counts retries in its own headers only.
      const mika = await go({
        ...{ group: goGroup, retryTopic, dlqTopic },
        topics: [{ name: orders, retries: 2, dlq: true }],
        failing: { times: 2, message: 'Go says no' },
      })
      await mika.consumeDlq()
      const deliveries = await mika.delivered(4)
      expect(deliveries.map(({ retries, outcome }) => `${retries} ${outcome}`)).toEqual([
        ...['1 retried', '1 retried'],
        ...['2 acked', '2 acked'],
      ])
      const counted = (pairs: readonly HeaderPair[]) =>
        pairs.map(([name, value]) => [name, name === `mika_err_${goGroup}_retries` ? Buffer.from('2') : value])
      expect(deliveries[2]!.record.headers).toEqual(counted(headers))
      expect(deliveries[3]!.record.headers).toEqual(counted(copy!.headers))
    })
  })

  scenario('exchanges a record with this library any number of times, without changing a byte', async world => {
    const { orders, retryTopic, dlqTopic } = await shop(world, { partitions: 4 })
    const group = world.name('group')
    const names = { group, retryTopic, dlqTopic }
    const topics = [{ name: orders, retries: 1, dlq: true }]
    const records = anyRecords(100, at)
    const publisher = world.client()
    await lastValueFrom(publisher.client.publish(records.map(record => ({ topic: orders, ...record }))))

    const failing = { times: records.length, message: 'Go says no' }
    const first = await go({ ...names, topics, failing, pauseRetries: true })
    const read = await first.delivered(records.length)
    await first.stop()
    const run = world.client(names)
    const seen = new Collected(
      run.client.topic(orders, { retries: 1, dlq: true }).pipe(tap(record => record.fail('no'))),
    )
    run.client.start()
    await seen.count(records.length)
    expect(await run.client.closeGracefully()).toEqual({ drained: true, unsettled: 0, left: [] })
    const last = await go({ ...names, topics })
    await last.consumeDlq()
    const dead = await last.delivered(records.length)

    const byTime = <T extends { readonly timestamp: number }>(list: readonly T[]) =>
      [...list].sort((one, other) => one.timestamp - other.timestamp)
    const bytes = ({ key, value, timestamp, headers }: Omit<StoredRecord, 'offset'>) => {
      return { key, value, timestamp, headers: others({ headers }, group) }
    }
    expect(byTime(read.map(({ record }) => record)).map(record => bytes(record))).toEqual(records)
    expect(byTime(dead.map(({ record }) => record)).map(record => bytes(record))).toEqual(records)
    expect(seen.values.map(({ attempt }) => attempt)).toEqual(records.map(() => 2))

    // A key has the same partition, whichever client wrote the copy.
    const partitions = (list: readonly { readonly key: Buffer | null; readonly partition: number }[]) =>
      list.filter(({ key }) => key !== null).map(({ partition }) => partition)
    const original = partitions(byTime(read.map(({ record }) => record)))
    expect(
      partitions(byTime(seen.values.map(({ key, timestamp, source }) => ({ key, timestamp, ...source })))),
    ).toEqual(original)
    expect(partitions(byTime(dead.map(({ record }) => record)))).toEqual(original)
  })
})
