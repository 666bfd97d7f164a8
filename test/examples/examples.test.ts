import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { Type } from 'avsc'
import { firstValueFrom, toArray } from 'rxjs'
import { type Client, createClient, type PublishRecord } from 'rxmika'
import { afterAll, afterEach, beforeEach, describe, expect, inject, it } from 'vitest'
import { Example } from '../docs/run-example'
import { createTopic } from '../kafka/create-topic'
import { kafkaBrokers } from '../kafka/describe-kafka'
import { orderSchema, SchemaRegistry } from '../kafka/schema-registry'
import { InstalledExample } from './installed'

let suffix = ''
let client: Client

/** What the examples take from the environment. */
const env = () => ({ KAFKA_BROKERS: kafkaBrokers.join(','), KAFKA_GLOBAL_SUFFIX: suffix, PORT: '0' })

const topics = (...names: readonly string[]) =>
  Promise.all(names.map(name => createTopic({ brokers: kafkaBrokers }, { topic: name + suffix, numPartitions: 1 })))
const publish = (topic: string, ...records: readonly Omit<PublishRecord, 'topic'>[]) =>
  firstValueFrom(client.publish(records.map(record => ({ topic, ...record }))))
const values = (topic: string) =>
  firstValueFrom(client.read(topic).pipe(toArray())).then(records => records.map(({ value }) => String(value)))

beforeEach(() => {
  suffix = `-${randomUUID().slice(0, 8)}`
  client = createClient({ brokers: kafkaBrokers, suffix, logger: false })
})
afterEach(() => client.close())

/** Installs an example once for the tests of a suite. */
function installed(name: string): () => Promise<InstalledExample> {
  let made: Promise<InstalledExample> | undefined
  afterAll(async () => (await made)?.remove())
  return () => {
    made ??= InstalledExample.make(name, inject('tarball'))
    return made
  }
}

describe('the order service', () => {
  const example = installed('orders')

  it('compiles', async () => (await example()).compile(), 180_000)

  it('retries, dead-letters, answers probes, counts, and ends by SIGTERM with everything committed', async () => {
    await topics('orders', 'orders-retry', 'orders-dlq')
    const program = new Example('main', env(), (await example()).folder)
    program.expected = /./ // the client's own log goes to stdout; nothing else is expected
    await program.printed(/^listening on/)
    const port = /listening on (\d+)/.exec(program.output)![1]
    await publish(
      'orders',
      { key: 'a', value: '{"id":"now","cents":5}' },
      { key: 'b', value: '{"id":"later","cents":7}' },
      { key: 'c', value: '{"id":"wrong","cents":-1}' },
    )
    await program.printed(/^charged now: 5, attempt 1/)
    await program.printed(/^charged later: 7, attempt 2/)
    await program.printed(/^dead letter: orders-0@2: Error: order wrong: the amount is negative/)
    expect((await fetch(`http://127.0.0.1:${port}/ready`)).status).toBe(200)
    expect((await fetch(`http://127.0.0.1:${port}/live`)).status).toBe(200)
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
    expect(metrics).toContain('rxmika_records_total{topic="orders",outcome="deadLettered"} 1')
    expect(metrics).toMatch(/^rxmika_lag\{topic="orders",partition="0"\} \d+$/m)
    program.kill('SIGTERM')
    expect(await program.exitCode()).toBe(0)
    expect(program.output).toContain('closed: drained true, unsettled 0')
    expect(await values('orders-dlq')).toEqual(['{"id":"wrong","cents":-1}'])
  }, 120_000)
})

describe('from one topic to another', () => {
  const example = installed('copy')

  it('compiles', async () => (await example()).compile(), 180_000)

  it('writes one invoice for each order, in order', async () => {
    await topics('orders', 'orders-dlq', 'invoices')
    const program = new Example('main', env(), (await example()).folder)
    await publish(
      'orders',
      { key: 'k', value: '{"id":"1","cents":100}' },
      { key: 'k', value: '{"id":"2","cents":200}' },
    )
    const expected = ['{"order":"1","total":119}', '{"order":"2","total":238}']
    await expect.poll(() => values('invoices'), { timeout: 30_000 }).toEqual(expected)
    program.kill('SIGTERM')
    expect(await program.exitCode()).toBe(0)
    expect(program.output).toContain('closed: drained true')
    expect(await values('invoices')).toEqual(expected)
  }, 120_000)
})

describe('server-sent events', () => {
  const example = installed('sse')

  it('compiles', async () => (await example()).compile(), 180_000)

  it('cuts off who does not read, and others get everything', async () => {
    await topics('prices')
    const program = new Example('main', { ...env(), MAX_BUFFERED: '1000000' }, (await example()).folder)
    await program.printed(/^listening on/)
    await program.printed(/^a partition is read/)
    const url = `http://127.0.0.1:${/listening on (\d+)/.exec(program.output)![1]}/prices`
    const open = async () => ((await once(get(url), 'response')) as [IncomingMessage])[0]
    const [quick, slow] = await Promise.all([open(), open()])
    let received = ''
    quick.setEncoding('utf8').on('data', text => {
      received += text
    })
    slow.pause()
    const cutOff = once(slow.socket, 'close')
    slow.on('error', () => {})
    // More than sockets hold by themselves, in several turns, so that the quick one keeps up.
    const large = 'x'.repeat(100_000)
    const count = 150
    for (let n = 0; n < count; n++) {
      await publish('prices', { value: `${n} ${large}` })
      await expect.poll(() => received.includes(`data: ${n} ${large}\n\n`), { timeout: 30_000 }).toBe(true)
    }
    await program.printed(/^a slow client is cut off/)
    slow.resume()
    await cutOff
    expect(received.match(/^data: \d+/gm)).toEqual(Array.from({ length: count }, (_, n) => `data: ${n}`))
    program.kill('SIGTERM')
    expect(await program.exitCode()).toBe(0)
  }, 120_000)
})

describe('typed topics', () => {
  const example = installed('schemas')

  it('compiles', async () => (await example()).compile(), 180_000)

  it('handle what fits, dead-letter what does not, and wait for a registry that is away', async () => {
    await topics('orders', 'payments', 'accounting-retry', 'accounting-dlq')
    const registry = new SchemaRegistry()
    const schema = {
      ...orderSchema,
      name: 'Payment',
      fields: [
        { name: 'order', type: 'string' },
        { name: 'cents', type: 'int' },
      ],
    }
    registry.schemas.set(7, schema)
    await registry.start()
    const { url } = registry
    await registry.stop()

    const program = new Example('main', { ...env(), SCHEMA_REGISTRY: url }, (await example()).folder)
    const avro = Buffer.concat([
      Buffer.from([0, 0, 0, 0, 7]),
      Type.forSchema(schema as never).toBuffer({ order: '1', cents: 5 }),
    ])
    await publish('payments', { key: 'k', value: avro })
    await publish('orders', { key: 'k', value: '{"id":"1","cents":5}' }, { key: 'k', value: '{"id":"2","cents":-5}' })
    await program.printed(/^order 1: 5/)
    await program.printed(/^dead letter of orders: DecodeError/)
    await program.printed(/^retried: /)
    await registry.start()
    await program.printed(/^payment for 1: 5/)
    await registry.stop()
    program.kill('SIGTERM')
    expect(await program.exitCode()).toBe(0)
    expect(await values('accounting-dlq')).toEqual(['{"id":"2","cents":-5}'])
  }, 120_000)
})

describe('the NestJS application', () => {
  const example = installed('nestjs')

  it('compiles', async () => (await example()).compile(), 180_000)

  it('is tested with the broker in memory', async () => {
    expect(await (await example()).test('src/orders.test.ts')).toMatch(/^# pass 1$/m)
  }, 120_000)

  it('charges, and closes by its shutdown hooks', async () => {
    await topics('orders', 'orders-nest-retry', 'orders-nest-dlq')
    const program = new Example('main', env(), (await example()).folder)
    await program.printed(/^started/)
    await publish('orders', { key: 'k', value: 'order 1' })
    await program.printed(/charged order 1/)
    program.kill('SIGTERM')
    await program.exitCode()
    expect(program.output).toContain('closed: drained true, unsettled 0')
  }, 120_000)

  it('ends with code 1 by an error that cannot heal', async () => {
    await topics('orders', 'orders-nest-retry', 'orders-nest-dlq')
    const fatal = { ...env(), KAFKA_CONSUMER_START_FROM: 'committed' }
    const program = new Example('main', fatal, (await example()).folder)
    program.expected = /fatal: |WARN/
    expect(await program.exitCode(), program.output).toBe(1)
    expect(program.stderr).toMatch(/fatal: .*committed/)
  }, 120_000)
})
