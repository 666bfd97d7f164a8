import { EMPTY } from 'rxjs'
import { createClient } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { DelayedRecords } from '../../src/client/delayed-records.js'
import { fakeRecord } from '../marbles/fake-record.js'
import { Clock } from './clock.js'

const headers = (values: Record<string, string | number>) =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [`mika_err_billing_${name}`, String(value)]))

function setUp(clock: Clock) {
  const broker = memoryBroker({ scheduler: clock })
  const start = () => {
    const client = createClient({
      driver: broker.driver(),
      group: 'billing',
      retryTopic: 'retry',
      logger: false,
      stallAfter: 2 ** 31 - 1,
    })
    const seen: { readonly value: string; readonly at: number }[] = []
    client.topic('orders', { retries: 3 }).subscribe(record => {
      seen.push({ value: String(record.value), at: clock.now() })
      record.ack()
    })
    const errors: Error[] = []
    client.start().subscribe(error => errors.push(error))
    return { client, seen, errors }
  }
  return { broker, start }
}

const copy = (value: string, failedAt: number, notBefore: number) => ({
  value,
  headers: headers({ org_topic: 'orders', retries: 1, failed_at: failedAt, not_before: notBefore }),
})

describe('delayed retries', () => {
  it('delivers due records while 50,000 records before them wait ten minutes, none early, none lost', () => {
    const clock = new Clock()
    const { broker, start } = setUp(clock)
    const padding = 'x'.repeat(1_000)
    broker.publish(
      'retry',
      Array.from({ length: 50_000 }, (_, at) => copy(`far-${at}-${padding}`, 0, 600_000)),
    )
    broker.publish('retry', copy('near', 0, 1_000))
    const { seen, errors } = start()

    clock.runTo(999)
    expect(seen).toEqual([])
    clock.runTo(1_001)
    expect(seen).toEqual([{ value: 'near', at: 1_000 }])
    clock.runTo(599_999)
    expect(seen).toHaveLength(1)
    expect(broker.committed('billing', 'retry', 0) ?? 0n).toBe(0n)
    clock.runTo(601_000)
    expect(errors).toEqual([])
    expect(seen).toHaveLength(50_001)
    expect(new Set(seen.slice(1).map(({ value }) => value.split('-')[1])).size).toBe(50_000)
    expect(Math.min(...seen.slice(1).map(({ at }) => at))).toBe(600_000)
    expect(broker.committed('billing', 'retry', 0)).toBe(50_001n)
  })

  it('keeps completed retries and waiting retries through a restart', () => {
    const clock = new Clock()
    const { broker, start } = setUp(clock)
    broker.publish('retry', [copy('far', 0, 60_000), copy('near', 0, 1_000), copy('later', 0, 30_000)])
    const first = start()
    clock.runTo(10_000)
    expect(first.seen.map(({ value }) => value)).toEqual(['near'])
    first.client.close()
    clock.runTo(11_000)
    const second = start()
    clock.runTo(100_000)
    expect(second.seen).toEqual([
      { value: 'later', at: 30_000 },
      { value: 'far', at: 60_000 },
    ])
    expect(broker.committed('billing', 'retry', 0)).toBe(3n)
  })

  it("never waits longer than the delay itself, whatever the writer's clock shows", () => {
    const clock = new Clock()
    const { broker, start } = setUp(clock)
    broker.publish('retry', copy('from a clock an hour ahead', 3_600_000, 3_605_000))
    const { seen } = start()
    clock.runTo(4_999)
    expect(seen).toEqual([])
    clock.runTo(5_100)
    expect(seen).toHaveLength(1)
  })

  it('reports a record whose bytes were deleted from the log while it waited, and continues', () => {
    const clock = new Clock()
    const { broker, start } = setUp(clock)
    const padding = 'x'.repeat(1_000_000)
    broker.publish(
      'retry',
      Array.from({ length: 6 }, (_, at) => copy(`${at}-${padding}`, 0, 60_000)),
    )
    const { seen, errors } = start()
    clock.runTo(1_000)
    broker.deleteBefore('retry', 0, 6)
    clock.runTo(61_000)
    // Records that fit into the memory for waiting records are delivered. The others had been released, and are deleted.
    expect(seen.length + errors.length).toBe(6)
    expect(errors.length).toBeGreaterThan(0)
    expect(errors[0]!.message).toMatch(/retry-0@\d was deleted from the log before its retry was due/)
    expect(broker.committed('billing', 'retry', 0)).toBe(6n)
  })
})

describe('records that wait on a shared retry topic', () => {
  it('do not hold back records behind one that is not due', () => {
    const clock = new Clock()
    const { broker, start } = setUp(clock)
    broker.publish('retry', copy('far', 0, 3_600_000))
    broker.publish(
      'retry',
      Array.from({ length: 25_000 }, (_, at) => copy(`${at}`, 0, 0)),
    )
    const { seen } = start()
    clock.runTo(60_000)
    expect(seen).toHaveLength(25_000)
    clock.runTo(3_601_000)
    expect(seen.at(-1)).toEqual({ value: 'far', at: 3_600_000 })
    expect(broker.committed('billing', 'retry', 0)).toBe(25_001n)
  })

  it('do not hold back other topics while theirs has no subscriber, and are delivered when it has one', () => {
    const clock = new Clock()
    const broker = memoryBroker({ scheduler: clock })
    const client = createClient({
      driver: broker.driver(),
      group: 'billing',
      retryTopic: 'retry',
      logger: false,
      stallAfter: 2 ** 31 - 1,
    })
    const seen: string[] = []
    client.topic('orders', { retries: 3 }).subscribe(record => {
      seen.push(String(record.value))
      record.ack()
    })
    const refunds = client.topic('refunds', { retries: 3 })
    const padding = 'x'.repeat(1_000)
    const refund = (value: string) => ({ value, headers: headers({ org_topic: 'refunds', retries: 1 }) })
    broker.publish(
      'retry',
      Array.from({ length: 12_000 }, (_, at) => refund(`${at}-${padding}`)),
    )
    broker.publish(
      'retry',
      Array.from({ length: 12_000 }, (_, at) => copy(`order-${at}`, 0, 0)),
    )
    client.start()
    clock.runTo(10_000)
    expect(seen).toHaveLength(12_000)
    expect(client.stalls()).toMatchObject([{ topic: 'retry', offset: 0n, why: 'no-subscriber' }])

    const refunded = new Set<string>()
    refunds.subscribe(record => {
      refunded.add(String(record.value).split('-')[0]!)
      record.ack()
    })
    clock.runTo(20_000)
    expect(refunded.size).toBe(12_000)
    expect(broker.committed('billing', 'retry', 0)).toBe(24_000n)
  })
})

describe('DelayedRecords', () => {
  it('treats a record as due when its timer fires, although the clock of whole ms may be a fraction behind', () => {
    const scheduler = new Clock()
    const due: number[] = []
    const delayed = new DelayedRecords({
      clock: { scheduler, monotonic: () => scheduler.now() - (scheduler.now() > 50 ? 1 : 0), wall: () => 0 },
      readAt: () => EMPTY,
      due: () => due.push(scheduler.now()),
      gone: () => {
        throw new Error('it is there')
      },
    })
    scheduler.runTo(50)
    delayed.add(fakeRecord(), 100)
    scheduler.runTo(149)
    expect(due).toEqual([])
    scheduler.runTo(1_000)
    expect(due).toEqual([150])
    delayed.end()
  })

  it('schedules nothing more if it ends while a record is due, as when a handler closes the client', () => {
    const scheduler = new Clock()
    const due: number[] = []
    const delayed = new DelayedRecords({
      clock: { scheduler, monotonic: () => scheduler.now(), wall: () => 0 },
      readAt: () => EMPTY,
      due: () => {
        due.push(scheduler.now())
        delayed.end()
      },
      gone: () => {},
    })
    for (const delay of [100, 100, 600_000]) delayed.add(fakeRecord(), delay)
    scheduler.runTo(700_000)
    expect(due).toEqual([100])
  })
})
