import * as rxjs from 'rxjs'
import { filter, firstValueFrom, of } from 'rxjs'
import * as rxmika from 'rxmika'
import { type Client, type ClientOptions, createClient } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { afterEach, describe, expect, it, vi } from 'vitest'
import * as zod from 'zod'
import { codeBlocks, runBlock } from './code-blocks'

const clients: Client[] = []
afterEach(async () => {
  await Promise.all(clients.splice(0).map(client => client.close()))
})

/** Runs one block of a guide with the names that it assumes: a client on a memory broker, and recorded functions. */
function run(guide: string, part: string) {
  const broker = memoryBroker()
  const onBroker = (options: ClientOptions = {}) => {
    const client = createClient({ ...options, driver: broker.driver(), logger: false })
    clients.push(client)
    return client
  }
  const client = onBroker({ group: 'billing', retryTopic: 'billing-retry', dlqTopic: 'billing-dlq' })
  const own = { charge: vi.fn(async () => {}), book: vi.fn(async () => {}), refund: vi.fn(() => of(1)) }
  const process = { once: vi.fn() }
  const code = codeBlocks(`docs/${guide}.md`).find(block => block.includes(part))!
  const console = { log: vi.fn(), error: vi.fn() }
  runBlock(code, { rxjs, rxmika: { ...rxmika, createClient: onBroker }, zod }, { client, process, console, ...own })
  if (clients.length === 1) client.start()
  const committed = (topic: string, offset: bigint) =>
    firstValueFrom(broker.commits.pipe(filter(() => broker.committed('billing', topic, 0) === offset)))
  return { broker, committed, ...own, process, console }
}

const values = (calls: unknown[][]) => calls.map(([value]) => String(value))

describe('the guides', () => {
  it.each([
    ['ordering', "order: 'key'"],
    ['from-kafkajs', 'createClient'],
    ['from-mika', 'createClient'],
  ])('%s: a topic is handled by the function of the reader', async (guide, part) => {
    const { broker, committed, charge } = run(guide, part)
    broker.publish('orders', [
      { key: 'a', value: '1' },
      { key: 'b', value: '2' },
    ])
    await committed('orders', 2n)
    expect(charge).toHaveBeenCalledTimes(2)
  })

  it('ordering: any operator settles the records', async () => {
    const { broker, committed, refund } = run('ordering', 'mergeMap')
    broker.publish('refunds', [{ value: '1' }, { value: '2' }])
    await committed('refunds', 2n)
    expect(values(refund.mock.calls as unknown[][])).toEqual(['1', '2'])
  })

  it('ordering: the concurrency changes at run time', async () => {
    const { broker, committed, refund } = run('ordering', 'BehaviorSubject')
    broker.publish('refunds', [{ value: '1' }])
    await committed('refunds', 1n)
    expect(refund).toHaveBeenCalledTimes(1)
  })

  it('fan-out: every branch has every record', async () => {
    const { broker, committed, charge, book } = run('fan-out', 'fork(')
    broker.publish('orders', [{ value: '1' }])
    await committed('orders', 1n)
    expect([charge, book].map(({ mock }) => values(mock.calls as unknown[][]))).toEqual([['1'], ['1']])
  })

  it('fan-out: an order is acked after its copies', async () => {
    const { broker, committed } = run('fan-out', "topic: 'invoices'")
    broker.publish('orders', [{ key: 'k', value: '1' }])
    await committed('orders', 1n)
    expect(['invoices', 'shipments'].map(topic => broker.records(topic).length)).toEqual([1, 1])
  })

  it('schemas: valid records are handled with their type, and invalid ones are dead-lettered', async () => {
    const { broker, committed, charge } = run('schema-registry', 'z.object')
    broker.publish('orders', [{ value: '{"id":"1","cents":5}' }, { value: '{"id":"2","cents":-5}' }, { value: null }])
    await committed('orders', 3n)
    expect(charge.mock.calls).toEqual([[5]])
    expect(broker.records('billing-dlq').map(({ value }) => String(value))).toEqual(['{"id":"2","cents":-5}'])
  })

  it('spring-kafka: a failed record is on the retry topic, and due after the backoff', async () => {
    const { broker, charge } = run('from-spring-kafka', 'createClient')
    charge.mockRejectedValue(new Error('declined'))
    const retried = firstValueFrom(clients[1]!.events.pipe(filter(({ type }) => type === 'retried')))
    broker.publish('orders', [{ value: '{"id":"1"}' }])
    expect(await retried).toMatchObject({ topic: 'orders', attempt: 1, reason: new Error('declined') })
    const [copy] = broker.records('billing-retry')
    expect(copy!.headers).toHaveProperty('mika_err_billing_not_before')
  })
})
