import { setTimeout } from 'node:timers/promises'
import { type Admin, Kafka, logLevel } from 'kafkajs'
import { pino } from 'pino'
import { type CommitError, createClient, type Driver, FetchError, type ProduceResult, type RxMikaError } from 'rxmika'
import { afterAll, beforeAll, expect, vi } from 'vitest'
import { kafkaDriver } from '../../src/drivers/kafka/index'
import { done, Member } from '../contract/driver-member'
import { texts, type World } from '../contract/world'
import { produced } from '../produced'
import { coordinatorOf } from './coordinator-of'
import { createTopic } from './create-topic'
import { describeOwnKafka } from './describe-kafka'
import { ownKafka } from './own-kafka'

describeOwnKafka('a log that an unclean election truncated', () => {
  const kafka = ownKafka({ brokers: 3 })
  const { scenario } = kafka
  let admin: Admin
  beforeAll(async () => {
    admin = new Kafka({ brokers: kafka.server.brokers, logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
  })
  afterAll(() => admin?.disconnect())

  async function connected(world: World): Promise<Driver> {
    const driver = kafkaDriver({ brokers: kafka.server.brokers })
    world.drivers.push(driver)
    await done(driver.connect({ clientId: world.name('reader'), logger: pino({ level: 'silent' }) }))
    return driver
  }

  /** Resolves when the topic's only partition has this leader, and these replicas are in sync. */
  async function led(topic: string, leader: number, inSync: readonly number[]): Promise<void> {
    for (;;) {
      const partition = await admin.fetchTopicMetadata({ topics: [topic] }).then(
        ({ topics }) => topics[0]!.partitions[0]!,
        () => undefined,
      )
      if (partition?.leader === leader && String([...partition.isr].sort()) === String(inSync)) return
      await setTimeout(100)
    }
  }

  /** A group whose coordinator is this node. */
  async function groupAt(node: number, world: World, name: string): Promise<string> {
    for (let at = 0; ; at++) {
      const group = world.name(`${name}-${at}`)
      if ((await coordinatorOf(kafka.server.brokers, group)) === node) return group
    }
  }

  /** A client that acks all records but that at offset `stuck`. */
  function client(group: string, topic: string, stuck?: bigint) {
    const made = createClient({ brokers: kafka.server.brokers, group, logger: false, env: {} })
    const values: string[] = []
    const errors: RxMikaError[] = []
    made.errors.subscribe(error => errors.push(error))
    made.topic(topic).subscribe(record => {
      values.push(String(record.value))
      if (record.offset !== stuck) record.ack()
    })
    made.start()
    const saw = (value: string) => vi.waitUntil(() => values.includes(value), { timeout: 60_000 })
    return { made, values, errors, saw }
  }

  const troubles = (member: Member) =>
    member.events.values.flatMap(event => (event.type === 'trouble' ? [event.error] : []))

  scenario('is read again from the offset where it diverges, and that is reported', async world => {
    const topic = world.name('orders')
    // The node that coordinates the group stays up, and so do two of the three controllers.
    await world.topic('any')
    const group = world.name('group')
    const starting = new Member(await connected(world), { group, topics: [world.name('any')] })
    await starting.seen('assigned')
    await done(starting.driver.leave())
    const stays = await coordinatorOf(kafka.server.brokers, group)
    const [lags, leads] = [1, 2, 3].filter(node => node !== stays) as [number, number]
    const configEntries = [
      { name: 'unclean.leader.election.enable', value: 'true' },
      { name: 'min.insync.replicas', value: '1' },
    ]
    const replicaAssignment = [{ partition: 0, replicas: [leads, lags] }]
    await createTopic({ brokers: kafka.server.brokers }, { topic, replicaAssignment, configEntries })

    const writer = await connected(world)
    const write = async (prefix: string, count: number) => {
      const records = Array.from({ length: count }, (_, at) => ({ topic, value: `${prefix} ${at}`, partition: 0 }))
      const results = (await done(produced(writer, records))) as readonly ProduceResult[]
      expect(results.every(({ ok }) => ok)).toBe(true)
      return records.map(({ value }) => value)
    }
    const reader = new Member(await connected(world), { topics: [topic] })
    const member = new Member(await connected(world), { group, topics: [topic] })
    const both = await write('both', 20)
    await Promise.all([reader.read(20), member.read(20)])
    await kafka.server.kill(lags)
    await led(topic, leads, [leads])
    const alone = await write('alone', 20)
    await Promise.all([reader.read(40), member.read(40)])
    // A broker has just been killed. As a client does, commit again if the driver says that this may help.
    for (;;) {
      const failure = await member.commit([...member.owned.values()][0]!, 40).then(
        () => undefined,
        (error: CommitError) => error,
      )
      if (failure === undefined) break
      if (!failure.retriable) throw failure
      await setTimeout(100)
    }
    await done(member.driver.leave())
    const open = client(await groupAt(stays, world, 'open'), topic)
    const groupWithStuckRecord = await groupAt(stays, world, 'stuck')
    const stuck = client(groupWithStuckRecord, topic, 0n)
    await Promise.all([open.saw(alone.at(-1)!), stuck.saw(alone.at(-1)!)])
    await stuck.made.closeGracefully({ timeout: 100 })

    // The node with the complete log is killed, and the other one becomes leader with half of it.
    await kafka.server.kill(leads)
    await kafka.server.restart(lags)
    await led(topic, lags, [lags])
    const after = await write('after', 30)
    await reader.read(70)
    expect(texts(reader.reads)).toEqual([...both, ...alone, ...after])
    const late = new Member(await connected(world), { group, topics: [topic] })
    await late.read(30)
    expect(texts(late.reads)).toEqual(after)
    for (const each of [reader, late]) {
      const reported = troubles(each).filter(({ message }) => message.includes(`${topic}-0@40`))
      expect(reported).toHaveLength(1)
      expect(reported[0]).toBeInstanceOf(FetchError)
      expect(reported[0]).toMatchObject({ topic, partition: 0, offset: 40n })
      expect(reported[0]!.message).toContain('reading goes on at 20')
    }

    // A client's position goes back, and the client stays open.
    await open.saw(after.at(-1)!)
    expect(open.made.currentState).toBe('running')
    expect(new Set(open.values)).toEqual(new Set([...both, ...alone, ...after]))
    expect(open.errors.filter(({ message }) => message.includes(`${topic}-0@40`))).toHaveLength(1)
    await open.made.closeGracefully()
    // What was completed behind a position hides none of the records that have the same offsets now.
    const again = client(groupWithStuckRecord, topic)
    await again.saw(after.at(-1)!)
    expect(again.values).toEqual([...both, ...after])
    expect(again.errors.map(({ message }) => message)).toEqual([
      expect.stringContaining(`${topic}-0@20 is where the log diverges`),
    ])
    await again.made.closeGracefully()
    await kafka.server.restart(leads)
  })
})
