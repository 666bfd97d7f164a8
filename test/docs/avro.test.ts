import { filter, firstValueFrom, map, pipe, scan, take, toArray } from 'rxjs'
import { type ClientEvent, createClient, deadLetter, deadLetterOf, fixed, handle, redeliver } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { avro } from '../../examples/schemas/src/avro'
import { type Order, orderBytes, orderSchema, SchemaRegistry } from '../kafka/schema-registry'

const orders = Array.from({ length: 20 }, (_, at): Order => ({ id: `order ${at}`, cents: at }))

describe('Avro with a schema registry that is stopped and started again', () => {
  let registry: SchemaRegistry
  let clients: { close(): Promise<unknown> }[]
  beforeEach(async () => {
    clients = []
    registry = new SchemaRegistry()
    registry.schemas.set(7, orderSchema)
    await registry.start()
  })
  afterEach(async () => {
    await Promise.all(clients.map(client => client.close()))
    await registry.stop()
  })

  function setUp() {
    const broker = memoryBroker()
    const client = createClient({
      ...{ driver: broker.driver(), group: 'billing', retryTopic: 'retries', dlqTopic: 'dlq', logger: false },
    })
    clients.push(client)
    const events = (type: ClientEvent['type'], count: number) =>
      firstValueFrom(
        client.events.pipe(
          filter(event => event.type === type),
          take(count),
          toArray(),
        ),
      )
    return { broker, client, events }
  }
  const publish = (broker: ReturnType<typeof memoryBroker>) =>
    broker.publish(
      'orders',
      orders.map(order => ({ value: orderBytes(order, 7) })),
    )

  it('retries its records through the retry topic, and dead-letters none', async () => {
    const { broker, client, events } = setUp()
    await registry.stop()
    publish(broker)
    const handled = firstValueFrom(
      client
        .topic('orders', {
          retries: 1_000,
          backoff: fixed(20),
          dlq: true,
          decode: avro<Order>(registry.url),
          tombstones: 'ack',
        })
        .pipe(
          handle(({ value }) => value),
          map(outcome => (outcome.status === 'acked' ? outcome.value.id : 'failed')),
          take(orders.length),
          toArray(),
        ),
    )
    const retried = events('retried', 2 * orders.length)
    client.start()
    await retried
    const [first] = broker.records('retries')
    expect(deadLetterOf(first!)).toMatchObject({ topic: 'orders', stage: 'decode', reason: 'fetch failed' })
    await registry.start()
    expect((await handled).sort()).toEqual(orders.map(({ id }) => id).sort())
    expect(broker.records('dlq')).toEqual([])
    // One request for all records that waited for the schema, or a few if retries were due at different times.
    expect(new Set(registry.asked)).toEqual(new Set(['/schemas/ids/7']))
    expect(registry.asked.length).toBeLessThan(orders.length)
  })

  it('retries them in place, by redeliver', async () => {
    const { broker, client } = setUp()
    await registry.stop()
    publish(broker)
    let failures = 0
    const backoff = () => {
      failures++
      return 20
    }
    const route = pipe(redeliver(client, { attempts: 1_000, backoff }), deadLetter(client))
    const handled = firstValueFrom(
      client.topic('orders', { onFail: route, decode: avro<Order>(registry.url) }).pipe(
        handle(({ value }) => value!.id),
        scan((ids, outcome) => ids.add(outcome.status === 'acked' ? outcome.value : 'failed'), new Set<string>()),
        filter(({ size }) => size === orders.length),
      ),
    )
    client.start()
    await expect.poll(() => failures).toBeGreaterThanOrEqual(2 * orders.length)
    await registry.start()
    expect([...(await handled)].sort()).toEqual(orders.map(({ id }) => id).sort())
    expect(broker.records('dlq')).toEqual([])
  })

  it('dead-letters invalid records at once, and others when their retries are used up', async () => {
    const { broker, client, events } = setUp()
    broker.publish('orders', [
      { key: 'no schema', value: orderBytes(orders[0]!, 8) },
      { key: 'not Avro', value: '{"id":"order 1"}' },
      { key: 'cut off', value: orderBytes(orders[0]!, 7).subarray(0, 7) },
    ])
    client.topic('orders', { retries: 2, dlq: true, decode: avro<Order>(registry.url) }).subscribe()
    const dead = events('dead-lettered', 3)
    client.start()
    await dead
    expect(broker.records('retries')).toEqual([])
    for (const letter of broker.records('dlq')) {
      expect(deadLetterOf(letter)).toMatchObject({ stage: 'decode', disposition: 'undecodable', retries: 0 })
    }
    // The registry stops before its schema is known.
    registry.schemas.set(9, orderSchema)
    await registry.stop()
    const exhausted = events('dead-lettered', 1)
    broker.publish('orders', { key: 'away', value: orderBytes(orders[0]!, 9) })
    await exhausted
    expect(deadLetterOf(broker.records('dlq').at(-1)!)).toMatchObject({
      ...{ stage: 'decode', disposition: 'exhausted', retries: 2, reason: 'fetch failed' },
    })
  })
})
