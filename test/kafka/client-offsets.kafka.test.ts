import { type Admin, Kafka, logLevel } from 'kafkajs'
import { tap } from 'rxjs'
import { FetchError } from 'rxmika'
import { afterAll, beforeAll, expect } from 'vitest'
import { Collected } from '../contract/collected'
import { kafkaBackend } from '../contract/kafka-backend'
import { numbered, type Run, scenarios, texts, type World } from '../contract/world'
import { createTopic } from './create-topic'
import { describeKafka, kafkaBrokers } from './describe-kafka'

describeKafka('a client’s positions on Kafka', () => {
  const kafka = new Kafka({ brokers: kafkaBrokers, logLevel: logLevel.NOTHING })
  let admin: Admin
  beforeAll(async () => {
    admin = kafka.admin()
    await Promise.all([backend.open(), admin.connect()])
  })
  afterAll(async () => {
    await Promise.all([backend.close(), admin.disconnect()])
  })
  const backend = kafkaBackend(() => kafkaBrokers)
  const scenario = scenarios(backend)

  const logEnd = async (topic: string) => Number((await admin.fetchTopicOffsets(topic))[0]!.offset)
  const deleteBefore = async (topic: string, offset: number) => {
    // kafkajs knows the leaders only of topics that it has sent a request for.
    await admin.fetchTopicOffsets(topic)
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: String(offset) }] })
  }
  /** The group's lag on the only partition, as a lag monitor shows it. */
  const lag = async (world: World, topic: string) =>
    (await logEnd(topic)) - Number(await backend.committed(world.name('group'), topic, 0))
  const acking = (run: Run, topic: string) => new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))

  scenario('have no lag after transactions, even if the last ones were aborted', async world => {
    const topic = await world.topic('orders')
    const producer = kafka.producer({ transactionalId: world.name('tx'), idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    // Kafka answers the end of a transaction before it has written the marker. Until then the log ends before the transaction.
    const send = async (end: 'commit' | 'abort', ...values: string[]) => {
      const before = await logEnd(topic)
      const transaction = await producer.transaction()
      await transaction.send({ topic, messages: values.map(value => ({ value })) })
      await transaction[end]()
      await expect.poll(() => logEnd(topic)).toBe(before + values.length + 1)
    }
    try {
      const run = world.client({ group: world.name('group') })
      const seen = acking(run, topic)
      await run.start()
      await send('abort', 'x', 'y')
      await send('commit', '0', '1')
      await run.committed(topic, 0, await logEnd(topic))
      expect(await lag(world, topic)).toBe(0)
      await send('abort', 'z')
      await run.committed(topic, 0, await logEnd(topic))
      expect(await lag(world, topic)).toBe(0)
      expect(texts(seen)).toEqual(['0', '1'])
      await run.client.close()

      // A client that starts after these transactions has no lag either.
      await send('commit', '2')
      await send('abort', 'z')
      const next = world.client({ group: world.name('group') })
      const rest = acking(next, topic)
      next.client.start()
      await next.committed(topic, 0, await logEnd(topic))
      expect(await lag(world, topic)).toBe(0)
      expect(texts(rest)).toEqual(['2'])
    } finally {
      await producer.disconnect()
    }
  })

  scenario('have no lag on a compacted topic, and skip no record that compaction has left', async world => {
    const topic = world.name('compacted')
    const config = { 'cleanup.policy': 'compact', 'segment.ms': '50', 'max.compaction.lag.ms': '1' }
    const configEntries = Object.entries({ ...config, 'min.cleanable.dirty.ratio': '0.01' })
    await createTopic(
      { brokers: kafkaBrokers },
      { topic, numPartitions: 1, configEntries: configEntries.map(([name, value]) => ({ name, value })) },
    )
    const round = (value: string) => ['a', 'b', 'c'].map(key => ({ key, value: `${key}${value}` }))
    await backend.publish(topic, [...round('0'), ...round('1')])
    // Kafka does not compact the newest segment. A record begins a new one if that is old enough.
    let more = 0
    while ((await backend.records(topic)).some(({ offset }) => offset < 3n)) {
      await backend.publish(topic, [{ key: `more ${more}`, value: `more ${more++}` }])
    }
    const run = world.client({ group: world.name('group') })
    const seen = acking(run, topic)
    run.client.start()
    await run.committed(topic, 0, await logEnd(topic))
    expect(await lag(world, topic)).toBe(0)
    expect(texts(seen).slice(0, 3)).toEqual(['a1', 'b1', 'c1'])
    expect(texts(seen)).toEqual(texts(await backend.records(topic)))
  })

  for (const [startFrom, to] of [
    ['earliest', 6],
    ['latest', 10],
  ] as const) {
    scenario(`are reported with their old and new offset when they were out of range (${startFrom})`, async world => {
      const group = world.name('group')
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 10))
      const first = world.client({ group })
      const before = new Collected(first.client.topic(topic))
      first.client.start()
      await before.count(10)
      for (const at of [0, 1]) before.values[at]!.ack()
      await first.committed(topic, 0, 2)
      await first.client.close()
      await deleteBefore(topic, 6)

      const run = world.client({ group, startFrom })
      run.expected = [FetchError]
      const seen = acking(run, topic)
      await run.start()
      await backend.publish(topic, numbered(10, 11))
      await run.committed(topic, 0, 11)
      expect(texts(seen)).toEqual(numbered(to, 11).map(({ value }) => value))
      expect(run.errors.values).toMatchObject([{ code: 'RXMIKA_FETCH', topic, partition: 0, offset: 2n }])
      expect(run.errors.values[0]!.message).toContain(`${topic}-0@2`)
      expect(run.errors.values[0]!.message).toContain(String(to))
      expect(await lag(world, topic)).toBe(0)
    })
  }

  scenario('are reported too when the next records are deleted while the client is paused', async world => {
    const topic = await world.topic('orders')
    await backend.publish(topic, numbered(0, 3))
    const run = world.client({ group: world.name('group') })
    run.expected = [FetchError]
    const seen = acking(run, topic)
    run.client.start()
    await run.committed(topic, 0, 3)
    run.client.pause(topic)
    await backend.publish(topic, numbered(3, 10))
    await deleteBefore(topic, 7)
    run.client.resume(topic)
    await run.committed(topic, 0, 10)
    // The fetch in flight at the pause may have returned the first of them.
    const rest = texts(seen).slice(3)
    expect(rest.slice(-3)).toEqual(['7', '8', '9'])
    if (rest.length === 3) expect(run.errors.values).toMatchObject([{ code: 'RXMIKA_FETCH', topic, offset: 3n }])
    expect(await lag(world, topic)).toBe(0)
  })
})
