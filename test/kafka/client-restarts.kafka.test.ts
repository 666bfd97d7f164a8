import { type Admin, Kafka, logLevel } from 'kafkajs'
import { tap } from 'rxjs'
import { afterAll, beforeAll, expect } from 'vitest'
import { decodeFinished, encodeFinished } from '../../src/client/finished-work'
import { unsealIdentity } from '../../src/drivers/kafka/positions/log-identity'
import { offsetCommit } from '../../src/protocol/messages/offset-commit'
import { Collected } from '../contract/collected'
import { kafkaBackend } from '../contract/kafka-backend'
import { numbered, scenarios, texts, type World } from '../contract/world'
import { ClientProcess } from './client-process'
import { describeOwnKafka } from './describe-kafka'
import { type KafkaServer, startKafka } from './kafka-server'
import { RawConnection } from './protocol/raw-connection'

/** The session time-out, after which the group continues without a killed member, ms. */
const timeouts = { sessionTimeout: 1_500, heartbeatInterval: 200 }

describeOwnKafka('work that is finished behind the position, on Kafka', () => {
  let server: KafkaServer
  let admin: Admin
  beforeAll(async () => {
    server = await startKafka({ config: { 'group.min.session.timeout.ms': 1_000 } })
    admin = new Kafka({ brokers: server.brokers, logLevel: logLevel.NOTHING }).admin()
    await Promise.all([backend.open(), admin.connect()])
  })
  afterAll(async () => {
    await admin.disconnect()
    await backend.close()
    await server?.stop()
  })
  const backend = kafkaBackend(() => server.brokers)
  const scenario = scenarios(backend)
  const count = 10_001

  /** The metadata of the committed position of the topic's only partition. */
  async function metadata(groupId: string, topic: string): Promise<string> {
    const [fetched] = await admin.fetchOffsets({ groupId, topics: [topic] })
    return fetched!.partitions[0]!.metadata ?? ''
  }

  /** Commits as another client of the group, which has no members then. */
  async function commitAsAnother(groupId: string, topic: string, text: string): Promise<void> {
    const connection = await RawConnection.to(server.brokers[0]!)
    try {
      const partitions = [{ partitionIndex: 0, committedOffset: 1, committedMetadata: text }]
      const { topics } = await connection.ask(offsetCommit, { groupId, topics: [{ name: topic, partitions }] }, 8)
      expect(topics[0]!.partitions[0]!.errorCode).toBe(0)
    } finally {
      connection.end()
    }
  }

  /** A client in its own process. One record is stuck at the front, and all records behind it are completed and committed. */
  async function stuckInFront(world: World): Promise<ClientProcess> {
    const group = world.name('group')
    const topic = await world.topic('orders')
    await backend.publish(topic, numbered(0, count))
    const client = new ClientProcess({
      ...{ topic, acks: 'all-but-first', maxInFlight: 2 * count },
      options: { brokers: server.brokers, group, ...timeouts },
    })
    await client.delivered(count)
    // If its session had ended, all records would be delivered again, and the first one would be acked.
    expect(client.all('event').filter(({ event }) => event === 'lost')).toEqual([])
    // Waits until the committed metadata list everything that is completed.
    await allFinished(world)
    return client
  }

  /** Resolves when the commit's metadata cover everything from the second record on. */
  async function allFinished(world: World): Promise<void> {
    for (;;) {
      const beside = await metadata(world.name('group'), world.name('orders'))
      const ranges = decodeFinished(0, unsealIdentity(beside).metadata)
      if (ranges.some(([first, last]) => first === 1 && last === count - 1)) return
    }
  }

  async function next(world: World): Promise<string[]> {
    const run = world.client({ group: world.name('group'), ...timeouts })
    const seen = new Collected(run.client.topic(world.name('orders')).pipe(tap(record => record.ack())))
    run.client.start()
    await run.committed(world.name('orders'), 0, count)
    await run.client.close()
    return texts(seen)
  }

  scenario('survives a real SIGKILL: one record is redelivered, not 10,001', async world => {
    const client = await stuckInFront(world)
    client.signal('SIGKILL')
    expect(await client.exited).toEqual({ code: null, signal: 'SIGKILL' })
    expect(await next(world)).toEqual(['0'])
  })

  scenario('survives a graceful leave', async world => {
    const client = await stuckInFront(world)
    client.send({ do: 'closeGracefully', timeout: 100 })
    expect(await client.exited).toEqual({ code: 0, signal: null })
    expect(client.all('closed')).toMatchObject([{ type: 'closed', report: { drained: false, unsettled: 1 } }])
    expect(await next(world)).toEqual(['0'])
  })

  scenario('survives a rebalance in which another member gets the partition', async world => {
    const client = await stuckInFront(world)
    const group = world.name('group')
    const joining = world.client({ group, ...timeouts })
    const seen = new Collected(joining.client.topic(world.name('orders')).pipe(tap(record => record.ack())))
    joining.client.start()
    await backend.rebalancing(group)
    client.send({ do: 'close' })
    await joining.committed(world.name('orders'), 0, count)
    expect(texts(seen)).toEqual(['0'])
    expect(await client.exited).toEqual({ code: 0, signal: null })
  })

  for (const [whose, foreignText] of [
    ['another client’s words', 'consumer-7@host'],
    ['bytes that look like base64', 'AAECAwQFBgcICQoLDA0ODw=='],
    ['ranges that belong to another position', undefined],
    ['as much as a broker takes', 'x'.repeat(4_096)],
    ['no text of ours, but JSON', '{"finished":[[0,100]]}'],
  ] as const) {
    scenario(`ignores ${whose} in the commit's metadata, and delivers everything behind the position`, async world => {
      const group = world.name('group')
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 5))
      const text = foreignText ?? encodeFinished(2, [[3, 4]]).metadata
      await commitAsAnother(group, topic, text)
      expect(await metadata(group, topic)).toBe(text)

      const run = world.client({ group })
      const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
      run.client.start()
      await run.committed(topic, 0, 5)
      expect(texts(seen)).toEqual(['1', '2', '3', '4'])
    })
  }
})
