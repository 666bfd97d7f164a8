import { Kafka, logLevel } from 'kafkajs'
import { pino } from 'pino'
import type { Driver } from 'rxmika'
import { afterAll, beforeAll, expect } from 'vitest'
import { kafkaDriver } from '../../src/drivers/kafka/index'
import { done, Member } from '../contract/driver-member'
import { kafkaBackend } from '../contract/kafka-backend'
import { numbered, scenarios, type World } from '../contract/world'
import { describeKafka, kafkaBrokers } from './describe-kafka'

describeKafka('a driver in a group', () => {
  const backend = kafkaBackend(() => kafkaBrokers)
  const scenario = scenarios(backend)
  beforeAll(() => backend.open())
  afterAll(() => backend.close())

  async function connected(world: World): Promise<Driver> {
    const driver = kafkaDriver({ brokers: kafkaBrokers })
    world.drivers.push(driver)
    await done(driver.connect({ clientId: 'grouped', logger: pino({ level: 'silent' }) }))
    return driver
  }

  async function member(world: World, topic: string): Promise<Member> {
    return new Member(await connected(world), { group: world.name('group'), topics: [topic] })
  }

  /** Resolves when the members have this many partitions each. */
  async function shared(members: readonly Member[], counts: readonly number[]): Promise<void> {
    const sizes = () => members.map(({ owned }) => owned.size).sort()
    await Promise.race(members.map(({ events }) => events.until(() => String(sizes()) === String(counts))))
  }

  scenario('revokes no more partitions than necessary as members join and leave', async world => {
    const topic = await world.topic('orders', 12)
    const two = [await member(world, topic), await member(world, topic)]
    await shared(two, [6, 6])
    const before = two.map(({ owned }) => new Map(owned))

    const third = await member(world, topic)
    const three = [...two, third]
    await shared(three, [4, 4, 4])
    for (const [at, { owned }] of two.entries()) {
      // The same objects: a retained partition keeps its assignment.
      for (const [name, assignment] of owned) expect(before[at]!.get(name)).toBe(assignment)
    }
    const ended = [...before[0]!.values(), ...before[1]!.values()].filter(({ ended }) => ended)
    expect(ended).toHaveLength(4)

    const stays = three.map(({ owned }) => new Map(owned))
    await done(third.driver.leave())
    await shared(two, [6, 6])
    for (const [at, { owned }] of two.entries()) {
      for (const [name, assignment] of stays[at]!) expect(owned.get(name)).toBe(assignment)
    }
    expect(new Set(two.flatMap(({ owned }) => [...owned.keys()])).size).toBe(12)
  })

  scenario('shares a group with plain kafkajs consumers, by the protocol that both speak', async world => {
    const group = world.name('group')
    const topic = await world.topic('orders', 4)
    const rxmikaMember = await member(world, topic)
    await shared([rxmikaMember], [4])

    const consumer = new Kafka({ brokers: kafkaBrokers, logLevel: logLevel.NOTHING }).consumer({
      groupId: group,
      heartbeatInterval: 200,
      maxWaitTimeInMs: 100,
    })
    const theirs: string[] = []
    let seen = () => {}
    const joined = new Promise<readonly number[]>(resolve => {
      consumer.on('consumer.group_join', ({ payload }) => resolve(payload.memberAssignment[topic] ?? []))
    })
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    await consumer.run({
      eachMessage: async ({ message }) => {
        theirs.push(String(message.value))
        seen()
      },
    })
    try {
      expect(await joined).toHaveLength(2)
      await shared([rxmikaMember], [2])
      await backend.publish(
        topic,
        [0, 1, 2, 3].flatMap(partition => numbered(partition, partition + 1, partition)),
      )
      const all = () => [...rxmikaMember.reads.map(({ value }) => String(value)), ...theirs].sort().join()
      await new Promise<void>((resolve, reject) => {
        seen = () => all() === '0,1,2,3' && resolve()
        rxmikaMember.events.until(() => all() === '0,1,2,3').then(() => resolve(), reject)
        seen()
      })
      expect(rxmikaMember.reads).toHaveLength(2)

      // Reading continues at the position that the other member committed.
      await done(rxmikaMember.driver.leave())
      const newcomer = await member(world, topic)
      await shared([newcomer], [2])
    } finally {
      await consumer.disconnect()
    }
  })
})
