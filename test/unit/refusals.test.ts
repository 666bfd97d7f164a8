import { createClient, handle } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { configure } from '../../src/client/config.js'
import { Clock } from './clock.js'

const client = () =>
  createClient({ driver: memoryBroker().driver(), group: 'g', dlqTopic: 'dlq', env: {}, logger: false })

describe('a refused option says what was given, and what is allowed:', () => {
  it.each<[string, () => unknown, string]>([
    [
      'read: partitions',
      () => client().read('orders', { partitions: 3 as never }),
      'read: partitions must be an array of partition numbers (got 3)',
    ],
    ...[-1, 0.5, 2 ** 31, Number.NaN, '0', null].map(
      wrong =>
        [
          `read: partitions with ${wrong}`,
          () => client().read('orders', { partitions: [0, wrong as never] }),
          `read: partitions must be an array of partition numbers (got ${typeof wrong === 'string' ? `'${wrong}'` : wrong})`,
        ] as [string, () => unknown, string],
    ),
    [
      'replayDlq: until',
      () => client().replayDlq({ until: 'end' as never }),
      "replayDlq: until must be 'caught-up' or 'forever' (got 'end')",
    ],
    [
      'replayDlq: attempts',
      () => client().replayDlq({ attempts: 'new' as never }),
      "replayDlq: attempts must be 'keep' or 'fresh' (got 'new')",
    ],
    ...[0, -1, Number.POSITIVE_INFINITY, Number.NaN, '5'].map(
      wrong =>
        [
          `replayDlq: rate ${wrong}`,
          () => client().replayDlq({ rate: wrong as never }),
          `replayDlq: rate must be a number of records a second, greater than 0 (got ${typeof wrong === 'string' ? `'${wrong}'` : wrong})`,
        ] as [string, () => unknown, string],
    ),
    [
      'replayDlq: filter',
      () => client().replayDlq({ filter: 'all' as never }),
      "replayDlq: filter must be a function from a record to a boolean (got 'all')",
    ],
    ['stalls: all', () => client().stalls({ all: 1 as never }), 'stalls: all must be a boolean (got 1)'],
    [
      'startFrom',
      () => configure({ env: {}, brokers: ['b:1'], startFrom: 'end' as never }),
      "startFrom must be 'earliest', 'latest', 'committed' or a valid Date (got 'end')",
    ],
    [
      'KAFKA_CONSUMER_START_FROM',
      () => configure({ env: { KAFKA_CONSUMER_START_FROM: 'end' }, brokers: ['b:1'] }),
      "KAFKA_CONSUMER_START_FROM must be 'earliest', 'latest', 'committed' or a time as in RFC 3339, such as 2026-01-31T00:00:00Z (got 'end')",
    ],
  ])('%s', (_, call, message) => {
    expect(call).toThrow(message)
  })

  it.each<[string, unknown, string]>([
    ['name', [[7, 'v']], 'publish: record 1 to orders: header name must be a string (got 7)'],
    ['value', { name: 7 }, "publish: record 1 to orders: header 'name' must be"],
    ['value in a pair', [['name', 7]], "publish: record 1 to orders: header 'name' must be"],
  ])('the %s of a header, with topic and index', (_, headers, message) => {
    const records = [
      { topic: 'orders', value: 'v' },
      { topic: 'orders', value: 'v', headers: headers as never },
    ]
    expect(() => client().publish(records)).toThrow(message)
  })
})

it.each(['earliest', 'latest', 'committed'] as const)('KAFKA_CONSUMER_START_FROM may be %s', key => {
  expect(configure({ env: { KAFKA_CONSUMER_START_FROM: key }, brokers: ['b:1'] }).startFrom).toBe(key)
})

it('a read may name the first and the last partition that Kafka can have', () => {
  expect(() => client().read('orders', { partitions: [0, 2 ** 31 - 1] })).not.toThrow()
})

it.each([
  ['its partition was moved by seek', 'orders-0 was moved by seek'],
  ['its partition was given up', 'orders-0 is no longer assigned here'],
])('the signal of a record says why it is aborted: %s', (_, message) => {
  const clock = new Clock()
  const broker = memoryBroker({ scheduler: clock, partitions: 1 })
  broker.publish('orders', [{ value: 'v' }])
  const consumer = createClient({ driver: broker.driver(), group: 'g', env: {}, logger: false })
  const signals: AbortSignal[] = []
  consumer
    .topic('orders')
    .pipe(
      handle(({ signal }) => {
        signals.push(signal)
        return new Promise(() => {})
      }),
    )
    .subscribe()
  consumer.start()
  clock.runTo(1_000)
  expect(signals.map(({ aborted }) => aborted)).toEqual([false])
  if (message.includes('seek')) void consumer.seek('orders', 'earliest')
  else consumer.close()
  clock.runTo(60_000)
  expect(signals[0]!.reason).toMatchObject({ name: 'AbortError', message })
})
