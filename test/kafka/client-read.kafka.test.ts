import { setTimeout } from 'node:timers/promises'
import { type Admin, Kafka, logLevel } from 'kafkajs'
import { pino } from 'pino'
import { BehaviorSubject } from 'rxjs'
import { FetchError, type ReadEvent, type ReadRecord } from 'rxmika'
import { afterAll, beforeAll, expect } from 'vitest'
import { kafkaDriver } from '../../src/drivers/kafka/index'
import { Collected } from '../contract/collected'
import { done } from '../contract/driver-member'
import { kafkaBackend } from '../contract/kafka-backend'
import { numbered, texts } from '../contract/world'
import { addPartitions } from './add-partitions'
import { createTopic } from './create-topic'
import { describeOwnKafka } from './describe-kafka'
import { ownKafka } from './own-kafka'

describeOwnKafka('a bounded read of a real Kafka', () => {
  const own = ownKafka({ brokers: 3, config: { 'log.cleaner.backoff.ms': 50, 'min.insync.replicas': 1 } })
  const { backend, scenario } = own
  let kafka: Kafka
  let admin: Admin
  beforeAll(async () => {
    kafka = new Kafka({ brokers: own.server.brokers, logLevel: logLevel.NOTHING })
    admin = kafka.admin()
    await admin.connect()
  })
  afterAll(() => admin?.disconnect())

  /** Requests the topic's offsets first: that gives kafkajs's admin client the metadata that it needs to delete records. */
  async function deleteBefore(topic: string, offset: number): Promise<void> {
    await admin.fetchTopicOffsets(topic)
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: String(offset) }] })
  }

  scenario('completes past markers and aborted records, even at the end of the log', async world => {
    const topic = await world.topic('orders', 2)
    const producer = kafka.producer({ transactionalId: world.name('tx'), idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    try {
      const send = async (end: 'commit' | 'abort', ...values: string[]) => {
        const transaction = await producer.transaction()
        await transaction.send({ topic, messages: values.map(value => ({ value, partition: 0 })) })
        await transaction[end]()
      }
      await send('abort', 'x')
      await send('commit', '0', '1')
      await send('abort', 'y', 'z')
      const run = world.client()
      const first = new Collected(run.client.read(topic))
      expect(await first.ended()).toEqual({})
      expect(texts(first.values)).toEqual(['0', '1'])

      // From a marker, and from inside an aborted transaction: no records are left, so the read completes.
      for (const offset of [4n, 5n, 6n]) {
        const nothing = new Collected(run.client.read(topic, { from: new Map([[0, offset]]) }))
        expect(await nothing.ended()).toEqual({})
        expect(nothing.values).toEqual([])
      }

      // An open transaction ends the log: later records are not visible before it ends.
      const open = await producer.transaction()
      await open.send({ topic, messages: [{ value: '2', partition: 0 }] })
      await backend.publish(topic, numbered(3, 4))
      const second = new Collected(run.client.read(topic))
      expect(await second.ended()).toEqual({})
      expect(texts(second.values)).toEqual(['0', '1'])
      await open.commit()
      // A commit is acknowledged before its marker is in the log, and a read ends there.
      const read = async () => {
        const third = new Collected(run.client.read(topic))
        expect(await third.ended()).toEqual({})
        return texts(third.values)
      }
      await expect.poll(read, { timeout: 20_000 }).toEqual(['0', '1', '2', '3'])
    } finally {
      await producer.disconnect()
    }
  })

  scenario('completes over gaps left by compaction', async world => {
    const topic = world.name('compacted')
    const config = { 'cleanup.policy': 'compact', 'segment.ms': '50', 'max.compaction.lag.ms': '1' }
    const configEntries = Object.entries({ ...config, 'min.cleanable.dirty.ratio': '0.01' })
    await createTopic(
      { brokers: own.server.brokers },
      { topic, numPartitions: 1, configEntries: configEntries.map(([name, value]) => ({ name, value })) },
    )
    const round = (value: string) => ['a', 'b', 'c'].map(key => ({ key, value: `${key}${value}` }))
    await backend.publish(topic, round('0'))
    await backend.publish(topic, round('1'))
    let written = 6
    while ((await backend.records(topic)).some(({ offset }) => offset < 3n)) {
      await backend.publish(topic, [{ key: String(written), value: String(written++) }])
    }
    const left = await backend.records(topic)
    const read = new Collected(world.client().client.read(topic))
    expect(await read.ended()).toEqual({})
    expect(read.values.map(({ offset }) => offset)).toEqual(left.map(({ offset }) => offset))
    const within = new Collected(world.client().client.read(topic, { from: new Map([[0, 1n]]) }))
    expect(await within.ended()).toEqual({})
    expect(within.values.map(({ offset }) => offset)).toEqual(left.map(({ offset }) => offset))
  })

  scenario('continues at the new log start when retention deletes the next records, and reports that', async world => {
    const topic = await world.topic('orders')
    // Too large for one answer.
    const large = Array.from({ length: 12 }, (_, at) => ({ value: String(at).padEnd(900_000, '.'), partition: 0 }))
    for (const record of large) await backend.publish(topic, [record])
    const run = world.client()
    run.expected = [FetchError]
    const loop = run.client.read(topic)[Symbol.asyncIterator]()
    const seen: bigint[] = []
    const take = async () => {
      const { value } = await loop.next()
      if (value !== undefined) seen.push((value as ReadRecord).offset)
      return value
    }
    await take()
    await deleteBefore(topic, 11)
    while ((await take()) !== undefined) {}
    expect(seen[0]).toBe(0n)
    expect(seen.at(-1)).toBe(11n)
    expect(seen.length).toBeLessThan(12)
    const from = seen[seen.indexOf(11n) - 1]! + 1n
    expect(run.errors.values).toMatchObject([{ code: 'RXMIKA_FETCH', topic, partition: 0, offset: from }])
    expect(run.errors.values[0]!.message).toContain(`${topic}-0@${from}`)
    expect(run.errors.values[0]!.message).toContain('reading goes on at 11')

    // All records of the read are deleted, so there is nothing to wait for.
    const gone = run.client.read(topic)[Symbol.asyncIterator]()
    await deleteBefore(topic, 12)
    expect(await gone.next()).toEqual({ done: true, value: undefined })
  })

  scenario('reads partitions that are added during a read without end, from their beginning', async world => {
    const topic = await world.topic('orders')
    const run = world.client({ metadataMaxAge: 200 })
    const read = new Collected(run.client.read(topic, { from: 'latest', until: 'forever' }))
    await backend.publish(topic, numbered(0, 1))
    await read.count(1)
    await addPartitions({ brokers: own.server.brokers }, topic, 2)
    const since = performance.now()
    // A separate backend, because the producer of the other one does not know the new partition yet.
    const writing = kafkaBackend(() => own.server.brokers)
    await writing.open()
    await writing.publish(topic, numbered(1, 2, 1))
    await writing.close()
    await read.count(2)
    // Well below the default of 30 s: the client's `metadataMaxAge` applies without a topic stream too.
    expect(performance.now() - since).toBeLessThan(10_000)
    expect(texts(read.values)).toEqual(['0', '1'])
    read.unsubscribe()
  })

  scenario('fetches no faster than its loop, and closes its connections when the loop is left', async world => {
    const topic = await world.topic('orders')
    for (let at = 0; at < 24; at++) await backend.publish(topic, [{ value: 'x'.repeat(900_000) }])
    const driver = kafkaDriver({ brokers: own.server.brokers })
    world.drivers.push(driver)
    await done(driver.connect({ clientId: 'read', logger: pino({ level: 'silent' }) }))
    const request = { topic, from: 'earliest', until: 'caught-up' } as const
    const paused = new BehaviorSubject(false)
    const events: ReadEvent[] = []
    const held = driver.read({ ...request, paused }).subscribe(event => {
      events.push(event)
      paused.next(true)
    })
    // While it is held, another read of the same driver reads everything.
    const other = new Collected(driver.read(request))
    expect(await other.ended()).toEqual({})
    const records = (those: readonly ReadEvent[]) =>
      those.reduce((all, event) => all + (event.type === 'batch' ? event.to - event.from : 0), 0)
    expect(records(other.values)).toBe(24)
    // One answer of a megabyte, and one that was requested before it arrived.
    expect(records(events)).toBeLessThanOrEqual(4)
    held.unsubscribe()

    const sockets = () => process.getActiveResourcesInfo().filter(name => name === 'TCPSocketWrap').length
    const forever = () => new Collected(driver.read({ ...request, until: 'forever' }))
    const reads = Array.from({ length: 10 }, forever)
    await Promise.all(reads.map(read => read.count(1)))
    // Each has a connection of its own. The driver may open others meanwhile, one to each of the three brokers.
    const before = sockets()
    for (const read of reads) read.unsubscribe()
    while (sockets() > before - 7) await setTimeout(20)
  })

  scenario('reads the other partitions while a leader is away, and completes when it is back', async world => {
    const topic = world.name('spread')
    await createTopic(
      { brokers: own.server.brokers },
      {
        topic,
        replicaAssignment: [
          { partition: 0, replicas: [1] },
          { partition: 1, replicas: [3] },
        ],
      },
    )
    await backend.publish(topic, [...numbered(0, 5), ...numbered(5, 10, 1)])
    const run = world.client()
    await own.server.kill(3)
    const read = new Collected(run.client.read(topic))
    await read.count(5)
    expect(texts(read.values)).toEqual(['0', '1', '2', '3', '4'])
    expect(read.end).toBeUndefined()
    await own.server.restart(3)
    expect(await read.ended()).toEqual({})
    expect(texts(read.values).slice(5)).toEqual(['5', '6', '7', '8', '9'])
    // The client reports a broker that cannot be reached, and the read does not fail by it.
    run.expected = [FetchError, ...new Set(run.errors.values.map(error => error.constructor as never))]
    expect(run.errors.values.every(({ message }) => /cannot be reached|not known yet/.test(message))).toBe(true)
  })
})
