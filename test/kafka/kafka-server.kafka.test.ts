import { randomUUID } from 'node:crypto'
import { Kafka, type KafkaConfig, logLevel, type SASLOptions } from 'kafkajs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { answers } from './answers'
import { createTopic } from './create-topic'
import { describeKafka, describeOwnKafka, kafkaBrokers } from './describe-kafka'
import { type KafkaServer, startKafka } from './kafka-server'

const connect = (config: KafkaConfig) => new Kafka({ logLevel: logLevel.NOTHING, ...config })

const send = async (kafka: Kafka, topic: string, ...values: string[]) => {
  const producer = kafka.producer()
  await producer.connect()
  await producer.send({ topic, messages: values.map(value => ({ value })) })
  await producer.disconnect()
}

/** The values of the first records of a topic, in their order. */
const receive = async (kafka: Kafka, topic: string, count: number) => {
  // Disconnecting waits for the fetch under way, and that by default 5 s for the next record.
  const consumer = kafka.consumer({ groupId: randomUUID(), maxWaitTimeInMs: 100 })
  const values: string[] = []
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await new Promise<void>(resolve => {
    const eachMessage = async ({ message }: { message: { value: Buffer | null } }) => {
      values.push(`${message.value}`)
      if (values.length === count) resolve()
    }
    void consumer.run({ eachMessage })
  })
  await consumer.disconnect()
  return values
}

describeKafka('the shared Kafka', () => {
  it('takes a record and gives it back', async () => {
    const config = { brokers: kafkaBrokers }
    const kafka = connect(config)
    const topic = randomUUID()
    await createTopic(config, { topic })
    await send(kafka, topic, 'a')
    expect(await receive(kafka, topic, 1)).toEqual(['a'])
  })
})

const logIn = async (server: KafkaServer, mechanism: 'plain' | 'scram-sha-256', password: string) => {
  const sasl = { mechanism, username: 'me', password } as SASLOptions
  const ssl = server.ca ? { ca: server.ca } : false
  const admin = connect({ brokers: server.brokers, ssl, sasl, retry: { retries: 0 } }).admin()
  await admin.connect().finally(() => admin.disconnect())
}

describeOwnKafka('a Kafka with TLS and SCRAM-SHA-256', () => {
  let server: KafkaServer
  beforeAll(async () => {
    server = await startKafka({ tls: true, sasl: { mechanism: 'SCRAM-SHA-256', username: 'me', password: 'secret' } })
  })
  afterAll(() => server?.stop())

  it('lets in the right password', () => logIn(server, 'scram-sha-256', 'secret'))

  it('refuses a wrong password', () =>
    expect(logIn(server, 'scram-sha-256', 'wrong')).rejects.toThrow(/invalid credentials/))

  it('is not trusted without its certificate', async () => {
    const admin = connect({ brokers: server.brokers, ssl: true, retry: { retries: 0 } }).admin()
    await expect(admin.connect()).rejects.toThrow(/self-signed/)
  })
})

describeOwnKafka('a Kafka with SASL PLAIN', () => {
  let server: KafkaServer
  beforeAll(async () => {
    server = await startKafka({ sasl: { mechanism: 'PLAIN', username: 'me', password: 'secret' } })
  })
  afterAll(() => server?.stop())

  it('lets in the right password', () => logIn(server, 'plain', 'secret'))

  it('refuses a wrong password', () => expect(logIn(server, 'plain', 'wrong')).rejects.toThrow(/Invalid username/))
})

describeOwnKafka('a Kafka of three nodes', () => {
  let server: KafkaServer
  beforeAll(async () => {
    server = await startKafka({ brokers: 3 })
  })
  afterAll(() => server?.stop())

  it('keeps its records and takes new ones while a node is dead, and after it is back', async () => {
    // A dead leader is replaced after 3 s; the retries have to last longer and not to wait long between.
    const config = { brokers: server.brokers, retry: { maxRetryTime: 500, retries: 50 } }
    const kafka = connect(config)
    const topic = randomUUID()
    await createTopic(config, { topic, numPartitions: 1 })
    await send(kafka, topic, 'all alive')
    await server.kill(1)
    await send(kafka, topic, 'one dead')
    await server.restart(1)
    await send(kafka, topic, 'one back')
    expect(await receive(kafka, topic, 3)).toEqual(['all alive', 'one dead', 'one back'])
  })

  it('does not answer from a paused node, and does once it is resumed', async () => {
    const patience = { requestTimeout: 300, retry: { retries: 0 } }
    const admin = connect({ brokers: [server.brokers[1]!], ...patience }).admin()
    await server.pause(2)
    await expect(admin.connect()).rejects.toThrow(/timed out/)
    server.resume(2)
    await answers({ brokers: [server.brokers[1]!] }, { brokers: 3 })
  })
})

describeOwnKafka('a Kafka that cannot start', () => {
  it('says why', async () => {
    const server = startKafka({ config: { 'authorizer.class.name': 'none.such' } })
    await expect(server).rejects.toThrow(/Its log ends with:[\s\S]*none\.such/)
  })
})
