import { merge, retry, Subject } from 'rxjs'
import { type ConsumeRecord, createClient, type Driver, FetchError, type RxMikaError } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { expect, it } from 'vitest'
import type { DriverEvent } from '../../src/driver'
import { Clock } from './clock.js'

/** A client of a memory broker, whose driver reports on request that a topic cannot be read. */
function setUp() {
  const clock = new Clock()
  const broker = memoryBroker({ scheduler: clock, partitions: { 'orders-test': 1, 'payments-test': 1 } })
  const told = new Subject<DriverEvent>()
  const memory = broker.driver()
  const consume: Driver['consume'] = request => merge(memory.consume(request), told)
  // Methods are bound, because those of the class use private fields.
  const driver = new Proxy(memory, {
    get: (target, name) => {
      if (name === 'consume') return consume
      const value = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  const client = createClient({ driver, group: 'g', suffix: '-test', env: {}, logger: false })
  const errors: RxMikaError[] = []
  client.errors.subscribe(error => errors.push(error))
  const gone = new FetchError("topic 'orders-test' is gone", { topic: 'orders-test' })
  const runFor = (ms: number) => clock.runTo(clock.now() + ms)
  return {
    ...{ broker, client, errors, runFor },
    unreadable: () => told.next({ type: 'unreadable', isGone: true, topic: 'orders-test', error: gone }),
  }
}

const values = (records: readonly ConsumeRecord[]) => records.map(({ value }) => String(value))

it('errors only the stream of a topic that cannot be read any more, without closing the client', () => {
  const { broker, client, errors, unreadable, runFor } = setUp()
  const orders: ConsumeRecord[] = []
  const payments: ConsumeRecord[] = []
  let ended: unknown
  client.topic('orders').subscribe({ next: record => orders.push(record), error: error => (ended = error) })
  client.topic('payments').subscribe(record => payments.push(record))
  client.start()
  broker.publish('orders-test', [{ value: '0' }])
  runFor(100)
  unreadable()
  expect(ended).toMatchObject({ code: 'RXMIKA_FETCH', topic: 'orders' })
  expect(errors).toEqual([ended])
  broker.publish('payments-test', [{ value: '1' }])
  runFor(100)
  expect(values(payments)).toEqual(['1'])
  expect(client.currentState).toBe('running')
})

it('delivers unsettled and new records to the next subscriber, without the error', () => {
  const { broker, client, errors, unreadable, runFor } = setUp()
  const orders: ConsumeRecord[] = []
  client
    .topic('orders')
    .pipe(retry())
    .subscribe(record => orders.push(record))
  client.start()
  broker.publish('orders-test', [{ value: '0' }, { value: '1' }])
  runFor(100)
  orders[0]!.ack()
  unreadable()
  broker.publish('orders-test', [{ value: '2' }])
  runFor(100)
  expect(values(orders)).toEqual(['0', '1', '1', '2'])
  for (const record of orders.slice(2)) record.ack()
  runFor(10_000)
  expect(broker.committed('g-test', 'orders-test', 0)).toBe(3n)
  expect(errors).toHaveLength(1)
})

it('reports a topic without a subscriber, and does not error the next subscriber', () => {
  const { broker, client, errors, unreadable, runFor } = setUp()
  const topic = client.topic('orders')
  client.start()
  runFor(100)
  unreadable()
  expect(errors).toHaveLength(1)
  const orders: ConsumeRecord[] = []
  topic.subscribe(record => orders.push(record))
  broker.publish('orders-test', [{ value: '0' }])
  runFor(100)
  expect(values(orders)).toEqual(['0'])
})
