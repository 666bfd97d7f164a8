import { setImmediate } from 'node:timers/promises'
import { pino } from 'pino'
import {
  createClient,
  type Driver,
  type DriverEvent,
  type GroupProtocol,
  type ProduceResult,
  type PublishRecord,
} from 'rxmika'
import { expect, onTestFinished } from 'vitest'
import { kafkaDriver } from '../../src/drivers/kafka/index'
import { Collected } from '../contract/collected'
import { done, Member } from '../contract/driver-member'
import { Run, texts, type World } from '../contract/world'
import { produced } from '../produced'
import { coordinatorOf } from './coordinator-of'
import { createTopic } from './create-topic'
import { describeOwnKafka } from './describe-kafka'
import { ownKafka } from './own-kafka'
import { portOpens } from './port-opens'

/** The maximum time until delivery continues once the brokers' ports are open again, ms. */
const recovery = 5_000

describeOwnKafka('a driver whose brokers die', () => {
  const kafka = ownKafka({ brokers: 3 })
  const { backend, scenario } = kafka
  const nodes = [1, 2, 3] as const

  const silent = pino({ level: 'silent' })

  function opened(world: World): Driver {
    const driver = kafkaDriver({ brokers: kafka.server.brokers })
    world.drivers.push(driver)
    return driver
  }

  async function connected(world: World): Promise<Driver> {
    const driver = opened(world)
    await done(driver.connect({ clientId: 'fault', logger: silent }))
    return driver
  }

  async function joined(world: World, topic: string, groupProtocol: GroupProtocol): Promise<Member> {
    const request = { group: world.name('group'), topics: [topic], groupProtocol }
    const member = new Member(await connected(world), request)
    await member.seen('assigned')
    return member
  }

  /** Writes numbers to all partitions, one send after the other, until the test stops it. */
  function writing(driver: Driver, topic: string, partitions: number) {
    const written: string[] = []
    let stopped = false
    // A failed test closes its drivers, and a request that is refused at once would be repeated forever.
    onTestFinished(() => {
      stopped = true
    })
    const end = (async () => {
      for (let round = 0; !stopped; round++) {
        const records = Array.from({ length: partitions }, (_, partition) => ({
          topic,
          partition,
          value: `${partition}:${round}`,
        }))
        const results = (await done(produced(driver, records))) as readonly ProduceResult[]
        results.forEach((result, at) => {
          if (result.ok) written.push(records[at]!.value)
        })
        await setImmediate()
      }
      return written
    })()
    return {
      written,
      stop: () => {
        stopped = true
        return end
      },
    }
  }

  scenario(
    'keeps reading and writing when one of three brokers dies, which led partitions and the group (consumer)',
    async world => {
      const groupProtocol = 'consumer'
      const topic = await world.topic('orders', 6)
      const member = await joined(world, topic, groupProtocol)
      const coordinator = await coordinatorOf(kafka.server.brokers, world.name('group'))
      // One of two partitions has its only replica on that broker.
      const split = world.name('split')
      const other = nodes.find(node => node !== coordinator)!
      const replicaAssignment = [coordinator, other].map((node, partition) => ({ partition, replicas: [node] }))
      await createTopic({ brokers: kafka.server.brokers }, { topic: split, replicaAssignment })
      const reader = new Member(await connected(world), { topics: [split] })
      const producer = writing(await connected(world), topic, 6)
      await Promise.all([member.read(60), reader.seen('assigned')])

      await kafka.server.kill(coordinator)
      const died = Date.now()
      const before = producer.written.length
      const meanwhile = acknowledged(reader.driver, { topic: split, value: 'meanwhile', partition: 0 })
      await member.events.until(() => {
        const read = new Set(texts(member.reads))
        const since = firstOfEach(producer.written.slice(before))
        return since.length === 6 && since.every(value => read.has(value))
      })
      console.info(`one of three killed: read from all partitions again after ${Date.now() - died} ms`)
      const [assignment] = [...member.owned.values()]
      await persistently(() => member.commit(assignment!, 1))

      // A partition without a leader does not delay the other one: neither connecting, nor writing, nor joining.
      const newcomer = await connected(world)
      expect(await done(newcomer.topics([split]))).toEqual(new Map([[split, 2]]))
      const elsewhere = { topic: split, value: 'elsewhere', partition: 1 }
      expect(await done(produced(newcomer, [elsewhere]))).toEqual([
        { ok: true, topic: split, partition: 1, offset: 0n },
      ])
      const joining = new Member(newcomer, { group: world.name('split-group'), topics: [split], groupProtocol })
      await Promise.all([joining.read(1), reader.read(1)])
      expect([...joining.owned.keys()]).toEqual([`${split}/1`])
      console.info(`read beside a partition without a leader, ${Date.now() - died} ms after its death`)

      // The partition that waits for that broker is reported by name.
      for (const each of [reader, joining]) {
        await each.seen('trouble')
        expect(troubles(each)).toMatchObject([{ code: 'RXMIKA_FETCH', topic: split, partition: 0 }])
        expect(troubles(each)[0]!.message).toMatch(`${split}-0 has no leader`)
      }

      await kafka.server.restart(coordinator)
      const answered = Date.now()
      expect(await meanwhile).toMatchObject({ ok: true, topic: split, partition: 0, offset: 0n })
      await Promise.all([joining.read(2), reader.read(2)])
      for (const each of [joining, reader]) expect(texts(each.reads)).toEqual(['elsewhere', 'meanwhile'])
      console.info(`it restarted: read what it alone has after ${Date.now() - answered} ms`)
      expect(Date.now() - answered).toBeLessThan(recovery)

      expect(await backend.committed(world.name('group'), topic, assignment!.partition)).toBe(1n)

      const written = await producer.stop()
      await member.read(written.length)
      // Nothing is lost, nothing is written or read twice, and neither an outage nor a rebalance was reported.
      expect(new Set(texts(member.reads))).toEqual(new Set(written))
      expect(member.reads).toHaveLength(written.length)
      expect(inOrder(texts(member.reads))).toBe(true)
      expect([types(member), types(reader)]).toEqual([['assigned'], ['assigned', 'trouble']])
      const story = ['awaited', 'assigned', 'assigned', 'awaited']
      expect(types(joining).filter(type => type !== 'trouble')).toEqual(story)
    },
  )

  scenario('recovers by itself when all brokers were away, and reports the outage (classic)', async world => {
    const topic = await world.topic('orders', 3)
    const member = await joined(world, topic, 'classic')
    const driver = await connected(world)
    await done(
      produced(
        driver,
        nodes.map(node => ({ topic, value: `before ${node}`, partition: node - 1 })),
      ),
    )
    await member.read(3)
    const [assignment] = [...member.owned.values()]
    await Promise.all(nodes.map(node => kafka.server.kill(node)))
    const died = Date.now()
    await member.seen('disconnected')
    expect(Date.now() - died).toBeLessThan(3_000)
    await expect(member.commit(assignment!, 1)).rejects.toMatchObject({ code: 'RXMIKA_COMMIT', retriable: true })
    expect(Date.now() - died).toBeLessThan(4_000)

    // A driver or client that connects for the first time waits, and reports that.
    const newcomer = new Collected<DriverEvent>(opened(world).connect({ clientId: 'new', logger: silent }))
    const lines: string[] = []
    const logger = pino({ level: 'warn' }, { write: line => void lines.push(line) })
    const client = new Run(
      createClient({ env: {}, logger, brokers: kafka.server.brokers, group: world.name('other') }),
      undefined,
    )
    const orders = new Collected(client.client.topic(topic))
    const started = Date.now()
    client.client.start()
    await Promise.all([newcomer.count(1), client.event('disconnected')])
    expect(Date.now() - started).toBeLessThan(4_000)
    expect(lines.join('')).toContain('"level":40')
    expect(lines.join('')).toContain('the brokers cannot be reached')
    // A send waits until its time-out.
    const sent = acknowledged(driver, { topic, value: 'meanwhile', partition: 0 })

    const restarting = Promise.all(nodes.map(node => kafka.server.restart(node)))
    await Promise.any(nodes.map(node => portOpens(kafka.server.brokers[node - 1]!)))
    const opens = Date.now()
    await restarting
    const answering = Date.now()
    expect(await newcomer.ended()).toEqual({})
    expect(newcomer.values.map(({ type }) => type)).toEqual(['disconnected', 'reconnected'])
    await member.seen('reconnected')
    const again = Date.now()
    await sent
    await member.read(4)
    await orders.count(4)
    const delivered = Date.now()
    console.info(
      `all killed: a port is open, after ${answering - opens} ms all answer, ` +
        `after ${again - opens} ms reconnected, after ${delivered - opens} ms delivered`,
    )
    expect(delivered - answering).toBeLessThan(recovery)
    // A record that was published again after its time-out may be in the log twice.
    expect(new Set(texts(member.reads))).toEqual(new Set(['before 1', 'before 2', 'before 3', 'meanwhile']))
    await persistently(() => member.commit(assignment!, 1))
    // If the brokers' start took longer than a session, the driver asked the group first, and was confirmed.
    const events = types(member).filter(type => type !== 'confirmed')
    expect(events).toEqual(['assigned', 'disconnected', 'reconnected'])
    await client.client.close()
    // Each of the three brokers is reported by its address, once in this minute.
    const reported = client.errors.values.map(({ message }) => message)
    for (const { code, message } of client.errors.values) expect(code, message).toBe('RXMIKA_CONNECTION')
    for (const message of reported)
      expect(kafka.server.brokers.filter(broker => message.includes(broker))).toHaveLength(1)
  })
})

/** Writes a record, and again after each time-out, because a broker may start more slowly on a slow machine. */
async function acknowledged(driver: Driver, record: PublishRecord): Promise<ProduceResult> {
  for (;;) {
    const [result] = (await done(produced(driver, [record]))) as readonly [ProduceResult]
    if (result.ok || !result.error.retriable) return result
  }
}

const types = (member: Member) => member.events.values.map(({ type }) => type).filter(type => type !== 'batch')

const troubles = (member: Member) =>
  member.events.values.flatMap(event => (event.type === 'trouble' ? [event.error] : []))

/** The first value of each partition. */
function firstOfEach(written: readonly string[]): string[] {
  const found = new Map<string, string>()
  for (const value of written) {
    const [partition] = value.split(':')
    if (!found.has(partition!)) found.set(partition!, value)
  }
  return [...found.values()]
}

/** Whether the rounds of each partition ascend. */
function inOrder(values: readonly string[]): boolean {
  const last = new Map<string, number>()
  return values.every(value => {
    const [partition, round] = value.split(':')
    const ascends = Number(round) > (last.get(partition!) ?? -1)
    last.set(partition!, Number(round))
    return ascends
  })
}

/** Polls, with a turn of the event loop in between, because a refusal may be immediate. */
async function persistently(attempt: () => Promise<unknown>): Promise<void> {
  for (;;) {
    try {
      await attempt()
      return
    } catch {
      await setImmediate()
    }
  }
}
