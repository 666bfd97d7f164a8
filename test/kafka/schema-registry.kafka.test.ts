import { lastValueFrom } from 'rxjs'
import { exponential, handle } from 'rxmika'
import { afterAll, beforeAll, expect } from 'vitest'
import { avro } from '../../examples/schemas/src/avro'
import { kafkaBackend } from '../contract/kafka-backend'
import { scenarios } from '../contract/world'
import { describeKafka, kafkaBrokers } from './describe-kafka'
import { type Order, orderBytes, orderSchema, SchemaRegistry } from './schema-registry'

describeKafka('a schema registry that is stopped and started again', () => {
  const backend = kafkaBackend(() => kafkaBrokers)
  const registry = new SchemaRegistry()
  registry.schemas.set(7, orderSchema)
  beforeAll(() => backend.open())
  afterAll(() => Promise.all([backend.close(), registry.stop()]))
  const scenario = scenarios(backend)

  scenario('costs its records retries, and sends none of them to the DLQ', async world => {
    await registry.start()
    await registry.stop()
    const [topic, retryTopic, dlqTopic] = await Promise.all([
      world.topic('orders'),
      world.topic('retries'),
      world.topic('dlq'),
    ])
    const orders = Array.from({ length: 200 }, (_, at): Order => ({ id: `order ${at}`, cents: at }))
    const run = world.client({ group: world.name('group'), retryTopic, dlqTopic })
    await lastValueFrom(run.client.publish(orders.map(order => ({ topic, value: orderBytes(order, 7) }))))
    const handled: string[] = []
    let retried = 0
    run.client.events.subscribe(({ type }) => {
      if (type === 'retried') retried++
    })
    run.client
      .topic(topic, {
        retries: 1_000,
        backoff: exponential({ initial: 100, max: 500 }),
        dlq: true,
        decode: avro<Order>(registry.url),
        tombstones: 'ack',
      })
      .pipe(handle(({ value }) => void handled.push(value.id), { order: 'none' }))
      .subscribe()
    run.client.start()
    await expect.poll(() => retried, { timeout: 30_000 }).toBeGreaterThanOrEqual(orders.length)
    await registry.start()
    await expect.poll(() => new Set(handled).size, { timeout: 30_000 }).toBe(orders.length)
    expect(await backend.records(dlqTopic)).toEqual([])
  })
})
