import fc from 'fast-check'
import { type Client, ConfigurationError, createClient, type GroupProtocol } from 'rxmika'
import { describe, expect, it, vi } from 'vitest'
import { closingBounds } from '../../../src/client/closing'
import type { FakeKafka } from '../../fake-broker/fake-kafka'
import { brokers } from '../../fake-broker/reading'
import { Scope } from '../../fake-broker/scope'

/** How late a timer of a busy machine may fire, ms. */
const late = 500
const timeout = 200
const nodes = [0, 1, 2] as const

/** The request at which the brokers begin to hang. */
const moments = {
  classic: ['ApiVersions', 'Metadata', 'JoinGroup', 'SyncGroup', 'Fetch', 'OffsetCommit', 'Produce', 'LeaveGroup'],
  consumer: ['ConsumerGroupHeartbeat', 'OffsetFetch', 'ListOffsets', 'Fetch', 'OffsetCommit', 'InitProducerId'],
} as const

interface Hang {
  readonly groupProtocol: 'classic' | 'consumer'
  readonly moment: string
  readonly hanging: readonly number[]
  readonly how: 'close' | 'closeGracefully'
  /** How long after that the client is closed, ms. */
  readonly after: number
}

const hang: fc.Arbitrary<Hang> = fc.constantFrom('classic' as const, 'consumer' as const).chain(groupProtocol =>
  fc.record({
    groupProtocol: fc.constant(groupProtocol),
    moment: fc.constantFrom<string[]>(...moments[groupProtocol]),
    hanging: fc.subarray([...nodes], { minLength: 1 }),
    how: fc.constantFrom('close' as const, 'closeGracefully' as const),
    after: fc.nat(300),
  }),
)

/** Resolves when the first request of this name has reached a broker. From then on some brokers do not answer. */
function hangAt(kafka: FakeKafka, { moment, hanging }: Hang): Promise<void> {
  return new Promise(resolve => {
    const end = kafka.on(moment, () => {
      end()
      for (const node of hanging) kafka.hang(node)
      resolve()
      return undefined
    })
  })
}

/** How long the close took, ms. */
async function closing(given: Hang): Promise<number> {
  await using scope = new Scope()
  const kafka = await brokers(scope, nodes.length)
  kafka.create('orders', ...nodes)
  for (const partition of nodes) kafka.log('orders', partition).append('a', 'b')
  const hangs = hangAt(kafka, given)
  const client = createClient({
    ...{ brokers: kafka.addresses, group: 'billing', groupProtocol: given.groupProtocol },
    ...{ env: {}, logger: false, commitInterval: 10 },
  })
  let delivered!: () => void
  const some = new Promise<void>(resolve => {
    delivered = resolve
  })
  // One record of each partition is settled, so the close has something to commit and something to wait for.
  client.topic('orders').subscribe({
    next: record => {
      if (record.offset === 0n) record.ack()
      delivered()
    },
    error: () => {},
  })
  client.start()
  // A publication in flight errors when the client closes.
  client.publish({ topic: 'orders', value: 'c' }).subscribe({ error: () => {} })
  await Promise.race([hangs, given.moment === 'LeaveGroup' ? some : hangs])
  await new Promise(resolve => setTimeout(resolve, given.after))
  const since = performance.now()
  await (given.how === 'close' ? client.close() : client.closeGracefully({ timeout }))
  const took = performance.now() - since
  await disconnected(kafka)
  return took
}

/** A connection that stays open would keep the process alive. */
function disconnected(kafka: FakeKafka): Promise<void> {
  return vi.waitFor(() => expect(kafka.connections).toBe(0))
}

describe('a client of brokers that hang', () => {
  // New random cases in each run, all in parallel because they mostly wait.
  it('closes in bounded time, whichever of them hang, and whenever they begin to', async () => {
    const drawn = fc.sample(hang, 40)
    const took = await Promise.all(drawn.map(closing))
    for (const [at, given] of drawn.entries()) {
      const bound = given.how === 'close' ? closingBounds.afterWaiting : timeout + closingBounds.afterTimeout
      expect(took[at], JSON.stringify(given)).toBeLessThan(bound + late)
    }
  })
})

describe('a client that an error closes', () => {
  const join = (client: Client) => {
    client.topic('orders').subscribe({ error: () => {} })
    client.start()
    return client.closed
  }

  // Without it the group would keep the member until its session ends: the next client of the group would get nothing.
  it.each(['classic', 'consumer'] as const)('has left its group by then: %s', async groupProtocol => {
    await using scope = new Scope()
    const kafka = await brokers(scope)
    kafka.create('orders', 0)
    kafka.log('orders').append('a')
    const options = { brokers: kafka.addresses, group: 'billing', groupProtocol, env: {}, logger: false } as const
    const report = await join(createClient({ ...options, startFrom: 'committed' }))
    expect(report.error).toBeInstanceOf(ConfigurationError)

    const next = createClient(options)
    scope.onTestFinished(() => next.close())
    const delivered = new Promise(resolve => {
      next.topic('orders').subscribe(record => resolve(String(record.value)))
    })
    next.start()
    expect(await delivered).toBe('a')
  })

  /** A client that is refused, and whose group does not answer from then on. */
  async function unanswered(scope: Scope, groupProtocol: GroupProtocol) {
    const kafka = await brokers(scope)
    kafka.create('orders', 0)
    kafka.log('orders').append('a')
    const refused = new Promise<void>(resolve => {
      kafka.on('OffsetFetch', () => {
        // This answer still arrives, and says that there is no position.
        setImmediate(() => kafka.hang(0))
        resolve()
        return undefined
      })
    })
    const options = { brokers: kafka.addresses, group: 'billing', groupProtocol } as const
    const client = createClient({ ...options, startFrom: 'committed', env: {}, logger: false })
    scope.onTestFinished(() => client.close())
    const closed = join(client)
    await refused
    return { kafka, client, closed, since: performance.now() }
  }

  it.each(['classic', 'consumer'] as const)(
    'closes in bounded time if its group does not answer: %s',
    async protocol => {
      await using scope = new Scope()
      const { kafka, closed, since } = await unanswered(scope, protocol)
      expect((await closed).error).toBeInstanceOf(ConfigurationError)
      expect(performance.now() - since).toBeLessThan(closingBounds.afterWaiting + late)
      await disconnected(kafka)
    },
  )

  it.each(['classic', 'consumer'] as const)('does so too if the program closes it meanwhile: %s', async protocol => {
    await using scope = new Scope()
    const { client, closed, since } = await unanswered(scope, protocol)
    await Promise.race([closed, new Promise(resolve => setTimeout(resolve, 1_000)).then(() => client.close())])
    expect(performance.now() - since).toBeLessThan(1_000 + closingBounds.afterWaiting + late)
  })
})
