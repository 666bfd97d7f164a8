import { AssignerProtocol, Kafka, logLevel, PartitionAssigners } from 'kafkajs'
import { lastValueFrom } from 'rxjs'
import { type ClientOptions, ConnectionError } from 'rxmika'
import { afterAll, beforeAll, expect, onTestFinished } from 'vitest'
import { kafkaBackend } from '../contract/kafka-backend'
import { type Run, scenarios, type World } from '../contract/world'
import { describeOwnKafka } from './describe-kafka'
import { type KafkaServer, startKafka } from './kafka-server'
import { ownKafka } from './own-kafka'
import type { Sasl } from './security'

/** The maximum time until a client reports a broker that cannot be reached, ms. */
const within = 5_000

/** A client that subscribes to a topic, and its first error. Expects that the error comes in time and names the address. */
async function firstError(world: World, address: string, options: ClientOptions) {
  const run = world.client({ group: world.name('group'), ...options })
  run.expected = [ConnectionError]
  run.client.topic(world.name('orders')).subscribe({ error: () => {} })
  const begun = performance.now()
  run.client.start()
  const [error] = await run.errors.count(1)
  expect(performance.now() - begun).toBeLessThan(within)
  expect(error).toBeInstanceOf(ConnectionError)
  expect(error!.message).toContain(address)
  return { run, error: error! }
}

/** The client keeps trying, and reports nothing more. */
function goesOn(run: Run) {
  expect(run.client.currentState).toBe('starting')
  expect(run.errors.values).toHaveLength(1)
}

/** The client closes, because another attempt would fail in the same way. */
async function closes(run: Run) {
  await run.client.closed
  expect(run.errors.values).toHaveLength(1)
}

describeOwnKafka('a client whose options do not fit a plain listener', () => {
  const { server, scenario } = lazily(ownKafka())
  const address = () => server().brokers[0]!

  scenario('reports that the port may not use TLS, and keeps trying', async world => {
    const { run, error } = await firstError(world, address(), { brokers: server().brokers, ssl: true })
    expect(error.message).toContain('closed during the TLS handshake; the port may not use TLS')
    goesOn(run)
  })

  scenario('reports that the listener accepts no login, and closes', async world => {
    const sasl = { mechanism: 'plain', username: 'billing', password: 'correct-horse' } as const
    const { run, error } = await firstError(world, address(), { brokers: server().brokers, sasl })
    expect(error.message).toContain('this port of the broker has no SASL')
    expect(error.message).not.toContain(sasl.password)
    await closes(run)
  })

  scenario('reports a wrong port to a client that only publishes, with the reason of its time-out', async world => {
    const run = world.client({ brokers: [`127.0.0.1:1`] })
    run.expected = [ConnectionError]
    const published = lastValueFrom(run.client.publish({ topic: 'orders', value: '0' }, { timeout: 4_500 }))
    published.catch(() => {})
    const begun = performance.now()
    const [error] = await run.errors.count(1)
    expect(performance.now() - begun).toBeLessThan(within)
    expect(error!.message).toMatch(/127\.0\.0\.1:1\b.*ECONNREFUSED/)
    await expect(published).rejects.toMatchObject({ code: 'RXMIKA_PUBLISH' })
  })
})

describeOwnKafka('a client that its group refuses', () => {
  const kafka = ownKafka()

  kafka.scenario(
    'reports that with the name of the group, and joins when the members of another protocol have left',
    async world => {
      const group = world.name('group')
      const topic = await world.topic('orders')
      const other = new Kafka({ brokers: kafka.server.brokers, logLevel: logLevel.NOTHING }).consumer({
        groupId: group,
        partitionAssigners: [options => ({ ...PartitionAssigners.roundRobin(options), ...named('of-its-own') })],
      })
      onTestFinished(() => other.disconnect())
      await other.connect()
      await other.subscribe({ topics: [topic] })
      const joined = new Promise(resolve => other.on('consumer.group_join', resolve))
      await other.run({ eachBatch: async () => {} })
      await joined

      const run = world.client({ group, brokers: kafka.server.brokers })
      run.expected = [ConnectionError]
      run.client.topic(topic).subscribe()
      const begun = performance.now()
      run.client.start()
      const [error] = await run.errors.count(1)
      expect(performance.now() - begun).toBeLessThan(within)
      expect(error).toBeInstanceOf(ConnectionError)
      expect(error!.message).toMatch(`group '${group}'`)
      expect(error!.message).toMatch(/INCONSISTENT_GROUP_PROTOCOL/)
      await other.disconnect()
      await run.event('state', ({ state }) => state === 'running')
      expect(run.errors.values).toHaveLength(1)
    },
  )
})

/** A group protocol that no other client of these tests has. */
function named(name: string) {
  const metadata = AssignerProtocol.MemberMetadata.encode({ version: 1, topics: [], userData: Buffer.alloc(0) })
  return { name, protocol: () => ({ name, metadata }) }
}

const user: Sasl = { mechanism: 'PLAIN', username: 'billing', password: 'correct-horse' }

describeOwnKafka('a client whose options do not fit a listener with TLS and a login', () => {
  const { server, scenario } = lazily(ownKafka({ tls: true, sasl: user }))
  const address = () => server().brokers[0]!
  const right = () => ({
    brokers: server().brokers,
    ssl: { ca: server().ca! },
    sasl: { mechanism: 'plain' as const, username: user.username, password: user.password },
  })

  const misfits: readonly [string, (options: ReturnType<typeof right>) => ClientOptions, RegExp][] = [
    ['no TLS', ({ brokers, sasl }) => ({ brokers, sasl }), /TLS/],
    ['a certificate of an authority that it does not know', options => ({ ...options, ssl: true }), /self-signed/],
    [
      'a certificate of another host',
      options => ({ ...options, ssl: { ...options.ssl, servername: 'kafka.test' } }),
      /kafka\.test/,
    ],
    ['no login', ({ brokers, ssl }) => ({ brokers, ssl }), /sasl/],
    [
      'a wrong password',
      options => ({ ...options, sasl: { ...options.sasl, password: 'wrong-staple' } }),
      /authentication failed/i,
    ],
    [
      'a mechanism that is not enabled',
      options => ({ ...options, sasl: { ...options.sasl, mechanism: 'scram-sha-512' } }),
      /SCRAM-SHA-512|mechanism/,
    ],
  ]
  for (const [what, misfit, reason] of misfits) {
    scenario(`reports address and reason, and closes: ${what}`, async world => {
      const { run, error } = await firstError(world, address(), misfit(right()))
      expect(error.message).toMatch(reason)
      expect(error.message).not.toContain('wrong-staple')
      await closes(run)
    })
  }
})

describeOwnKafka('a client whose bootstrap broker advertises an unreachable address', () => {
  const host = 'no-such-host.invalid'
  let server: KafkaServer
  let bootstrap: string
  const backend = kafkaBackend(() => server.internal)
  const scenario = scenarios(backend)

  beforeAll(async () => {
    server = await startKafka({
      unreachable: true,
      advertise: async address => {
        bootstrap = address
        return `${host}:9092`
      },
    })
    await backend.open()
  })
  afterAll(async () => {
    await backend.close()
    await server?.stop()
  })

  scenario('reports that address, and keeps trying', async world => {
    const { run, error } = await firstError(world, `${host}:9092`, { brokers: [bootstrap] })
    expect(error.message).toMatch(/ENOTFOUND|EAI_AGAIN/)
    expect(error.message).toMatch(/advertise/)
    goesOn(run)
  })

  scenario('reports it to a client that only publishes', async world => {
    const run = world.client({ brokers: [bootstrap] })
    run.expected = [ConnectionError]
    const topic = await world.topic('orders')
    const begun = performance.now()
    const published = lastValueFrom(run.client.publish({ topic, value: '0' }, { timeout: 6_000 }))
    published.catch(() => {})
    const [error] = await run.errors.count(1)
    expect(performance.now() - begun).toBeLessThan(within)
    expect(error!.message).toContain(`${host}:9092`)
    await expect(published).rejects.toMatchObject({ code: 'RXMIKA_PUBLISH' })
  })
})

/** A getter, because the server starts with the suite. */
function lazily(kafka: ReturnType<typeof ownKafka>) {
  return { server: () => kafka.server, scenario: kafka.scenario }
}
