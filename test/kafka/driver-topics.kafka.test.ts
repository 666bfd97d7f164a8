import { type Admin, Kafka, logLevel } from 'kafkajs'
import { pino } from 'pino'
import {
  ConfigurationError,
  type ConsumeRequest,
  type Driver,
  FetchError,
  type RxMikaError,
  type StartFrom,
} from 'rxmika'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { kafkaDriver } from '../../src/drivers/kafka/index'
import { Collected } from '../contract/collected'
import { done, Member } from '../contract/driver-member'
import { kafkaBackend } from '../contract/kafka-backend'
import { numbered, texts, type World } from '../contract/world'
import { addPartitions } from './add-partitions'
import { describeOwnKafka } from './describe-kafka'
import { ownKafka } from './own-kafka'

const protocols = ['classic', 'consumer'] as const
/** Short intervals, so that tests can wait for them. A rebalance is noticed by a heartbeat. */
const short = { metadataMaxAge: 1_000, heartbeatInterval: 200, sessionTimeout: 6_000 }

describeOwnKafka('topics on a Kafka that does not create topics', () => {
  const kafka = ownKafka({
    config: {
      'auto.create.topics.enable': false,
      'group.consumer.heartbeat.interval.ms': 500,
      'group.consumer.min.heartbeat.interval.ms': 500,
    },
  })
  const { backend, scenario } = kafka
  let admin: Admin
  beforeAll(async () => {
    admin = new Kafka({ brokers: kafka.server.brokers, logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
  })
  afterAll(() => admin?.disconnect())

  async function member(world: World, request: Partial<ConsumeRequest> & Pick<ConsumeRequest, 'topics'>) {
    const driver: Driver = kafkaDriver({ brokers: kafka.server.brokers })
    world.drivers.push(driver)
    await done(driver.connect({ clientId: world.name('reader'), logger: pino({ level: 'silent' }) }))
    return new Member(driver, { ...short, ...request })
  }

  /** Resolves when the members have this many partitions of these topics each. */
  const shared = (members: readonly Member[], topics: readonly string[], counts: readonly number[]) => {
    const sizes = () =>
      members.map(({ owned }) => [...owned.values()].filter(({ topic }) => topics.includes(topic)).length)
    return Promise.race(members.map(({ events }) => events.until(() => String(sizes().sort()) === String(counts))))
  }

  /** Uses a new producer: kafkajs omits partitions that it does not know, and fails for a topic that was deleted. */
  const write = async (topic: string, records: ReturnType<typeof numbered>) => {
    const writing = kafkaBackend(() => kafka.server.brokers)
    await writing.open()
    await writing.publish(topic, records)
    await writing.close()
  }

  const troubles = (member: Member): RxMikaError[] =>
    member.events.values.flatMap(event => (event.type === 'trouble' ? [event.error] : []))

  for (const groupProtocol of protocols) {
    scenario(`are read, retried and dead-lettered whatever their name (${groupProtocol})`, async world => {
      const names = ['constructor', '__proto__', 'toString', 'hasOwnProperty']
      const retryTopic = 'valueOf'
      const there = await admin.listTopics()
      for (const name of [...names, retryTopic]) if (!there.includes(name)) await backend.createTopic(name, 1)
      const topics = [...names, await world.topic('orders')]
      const dlqTopic = await world.topic('dead')
      const options = { retryTopic, dlqTopic, groupProtocol, startFrom: 'latest' } as const
      const run = world.client({ group: world.name('group'), ...options })
      const other = world.client({ group: world.name('dead') })
      const attempts: string[] = []
      for (const name of topics) {
        run.client.topic(name, { retries: 1, dlq: true }).subscribe(record => {
          attempts.push(`${name} ${record.value} ${record.attempt}`)
          record.fail(new Error('declined'))
        })
      }
      const dead = new Collected(other.client.topic(dlqTopic))
      await Promise.all([run.start(), other.start()])
      await run.events.until(events => events.filter(({ type }) => type === 'assigned').length >= topics.length + 1)
      for (const topic of topics) await done(run.client.publish({ topic, value: world.name('0') }))
      await dead.count(topics.length)
      const value = world.name('0')
      expect(attempts.sort()).toEqual(topics.flatMap(name => [1, 2].map(at => `${name} ${value} ${at}`)).sort())
    })
  }

  // They wait for the brokers' and the members' intervals, and have topics and groups of their own.
  describe.concurrent('several scenarios in parallel', () => {
    for (const groupProtocol of protocols) {
      scenario(`do not stop when another one is deleted, which is reported by name (${groupProtocol})`, async world => {
        const group = world.name('group')
        const [kept, gone] = await Promise.all([world.topic('kept', 4), world.topic('gone', 4)])
        const both = { group, topics: [kept, gone], groupProtocol }
        const two = [await member(world, both), await member(world, both)]
        await shared(two, [kept, gone], [4, 4])
        await admin.deleteTopics({ topics: [gone] })
        await Promise.all(two.map(each => each.seen('unreadable')))

        const since = performance.now()
        await done(two[1]!.driver.leave())
        await shared([two[0]!], [kept], [4])
        expect(performance.now() - since).toBeLessThan(10_000)
        await backend.publish(
          kept,
          [0, 1, 2, 3].flatMap(partition => numbered(partition, partition + 1, partition)),
        )
        await two[0]!.read(4)
        expect(texts(two[0]!.reads).sort()).toEqual(['0', '1', '2', '3'])
        for (const each of two) {
          for (const error of troubles(each)) expect(error).toBeInstanceOf(FetchError)
          const unreadable = each.events.values.filter(event => event.type === 'unreadable')
          expect(unreadable).toMatchObject([{ topic: gone, error: { code: 'RXMIKA_FETCH', topic: gone } }])
        }
      })
    }

    const ways = [...protocols.map(groupProtocol => ({ groupProtocol })), { groupProtocol: undefined }]
    for (const { groupProtocol } of ways) {
      for (const paused of [false, true]) {
        for (const [how, records, partitions] of [
          ['shorter', 2, 2],
          ['as long', 6, 2],
          ['longer', 9, 2],
          ['with more partitions', 6, 3],
          ['with fewer partitions', 6, 1],
        ] as const) {
          const title = `that are made again, ${how}, are read from their beginning, ${paused ? 'paused' : 'reading'}, ${groupProtocol ?? 'without a group'}`
          scenario(title, async world => {
            const group = groupProtocol === undefined ? {} : { group: world.name('group'), groupProtocol }
            const topic = await world.topic('orders', 2)
            await write(topic, [...numbered(0, 6), ...numbered(0, 6, 1)])
            const reader = await member(world, { ...group, topics: [topic] })
            await reader.read(12)
            if (groupProtocol !== undefined) for (const each of reader.owned.values()) await reader.commit(each, 6)
            if (paused) reader.driver.pause([...reader.owned.values()])

            await admin.deleteTopics({ topics: [topic] })
            await backend.createTopic(topic, partitions)
            const all = Array.from({ length: partitions }, (_, partition) => numbered(100, 100 + records, partition))
            await write(topic, all.flat())
            await reader.read(12 + partitions * records)
            const fresh = reader.reads.slice(12)
            for (let partition = 0; partition < partitions; partition++) {
              const values = texts(fresh.filter(({ assignment }) => assignment.partition === partition))
              expect(values).toEqual(numbered(100, 100 + records).map(({ value }) => value))
            }
            expect(troubles(reader).some(({ message }) => message.includes(topic))).toBe(true)
            if (groupProtocol === undefined) return
            for (const each of reader.owned.values()) await reader.commit(each, records)
            for (let partition = 0; partition < partitions; partition++) {
              expect(await backend.committed(world.name('group'), topic, partition)).toBe(BigInt(records))
            }
          })
        }
      }

      for (const startFrom of ['earliest', 'latest', 'committed'] as const satisfies StartFrom[]) {
        if (groupProtocol === undefined && startFrom === 'committed') continue
        scenario(
          `are read from the first record of a partition that is added (${startFrom}, ${groupProtocol ?? 'without a group'})`,
          async world => {
            const group = groupProtocol === undefined ? {} : { group: world.name('group'), groupProtocol }
            const topic = await world.topic('orders', 1)
            if (groupProtocol !== undefined) {
              const offsets = { groupId: world.name('group'), topic, partitions: [{ partition: 0, offset: '0' }] }
              await admin.setOffsets(offsets)
            }
            const reader = await member(world, { ...group, topics: [topic], startFrom })
            await shared([reader], [topic], [1])
            await addPartitions({ brokers: kafka.server.brokers }, topic, 3)
            const since = performance.now()
            await backend.publish(topic, [...numbered(0, 1, 1), ...numbered(1, 2, 2)])
            await reader.read(2)
            console.info(`added partitions were read after ${Math.round(performance.now() - since)} ms`)
            expect(performance.now() - since).toBeLessThan(short.metadataMaxAge + 9_000)
            expect(texts(reader.reads).sort()).toEqual(['0', '1'])
            expect(troubles(reader).filter(error => error instanceof ConfigurationError)).toEqual([])
          },
        )
      }
    }
  })
})
