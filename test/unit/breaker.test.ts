import { pipe } from 'rxjs'
import { breaker, type ClientEvent, createClient, deadLetter, FloodError, type RxMikaError, retryTopic } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { Clock } from './clock.js'

const values = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, at) => ({ value: String(from + at) }))

/** A client whose handler fails everything until the test changes that. */
function setUp(clock: Clock, { retries = 0, failures = 100, maxInFlight = 200 } = {}) {
  const broker = memoryBroker({ scheduler: clock })
  const start = ({ works = false } = {}) => {
    const client = createClient({
      ...{ driver: broker.driver(), group: 'billing', retryTopic: 'retry', dlqTopic: 'dlq', logger: false },
      stallAfter: 2 ** 31 - 1,
    })
    const route = pipe(
      retryTopic(client, { retries }),
      breaker(client, { failures, within: 60_000 }),
      deadLetter(client),
    )
    const run = {
      client,
      works,
      seen: [] as string[],
      errors: [] as RxMikaError[],
      events: [] as ClientEvent[],
      typesOf: (...types: ClientEvent['type'][]) =>
        run.events.map(({ type }) => type).filter(type => types.includes(type)),
    }
    client.topic('orders', { onFail: route, maxInFlight }).subscribe(record => {
      run.seen.push(String(record.value))
      if (run.works) record.ack()
      else record.fail(new Error('the downstream is dead'))
    })
    client.events.subscribe(event => run.events.push(event))
    client.start().subscribe(error => run.errors.push(error))
    return run
  }
  return { broker, start }
}

describe('breaker in a client', () => {
  it('pauses the topic and holds its failures, bounded by maxInFlight, and leaves the rest in Kafka', () => {
    const clock = new Clock()
    const { broker, start } = setUp(clock)
    broker.publish('orders', values(0, 5_000))
    const run = start()
    clock.runTo(10_000)
    expect(broker.records('dlq')).toHaveLength(100)
    expect(run.seen.length).toBeGreaterThan(100)
    expect(run.seen.length).toBeLessThanOrEqual(100 + 200)
    expect(broker.committed('billing', 'orders', 0)).toBe(100n)
    expect(run.errors).toHaveLength(1)
    expect(run.errors[0]).toBeInstanceOf(FloodError)
    expect(run.errors[0]).toMatchObject({ topic: 'orders', failures: 100, within: 60_000 })
    expect((run.errors[0]!.cause as Error).message).toBe('the downstream is dead')
    expect(run.typesOf('paused', 'tripped')).toEqual(['paused', 'tripped'])
    expect(run.events.find(({ type }) => type === 'tripped')).toEqual({
      ...{ type: 'tripped', topic: 'orders', failures: 100, within: 60_000 },
    })
    expect(run.client.stalls()).toEqual([
      expect.objectContaining({ topic: 'orders', partition: 0, offset: 100n, why: 'routing' }),
    ])
  })

  it('dead-letters held records when the topic is resumed, and continues where it stopped', () => {
    const clock = new Clock()
    const { broker, start } = setUp(clock)
    broker.publish('orders', values(0, 5_000))
    const run = start()
    clock.runTo(10_000)
    const delivered = run.seen.length
    run.works = true
    run.client.resume('orders')
    clock.runTo(20_000)
    expect(run.seen).toEqual(values(0, 5_000).map(({ value }) => value))
    expect(broker.records('dlq').map(({ value }) => String(value))).toEqual(run.seen.slice(0, delivered))
    expect(broker.committed('billing', 'orders', 0)).toBe(5_000n)
    expect(run.typesOf('resumed')).toEqual(['resumed'])
    expect(run.client.stalls()).toEqual([])
  })

  it('trips again after that, with another error and event', () => {
    const clock = new Clock()
    const { broker, start } = setUp(clock)
    broker.publish('orders', values(0, 5_000))
    const run = start()
    clock.runTo(10_000)
    const held = run.seen.length - 100
    run.client.resume('orders')
    clock.runTo(20_000)
    expect(broker.records('dlq')).toHaveLength(100 + held + 100)
    expect(run.errors).toHaveLength(2)
    expect(run.typesOf('paused', 'resumed', 'tripped')).toEqual(['paused', 'tripped', 'resumed', 'paused', 'tripped'])
  })

  it('lets infrequent failures through without end', () => {
    const clock = new Clock()
    const { broker, start } = setUp(clock, { failures: 2 })
    const run = start()
    for (let at = 0; at < 50; at++) {
      broker.publish('orders', values(at, at + 1))
      clock.runTo((at + 1) * 30_000)
    }
    expect(run.errors).toEqual([])
    expect(broker.records('dlq')).toHaveLength(50)
  })

  it('counts only failures that reach it, not those that are retried', () => {
    const clock = new Clock()
    const { broker, start } = setUp(clock, { retries: 1 })
    broker.publish('orders', values(0, 100))
    const run = start()
    clock.runTo(10_000)
    expect(run.errors).toEqual([])
    expect(broker.records('dlq')).toHaveLength(100)
    broker.publish('orders', values(100, 150))
    clock.runTo(20_000)
    expect(run.errors).toHaveLength(1)
    expect(broker.records('dlq')).toHaveLength(100)
    expect(run.client.stalls()).toEqual([expect.objectContaining({ topic: 'retry', offset: 100n, why: 'routing' })])
    run.client.resume('orders')
    clock.runTo(30_000)
    expect(broker.records('dlq')).toHaveLength(150)
    expect(broker.committed('billing', 'retry', 0)).toBe(150n)
  })

  it('delays neither a graceful close nor a rebalance; held records are redelivered', async () => {
    const clock = new Clock()
    const { broker, start } = setUp(clock)
    broker.publish('orders', values(0, 150))
    const first = start()
    clock.runTo(10_000)
    const held = first.seen.length - 100
    expect(held).toBeGreaterThan(0)
    broker.revoke('billing', 'orders', 0)
    clock.runTo(10_100)
    // Given up at once, and assigned again; the topic is still paused.
    expect(first.typesOf('revoked')).toEqual(['revoked'])
    expect(first.seen).toHaveLength(100 + held)
    expect(first.client.stalls()).toMatchObject([{ topic: 'orders', offset: 100n, why: 'paused' }])
    first.client.resume('orders')
    clock.runTo(10_200)
    expect(first.seen.slice(100 + held)).toEqual(values(100, 150).map(({ value }) => value))
    expect(broker.records('dlq')).toHaveLength(150)

    broker.publish('orders', values(150, 300))
    clock.runTo(20_000)
    expect(first.errors).toHaveLength(2)
    expect(broker.records('dlq')).toHaveLength(200)
    const heldAgain = first.client.stalls()
    expect(heldAgain).toMatchObject([{ topic: 'orders', offset: 200n, why: 'routing' }])
    const closed = first.client.closeGracefully({ timeout: 30_000 })
    clock.runTo(20_100)
    expect(await closed).toMatchObject({ drained: false })
    const second = start({ works: true })
    clock.runTo(30_000)
    expect(second.seen).toEqual(values(200, 300).map(({ value }) => value))
    expect(broker.committed('billing', 'orders', 0)).toBe(300n)
  })

  it('can be resumed by a listener of its error', () => {
    const clock = new Clock()
    const { broker, start } = setUp(clock)
    const run = start()
    run.client.errors.subscribe(() => run.client.resume('orders'))
    broker.publish('orders', values(0, 1_000))
    clock.runTo(10_000)
    expect(broker.records('dlq')).toHaveLength(1_000)
    expect(broker.committed('billing', 'orders', 0)).toBe(1_000n)
    expect(run.errors.length).toBeGreaterThanOrEqual(9)
  })
})
