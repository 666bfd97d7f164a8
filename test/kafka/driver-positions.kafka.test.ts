import { type Admin, Kafka, logLevel } from 'kafkajs'
import { pino } from 'pino'
import { type Driver, type DriverEvent, FetchError, type StartFrom } from 'rxmika'
import { afterAll, beforeAll, expect } from 'vitest'
import { kafkaDriver } from '../../src/drivers/kafka/index'
import { done, Member } from '../contract/driver-member'
import { kafkaBackend } from '../contract/kafka-backend'
import { numbered, scenarios, texts, type World } from '../contract/world'
import { createTopic } from './create-topic'
import { describeOwnKafka } from './describe-kafka'
import { type KafkaServer, startKafka } from './kafka-server'

describeOwnKafka('where a driver reads', () => {
  let server: KafkaServer
  let kafka: Kafka
  let admin: Admin
  beforeAll(async () => {
    server = await startKafka({ config: { 'log.cleaner.backoff.ms': 50 } })
    kafka = new Kafka({ brokers: server.brokers, logLevel: logLevel.NOTHING })
    admin = kafka.admin()
    await Promise.all([admin.connect(), backend.open()])
  })
  afterAll(async () => {
    await Promise.all([admin?.disconnect(), backend.close()])
    await server?.stop()
  })

  const backend = kafkaBackend(() => server.brokers)
  const scenario = scenarios(backend)

  async function connected(world: World): Promise<Driver> {
    const driver = kafkaDriver({ brokers: server.brokers })
    world.drivers.push(driver)
    await done(driver.connect({ clientId: world.name('reader'), logger: pino({ level: 'silent' }) }))
    return driver
  }

  /** kafkajs's admin client needs a topic's metadata to delete records, and gets them by requesting its offsets. */
  async function deleteBefore(topic: string, offset: number): Promise<void> {
    await admin.fetchTopicOffsets(topic)
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: String(offset) }] })
  }

  /** Commits this position of the group before any member reads. */
  async function commit(world: World, group: string, topic: string, offset: number): Promise<void> {
    const member = new Member(await connected(world), { group, topics: [topic] }, { paused: true })
    await member.seen('assigned')
    await member.commit(member.owned.get(`${topic}/0`)!, offset)
    await done(member.driver.leave())
  }

  const troubles = (member: Member) =>
    member.events.values.flatMap(event => (event.type === 'trouble' ? [event.error] : []))

  scenario('finds the first record at or after a time in each partition, or else the end', async world => {
    const topic = await world.topic('orders', 3)
    const old = 1_600_000_000_000
    const at = (partition: number, time: number) => ({ value: `${time}`, partition, timestamp: old + time })
    await backend.publish(topic, [at(0, 1), at(0, 5), at(0, 9), at(1, 1), at(1, 2)])
    const startFrom = new Date(old + 4)
    const member = new Member(await connected(world), { group: world.name('group'), topics: [topic], startFrom })
    await member.seen('assigned')
    const positions = [0, 1, 2].map(partition => member.owned.get(`${topic}/${partition}`)!.position)
    expect(positions).toEqual([1, 2, 0])
  })

  for (const [name, startFrom, to] of [
    ['earliest', 'earliest', 5],
    ['latest', 'latest', 10],
    ['a time', new Date(1_600_000_000_007), 7],
    ['committed', 'committed', 5],
  ] as const satisfies readonly (readonly [string, StartFrom, number])[]) {
    scenario(`reports a committed position that was deleted, and continues by startFrom (${name})`, async world => {
      const group = world.name('group')
      const topic = await world.topic('orders')
      await backend.publish(
        topic,
        numbered(0, 10).map((record, at) => ({ ...record, timestamp: 1_600_000_000_000 + at })),
      )
      await commit(world, group, topic, 2)
      await deleteBefore(topic, 5)
      const member = new Member(await connected(world), { group, topics: [topic], startFrom })
      await member.seen('assigned')
      expect(member.owned.get(`${topic}/0`)).toMatchObject({ position: to, metadata: '' })
      const [trouble] = troubles(member)
      expect(trouble).toBeInstanceOf(FetchError)
      expect(trouble).toMatchObject({ topic, partition: 0, offset: 2n })
      expect(trouble!.message).toContain(`${topic}-0@2`)
      expect(trouble!.message).toContain(String(to))
      await backend.publish(topic, numbered(10, 11))
      await member.read(11 - to)
      expect(member.reads.map(({ offset }) => offset)).toEqual(numbered(to, 11).map(({ value }) => Number(value)))
      expect(troubles(member)).toHaveLength(1)
    })
  }

  scenario('reports a committed position beyond the end of a topic that was created again', async world => {
    const group = world.name('group')
    const topic = await world.topic('orders')
    await backend.publish(topic, numbered(0, 3))
    // Without the identity of the log, as another client would commit it.
    await admin.setOffsets({ groupId: group, topic, partitions: [{ partition: 0, offset: '100' }] })
    const member = new Member(await connected(world), { group, topics: [topic] })
    await member.read(3)
    expect(texts(member.reads)).toEqual(['0', '1', '2'])
    expect(troubles(member)).toMatchObject([{ topic, partition: 0, offset: 100n }])
  })

  scenario('reports records that are deleted while their partition is paused', async world => {
    const topic = await world.topic('orders')
    const member = new Member(await connected(world), { group: world.name('group'), topics: [topic] }, { paused: true })
    await member.seen('assigned')
    await backend.publish(topic, numbered(0, 10))
    await deleteBefore(topic, 6)
    const [assignment] = [...member.owned.values()]
    member.driver.resume([assignment!])
    await member.read(4)
    expect(texts(member.reads)).toEqual(['6', '7', '8', '9'])
    expect(troubles(member)).toMatchObject([{ topic, partition: 0, offset: 0n }])
    await member.commit(assignment!, 8)
    expect(await backend.committed(world.name('group'), topic, 0)).toBe(8n)
  })

  scenario('reads the records that compaction has left, from a position that no longer exists', async world => {
    const group = world.name('group')
    const topic = world.name('compacted')
    const config = { 'cleanup.policy': 'compact', 'segment.ms': '50', 'max.compaction.lag.ms': '1' }
    const configEntries = Object.entries({ ...config, 'min.cleanable.dirty.ratio': '0.01' })
    await createTopic(
      { brokers: server.brokers },
      { topic, numPartitions: 1, configEntries: configEntries.map(([name, value]) => ({ name, value })) },
    )
    const round = (value: string) => ['a', 'b', 'c'].map(key => ({ key, value: `${key}${value}` }))
    await backend.publish(topic, round('0'))
    await backend.publish(topic, round('1'))
    await commit(world, group, topic, 1)
    // Kafka does not compact the newest segment. A record begins a new one if that is old enough.
    let written = 6
    while ((await backend.records(topic)).some(({ offset }) => offset < 3n)) {
      // With new keys, so that the records that are read below stay.
      await backend.publish(topic, [{ key: String(written), value: String(written++) }])
    }
    const left = await backend.records(topic)
    const member = new Member(await connected(world), { group, topics: [topic] })
    await member.read(left.length)
    expect(member.reads.map(({ offset }) => BigInt(offset))).toEqual(left.map(({ offset }) => offset))
    expect(texts(member.reads).slice(0, 3)).toEqual(['a1', 'b1', 'c1'])
    expect(endOf(member.events.values)).toBe(written)
    expect(troubles(member)).toEqual([])
  })

  scenario('does not stop at markers and aborted records, and reads nothing of an open transaction', async world => {
    const group = world.name('group')
    const topic = await world.topic('orders')
    const producer = kafka.producer({ transactionalId: world.name('tx'), idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    try {
      const send = async (end: 'commit' | 'abort', ...values: string[]) => {
        const transaction = await producer.transaction()
        await transaction.send({ topic, messages: values.map(value => ({ value })) })
        await transaction[end]()
      }
      await send('abort', 'x', 'y')
      await send('commit', '0', '1')
      await backend.publish(topic, [{ value: '2' }])
      await send('abort', 'z')

      const driver = await connected(world)
      const member = new Member(driver, { group, topics: [topic] })
      await member.read(3)
      const end = async () => ((await done(driver.endOffsets(topic))) as ReadonlyMap<number, number>).get(0)!
      await reaches(member, await end())
      expect(texts(member.reads)).toEqual(['0', '1', '2'])

      const open = await producer.transaction()
      await open.send({ topic, messages: [{ value: '4' }] })
      await backend.publish(topic, [{ value: '5' }])
      // Reads the records before the open transaction, and none after it until it ends.
      const other = new Member(await connected(world), { topics: [topic] })
      await other.read(3)
      await open.commit()
      await Promise.all([member.read(5), other.read(5)])
      for (const each of [member, other]) expect(texts(each.reads)).toEqual(['0', '1', '2', '4', '5'])
      await send('abort', 'z')
      await reaches(member, await end())
      expect(member.reads).toHaveLength(5)
      await member.commit(member.owned.get(`${topic}/0`)!, await end())

      // The same from a position inside an aborted transaction.
      await done(member.driver.leave())
      await commit(world, group, topic, 1)
      const again = new Member(await connected(world), { group, topics: [topic] })
      await again.read(5)
      expect(texts(again.reads)).toEqual(['0', '1', '2', '4', '5'])
      await done(again.driver.leave())
    } finally {
      await producer.disconnect()
    }

    // The client's position follows, so there is no lag.
    const run = world.client({ group: world.name('lag') })
    run.client.topic(topic).subscribe(record => record.ack())
    await run.start()
    const driver = await connected(world)
    const ends = (await done(driver.endOffsets(topic))) as ReadonlyMap<number, number>
    await run.committed(topic, 0, ends.get(0)!)
  })

  scenario('commits a position without its metadata if the broker refuses that as too large', async world => {
    const group = world.name('group')
    const topic = await world.topic('orders')
    await backend.publish(topic, numbered(0, 3))
    const member = new Member(await connected(world), { group, topics: [topic] })
    await member.read(3)
    const [assignment] = [...member.owned.values()]
    await member.commit(assignment!, 2, 'x'.repeat(5_000))
    expect(await backend.committed(group, topic, 0)).toBe(2n)
    await member.commit(assignment!, 3, 'y'.repeat(4_000))
    await done(member.driver.leave())
    const next = new Member(await connected(world), { group, topics: [topic] })
    await next.seen('assigned')
    expect([...next.owned.values()][0]).toMatchObject({ position: 3, metadata: 'y'.repeat(4_000) })
  })

  scenario('joins no group without the option, and leaves none behind', async world => {
    const topic = await world.topic('orders')
    await backend.publish(topic, numbered(0, 1))
    const before = new Set(await backend.groups())
    const member = new Member(await connected(world), { topics: [topic] })
    await member.read(1)
    expect((await backend.groups()).filter(group => !before.has(group))).toEqual([])
    await done(member.driver.leave())
    expect((await backend.groups()).filter(group => !before.has(group))).toEqual([])
  })
})

/** The position after all batches, including those without records. */
function endOf(events: readonly DriverEvent[]): number {
  return events.reduce((end, event) => (event.type === 'batch' ? Math.max(end, event.batch.lastOffset + 1) : end), 0)
}

function reaches(member: Member, position: number): Promise<unknown> {
  return member.events.until(events => endOf(events) >= position)
}
