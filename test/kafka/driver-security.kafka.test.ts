import { Kafka, type KafkaConfig, logLevel, type SASLOptions } from 'kafkajs'
import { pino } from 'pino'
import { tap } from 'rxjs'
import { type ClientOptions, ConnectionError, type ProduceResult } from 'rxmika'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type KafkaOptions, kafkaDriver } from '../../src/drivers/kafka/index'
import { Collected } from '../contract/collected'
import { done, Member } from '../contract/driver-member'
import { kafkaBackend } from '../contract/kafka-backend'
import { numbered, scenarios, texts, type World } from '../contract/world'
import { produced } from '../produced'
import { describeOwnKafka } from './describe-kafka'
import { type KafkaServer, startKafka } from './kafka-server'
import type { Sasl } from './security'

type Security = Pick<KafkaOptions, 'ssl' | 'sasl'>

const password = 'correct-horse'
const wrong = 'wrong-staple'
const users: readonly Sasl[] = [
  { mechanism: 'PLAIN', username: 'plain-user', password },
  { mechanism: 'SCRAM-SHA-256', username: 'scram-user', password },
  { mechanism: 'SCRAM-SHA-512', username: 'scram-user', password },
]
const bearer: Sasl = { mechanism: 'OAUTHBEARER', username: 'token-user', password: '' }

/** An unsigned token (RFC 7515, `alg: none`), which Kafka accepts by default. */
function token(subject: string): string {
  const now = Math.floor(Date.now() / 1_000)
  const parts = [{ alg: 'none' }, { sub: subject, iat: now, exp: now + 300 }]
  return `${parts.map(part => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')}.`
}

function login({ mechanism, username, password }: Sasl): NonNullable<KafkaOptions['sasl']> {
  if (mechanism === 'OAUTHBEARER') {
    return { mechanism: 'oauthbearer', oauthBearerProvider: async () => ({ value: token(username) }) }
  }
  return { mechanism: mechanism.toLowerCase() as 'plain', username, password }
}

/** All texts of an error and of its causes. */
function allOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return [String(error), error.stack, JSON.stringify(error), allOf(error.cause)].join('\n')
}

/** Publishes and reads a record with a driver, and then with a client. Expects that the broker accepts both. */
async function accepts(world: World, brokers: readonly string[], security: Security): Promise<void> {
  const topic = await world.topic('orders')
  const driver = kafkaDriver({ brokers, ...security })
  world.drivers.push(driver)
  await done(driver.connect({ clientId: 'secured', logger: pino({ level: 'silent' }) }))
  const [written] = (await done(produced(driver, [{ topic, value: '0' }]))) as readonly ProduceResult[]
  expect(written).toEqual({ ok: true, topic, partition: 0, offset: 0n })
  const group = world.name('group')
  const member = new Member(driver, { group, topics: [topic] })
  await member.read(1)
  await member.commit(member.owned.get(`${topic}/0`)!, 1)
  expect(await backendCommitted(world, group, topic)).toBe(1n)
  await done(driver.close())

  const run = world.client({ group, brokers, ...security })
  const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
  await run.start()
  await done(run.client.publish({ topic, value: '1' }))
  await run.committed(topic, 0, 2)
  expect(texts(seen)).toEqual(['1'])
}

const backendCommitted = (world: World, group: string, topic: string) => world.backend.committed(group, topic, 0)

/** Expects that the broker refuses a driver and a client. Their messages, at all log levels, name the cause and not the password. */
async function refuses(world: World, options: Security & Pick<KafkaOptions, 'brokers'>, cause: RegExp): Promise<void> {
  const lines: string[] = []
  const logger = pino({ level: 'trace' }, { write: line => void lines.push(line) })
  const driver = kafkaDriver(options)
  world.drivers.push(driver)
  const connecting = new Collected(driver.connect({ clientId: 'refused', logger }))
  const { error } = await connecting.ended()
  expect(error).toBeInstanceOf(ConnectionError)
  expect(String(error)).toMatch(/the brokers refuse this client/)
  expect(String(error)).toMatch(cause)

  const run = world.client({ group: world.name('group'), ...(options as ClientOptions), logger })
  run.expected = [ConnectionError]
  const orders = new Collected(run.client.topic(world.name('orders')))
  run.client.start()
  await run.client.closed
  expect(run.errors.values).toHaveLength(1)
  expect(String(run.errors.values[0])).toMatch(cause)
  expect(orders.end!.error).toBe(run.errors.values[0])

  const printed = [...lines, allOf(error), allOf(run.errors.values[0])].join('\n')
  expect(printed).not.toContain(wrong)
  expect(printed).not.toContain(Buffer.from(wrong).toString('base64'))
}

for (const tls of [false, true]) {
  describeOwnKafka(`a driver that logs in ${tls ? 'over TLS' : 'in plain text'}`, () => {
    let server: KafkaServer
    beforeAll(async () => {
      server = await startKafka({ sasl: [...users, bearer], tls })
      await backend.open()
    })
    afterAll(async () => {
      await backend.close()
      await server?.stop()
    })

    const ssl = () => (tls ? { ca: server.ca! } : false)
    const config = (): KafkaConfig => ({ brokers: server.brokers, ssl: ssl(), sasl: login(users[0]!) as SASLOptions })
    const backend = kafkaBackend(() => server.internal)
    const scenario = scenarios(backend)

    it('connects to a broker that requires a login', async () => {
      const admin = new Kafka({
        ...config(),
        sasl: undefined,
        logLevel: logLevel.NOTHING,
        retry: { retries: 0 },
      }).admin()
      await expect(admin.connect().then(() => admin.listTopics())).rejects.toThrow()
      await admin.disconnect()
    })

    for (const user of users) {
      scenario(`is accepted with ${user.mechanism}`, world =>
        accepts(world, server.brokers, { ssl: ssl(), sasl: login(user) }),
      )

      scenario(`is refused with a wrong password for ${user.mechanism}, which is never printed`, world => {
        const sasl = login({ ...user, password: wrong })
        return refuses(world, { brokers: server.brokers, ssl: ssl(), sasl }, /authentication failed|invalid/i)
      })
    }

    scenario('is accepted with a token, by OAUTHBEARER', world =>
      accepts(world, server.brokers, { ssl: ssl(), sasl: login(bearer) }),
    )

    scenario('keeps trying while no token is available, and reports that', async world => {
      let asked = 0
      const oauthBearerProvider = async () => {
        if (++asked <= 3) throw new Error('the tokens are out')
        return { value: token('late-user') }
      }
      const sasl = { mechanism: 'oauthbearer', oauthBearerProvider } as const
      const driver = kafkaDriver({ brokers: server.brokers, ssl: ssl(), sasl })
      world.drivers.push(driver)
      const lines: string[] = []
      const logger = pino({ level: 'warn' }, { write: line => void lines.push(line) })
      await done(driver.connect({ clientId: 'patient', logger }))
      expect(lines.filter(line => line.includes('the tokens are out'))).not.toHaveLength(0)
    })

    // kafkajs ignores that the broker refuses a token. The next request shows it.
    scenario('closes its client if the token is invalid', async world => {
      const oauthBearerProvider = async () => ({ value: 'x.y.' })
      const sasl = { mechanism: 'oauthbearer', oauthBearerProvider } as const
      const run = world.client({ group: world.name('group'), brokers: server.brokers, ssl: ssl(), sasl })
      run.expected = [ConnectionError]
      run.client.topic(world.name('orders')).subscribe({ error: () => {} })
      run.client.start()
      await run.client.closed
      expect(String(run.errors.values[0])).toMatch(/the token is not accepted/)
    })

    if (!tls) {
      scenario('is refused without a login, although brokers only close the connection', world =>
        refuses(world, { brokers: server.brokers }, /set sasl/),
      )
    } else {
      scenario('refuses a broker whose certificate is not trusted', world =>
        refuses(world, { brokers: server.brokers, ssl: true, sasl: login(users[0]!) }, /self-signed certificate/),
      )
      scenario('is refused without TLS', world =>
        refuses(world, { brokers: server.brokers, sasl: login(users[0]!) }, /does not speak the Kafka protocol/),
      )
    }
  })
}

describeOwnKafka('a driver with TLS', () => {
  let server: KafkaServer
  beforeAll(async () => {
    server = await startKafka({ tls: true })
    await backend.open()
  })
  afterAll(async () => {
    await backend.close()
    await server?.stop()
  })

  const backend = kafkaBackend(() => server.internal)
  const scenario = scenarios(backend)

  scenario('reads and writes', world => accepts(world, server.brokers, { ssl: { ca: server.ca! } }))

  scenario('accepts a host name of the certificate, and refuses any other', async world => {
    const [, port] = server.brokers[0]!.split(':')
    const ssl = { ca: server.ca! }
    const named = kafkaDriver({ brokers: [`localhost:${port}`], ssl })
    world.drivers.push(named)
    await done(named.connect({ clientId: 'named', logger: pino({ level: 'silent' }) }))
    await refuses(world, { brokers: server.brokers, ssl: { ...ssl, servername: 'kafka.test' } }, /kafka\.test/)
  })

  scenario('reads answers that arrive in many chunks', async world => {
    const topic = await world.topic('orders')
    const values = numbered(0, 200).map(({ value }) => ({ value: value.padStart(1_000, '.') }))
    await backend.publish(topic, values)
    const driver = kafkaDriver({ brokers: server.brokers, ssl: { ca: server.ca! } })
    world.drivers.push(driver)
    await done(driver.connect({ clientId: 'many', logger: pino({ level: 'silent' }) }))
    const member = new Member(driver, { topics: [topic] })
    await member.read(200)
    expect(texts(member.reads)).toEqual(values.map(({ value }) => value))
  })
})
