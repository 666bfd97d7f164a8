import { pino } from 'pino'
import { lastValueFrom } from 'rxjs'
import { describe, expect, it, type TestContext } from 'vitest'
import { systemClock } from '../../../src/clock'
import { Cluster } from '../../../src/drivers/kafka/cluster/cluster'
import { parseAddress } from '../../../src/drivers/kafka/transport/address'
import { Transport } from '../../../src/drivers/kafka/transport/transport'
import { ClusterLeaders } from '../../../src/drivers/kafka/writing/cluster-leaders'
import { errorCode } from '../../../src/protocol/errors'
import { encodeRecordBatch } from '../../../src/protocol/records/record-batch-encoder'
import { refusing } from '../../fake-broker/asked'
import { brokers } from '../../fake-broker/reading'

const told = { answered() {}, connecting() {}, connected() {}, abandoned() {}, silent() {}, failed() {} }

/** Fake brokers, and the `Leaders` that send them the requests of writing. */
async function setUp(test: TestContext, nodes = 1) {
  const kafka = await brokers(test, nodes)
  const logger = pino({ enabled: false })
  const transport = new Transport({ clientId: 'writing', clock: systemClock, logger }, told)
  const cluster = new Cluster(transport, kafka.addresses.map(parseAddress), systemClock, 30_000)
  test.onTestFinished(() => {
    cluster.end()
    transport.close()
  })
  const leaders = new ClusterLeaders(cluster)
  return {
    kafka,
    cluster,
    partitions: async (topic: string) => (await lastValueFrom(leaders.partitions(topic))).partitions,
    producerId: () => lastValueFrom(leaders.producerId()),
    produce: (node: number, ...places: readonly [topic: string, partition: number, value: string][]) =>
      lastValueFrom(
        leaders.produce(
          node,
          places.map(([topic, partition, value]) => batch(topic, partition, value)),
        ),
      ),
  }
}

function batch(topic: string, partition: number, value: string) {
  const record = { key: null, value: Buffer.from(value), headers: [], timestamp: 1 }
  return { topic, partition, bytes: encodeRecordBatch([record], { producerId: -1n, epoch: -1, first: -1 }) }
}

describe('the partitions of a topic', () => {
  it('are listed with their leaders, by number; one without a leader does not delay the others', async test => {
    const { kafka, partitions } = await setUp(test, 2)
    kafka.create('orders', 1, -1, 0)
    expect(await partitions('orders')).toEqual([
      { partitionId: 0, leader: 1 },
      { partitionId: 1, leader: -1 },
      { partitionId: 2, leader: 0 },
    ])
    // A request for its metadata makes brokers create the topic.
    expect(kafka.asked.filter(({ name }) => name === 'Metadata').at(-1)!.request.allowAutoTopicCreation).toBe(true)
  })

  it('are awaited while the topic is created and has no leaders yet', async test => {
    const { kafka, partitions } = await setUp(test)
    kafka.create('orders', 0)
    const creating = kafka.on('Metadata', () => {
      if (kafka.count('Metadata') < 3) return { change: answer => notYet(answer) }
      creating()
      return undefined
    })
    expect(await partitions('orders')).toEqual([{ partitionId: 0, leader: 0 }])
    expect(kafka.count('Metadata')).toBeGreaterThanOrEqual(3)
  })

  it('do not exist if brokers do not know the topic for some time, but may be created later', async test => {
    const { partitions } = await setUp(test)
    await expect(partitions('orders')).rejects.toMatchObject({
      ...{ name: 'WriteError', permanent: false, unsent: true },
      message: expect.stringContaining("topic 'orders' is not known: UNKNOWN_TOPIC_OR_PARTITION"),
    })
  })

  it('are all without a leader if none appears for some seconds', async test => {
    const { kafka, partitions } = await setUp(test)
    kafka.create('orders', -1, -1)
    expect(await partitions('orders')).toMatchObject([{ leader: -1 }, { leader: -1 }])
  })

  it.each([
    { name: 'TOPIC_AUTHORIZATION_FAILED', code: errorCode.TOPIC_AUTHORIZATION_FAILED, permanent: true },
    { name: 'INVALID_TOPIC_EXCEPTION', code: 17, permanent: true },
    { name: 'UNKNOWN_SERVER_ERROR', code: -1, permanent: false },
  ])('are refused at once after $name, for good: $permanent', async ({ name, code, permanent }) => {
    const ends: (() => unknown)[] = []
    const { kafka, partitions } = await setUp({ onTestFinished: (end: () => unknown) => ends.push(end) } as never)
    kafka.create('orders', 0)
    kafka.on('Metadata', () => ({ change: answer => withTopicCode(answer, code) }))
    await expect(partitions('orders')).rejects.toMatchObject({
      ...{ permanent, unsent: true },
      message: expect.stringContaining(name),
    })
    expect(kafka.count('Metadata')).toBe(1)
    for (const end of ends) await end()
  })

  it('are unknown while no broker can be reached, and nothing was sent', async test => {
    const { kafka, partitions } = await setUp(test)
    kafka.stop()
    await expect(partitions('orders')).rejects.toMatchObject({ name: 'WriteError', permanent: false, unsent: true })
  })
})

describe('a producer id', () => {
  it('is assigned by a broker', async test => {
    const { producerId } = await setUp(test)
    expect(await producerId()).toEqual({ id: 1n, epoch: 0 })
  })

  it('is missing if this client has no right to get one', async test => {
    const { kafka, producerId } = await setUp(test)
    kafka.next('InitProducerId', refusing(errorCode.CLUSTER_AUTHORIZATION_FAILED))
    expect(await producerId()).toEqual({ id: -1n, epoch: -1 })
  })

  it('is requested again later after any other refusal', async test => {
    const { kafka, producerId } = await setUp(test)
    kafka.next('InitProducerId', refusing(errorCode.COORDINATOR_LOAD_IN_PROGRESS))
    await expect(producerId()).rejects.toMatchObject({
      ...{ name: 'WriteError', permanent: false },
      message: expect.stringContaining('COORDINATOR_LOAD_IN_PROGRESS'),
    })
  })
})

describe('producing', () => {
  it('returns the place of each batch, or the reason for its refusal', async test => {
    const { kafka, partitions, produce } = await setUp(test, 2)
    kafka.create('orders', 0, 1)
    kafka.create('payments', 0)
    kafka.log('payments').append('before')
    await partitions('orders')
    expect(await produce(0, ['orders', 0, 'a'], ['orders', 1, 'b'], ['payments', 0, 'c'])).toEqual([
      { topic: 'orders', partition: 0, errorCode: 0, baseOffset: 0n },
      { topic: 'orders', partition: 1, errorCode: errorCode.NOT_LEADER_OR_FOLLOWER, baseOffset: -1n },
      { topic: 'payments', partition: 0, errorCode: 0, baseOffset: 1n },
    ])
    expect(kafka.log('orders').end).toBe(1)
  })

  it('waits for all replicas, in one request, and names its topics', async test => {
    const { kafka, partitions, produce } = await setUp(test)
    kafka.create('orders', 0, 0)
    await partitions('orders')
    await produce(0, ['orders', 0, 'a'], ['orders', 1, 'b'])
    const asked = kafka.asked.filter(({ name }) => name === 'Produce')
    expect(asked).toHaveLength(1)
    expect(asked[0]!.version).toBeLessThanOrEqual(12)
    expect(asked[0]!.request).toMatchObject({ acks: -1, topicData: [{ name: 'orders' }] })
  })

  it('may have happened if the answer is lost, and has not if the broker cannot be reached', async test => {
    const { kafka, partitions, produce } = await setUp(test)
    kafka.create('orders', 0)
    await partitions('orders')
    kafka.next('Produce', { ending: 'cut' })
    await expect(produce(0, ['orders', 0, 'a'])).rejects.toMatchObject({ permanent: false, unsent: false })
    await produce(0, ['orders', 0, 'a'])
    kafka.stop()
    await expect.poll(() => produce(0, ['orders', 0, 'a']).catch(error => error)).toMatchObject({ unsent: true })
    // A broker that the cluster does not name.
    await expect(produce(7, ['orders', 0, 'a'])).rejects.toMatchObject({ permanent: false, unsent: true })
  })
})

/** A topic that is being created: it is known, and has no leaders. */
function notYet(answer: { topics: { partitions: { leaderId: number }[] }[] }) {
  return {
    ...answer,
    topics: answer.topics.map(topic => ({
      ...topic,
      partitions: topic.partitions.map(each => ({ ...each, leaderId: -1 })),
    })),
  } as never
}

function withTopicCode(answer: { topics: object[] }, code: number) {
  return { ...answer, topics: answer.topics.map(topic => ({ ...topic, errorCode: code, partitions: [] })) } as never
}
