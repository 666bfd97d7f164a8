import * as fc from 'fast-check'
import { pino } from 'pino'
import { asapScheduler, asyncScheduler, NEVER, Observable, pipe, Subject, throwError, VirtualTimeScheduler } from 'rxjs'
import { TestScheduler } from 'rxjs/testing'
import {
  breaker,
  createClient,
  deadLetter,
  type FloodError,
  fixed,
  halt,
  handle,
  PublishError,
  retryTopic,
} from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { clockOf, systemClock } from '../../src/clock.js'
import type { ConsumeRequest, DriverEvent } from '../../src/driver.js'
import type { Cluster } from '../../src/drivers/kafka/cluster/cluster.js'
import { Consumption } from '../../src/drivers/kafka/consumption.js'
import { Assignment } from '../../src/drivers/kafka/fetching/assignment.js'
import { ZERO_UUID } from '../../src/protocol/wire/uuid.js'

const hour = 3_600_000

beforeEach(() => {
  vi.useFakeTimers({ now: Date.UTC(2026, 10, 28) })
})
afterEach(() => {
  vi.useRealTimers()
})

/** Sets the wall clock. Timers and the monotonic clock continue. */
function setWallClock(by: number): void {
  vi.setSystemTime(Date.now() + by)
}

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)

function setUp(options: { readonly batch?: boolean; readonly commitInterval?: number } = {}) {
  const { batch = false, commitInterval = 1_000 } = options
  const broker = memoryBroker({ maxBatchRecords: 1 })
  const client = createClient({
    driver: broker.driver(),
    group: 'billing',
    retryTopic: 'retry',
    dlqTopic: 'dead',
    env: {},
    logger: false,
    commitInterval,
  })
  const began = performance.now()
  const handled: { readonly value: string; readonly at: number }[] = []
  client.topic('orders', { batch, retries: 1, backoff: fixed(1_000) }).subscribe(record => {
    handled.push({ value: String(record.value), at: performance.now() - began })
    if (String(record.value).startsWith('fails') && record.attempt === 1) record.fail(new Error('once'))
    else record.ack()
  })
  client.start()
  return { broker, client, handled }
}

describe('when the wall clock is set', () => {
  for (const by of [-hour, hour]) {
    for (const batch of [false, true]) {
      it(`commits ${batch ? 'and delivers behind the strict gate ' : ''}as before, set by ${by / hour} h`, async () => {
        const { broker, client, handled } = setUp({ batch })
        for (const value of ['1', '2', '3']) broker.publish('orders', { value })
        await pass(3_500)
        setWallClock(by)
        for (const value of ['4', '5', '6']) broker.publish('orders', { value })
        await pass(4_000)
        expect(handled.map(({ value }) => value)).toEqual(['1', '2', '3', '4', '5', '6'])
        expect(broker.committed('billing', 'orders', 0)).toBe(6n)
        client.close()
      })
    }

    it(`delivers every delayed retry after its own delay, even behind others, set by ${by / hour} h`, async () => {
      const { broker, client, handled } = setUp()
      broker.publish('orders', { value: 'fails a' })
      await pass(400)
      broker.publish('orders', { value: 'fails b' })
      await pass(100)
      setWallClock(by)
      await pass(2_000)
      const [a, b, againA, againB] = handled
      expect(handled.map(({ value }) => value)).toEqual(['fails a', 'fails b', 'fails a', 'fails b'])
      expect(againA!.at - a!.at).toBeGreaterThanOrEqual(1_000)
      expect(againA!.at - a!.at).toBeLessThan(1_100)
      expect(againB!.at - b!.at).toBeGreaterThanOrEqual(1_000)
      expect(againB!.at - b!.at).toBeLessThan(1_100)
      client.close()
    })
  }

  it('counts the failures of a breaker by elapsed time', async () => {
    const broker = memoryBroker()
    const client = createClient({ driver: broker.driver(), group: 'g', dlqTopic: 'dead', env: {}, logger: false })
    client
      .topic('orders', { onFail: pipe(breaker(client, { failures: 2, within: 1_000 }), deadLetter(client)) })
      .pipe(handle(() => throwError(() => new Error('down'))))
      .subscribe()
    const floods: FloodError[] = []
    client.events.subscribe(event => {
      if (event.type === 'tripped') floods.push(event as never)
    })
    client.start()
    for (const value of ['1', '2', '3']) {
      broker.publish('orders', { value })
      await pass(1_500)
      setWallClock(-1_500)
    }
    expect(floods).toEqual([])
    expect(broker.records('dead')).toHaveLength(3)

    // The breaker counts failures by elapsed time, whatever the wall clock shows.
    for (const value of ['4', '5', '6']) {
      broker.publish('orders', { value })
      await pass(10)
      setWallClock(hour)
    }
    expect(floods).toHaveLength(1)
    client.close()
  })

  it('reports the refusals of copies once a second, as before', async () => {
    const broker = memoryBroker()
    const client = createClient({ driver: broker.driver(), group: 'g', retryTopic: 'retry', env: {}, logger: false })
    client
      .topic('orders', { onFail: pipe(retryTopic(client, { retries: 1 }), halt(client)) })
      .pipe(handle(() => throwError(() => new Error('down'))))
      .subscribe()
    const refused: number[] = []
    const began = performance.now()
    client.start().subscribe(error => {
      if (error instanceof PublishError) refused.push(performance.now() - began)
    })
    for (let at = 0; at < 40; at++) broker.failNext('produce', new PublishError('not now', { retriable: true }))
    broker.publish('orders', { value: '1' })
    await pass(1_500)
    setWallClock(-hour)
    await pass(20_000)
    expect(refused.length).toBeGreaterThan(4)
    for (const [at, time] of refused.slice(1).entries()) {
      expect(time - refused[at]!).toBeGreaterThanOrEqual(1_000)
      // The publisher tries again after at most 5 s, and reports each attempt.
      expect(time - refused[at]!).toBeLessThan(6_000)
    }
    client.close()
  })

  it('reports a stall after its time, with a date by the current wall clock', async () => {
    const broker = memoryBroker()
    const client = createClient({ driver: broker.driver(), group: 'g', env: {}, logger: false, stallAfter: 10_000 })
    client.topic('orders').subscribe()
    const stalled: { at: number; since: number }[] = []
    const began = performance.now()
    client.events.subscribe(event => {
      if (event.type === 'stalled') stalled.push({ at: performance.now() - began, since: event.since })
    })
    client.start()
    broker.publish('orders', { value: '1' })
    await pass(5_000)
    expect(client.stalls()[0]!.since).toBeGreaterThanOrEqual(Date.now() - 5_000)
    setWallClock(-hour)
    await pass(6_000)
    expect(stalled).toHaveLength(1)
    expect(stalled[0]!.at).toBeGreaterThanOrEqual(10_000)
    expect(stalled[0]!.at).toBeLessThan(10_100)
    expect(Date.now() - stalled[0]!.since).toBeGreaterThanOrEqual(10_990)
    expect(Date.now() - stalled[0]!.since).toBeLessThanOrEqual(11_000)
    client.close()
  })

  it('loses nothing, holds nothing and delivers nothing early, whenever and however often it is set', async () => {
    const jump = fc.record({
      after: fc.integer({ min: 0, max: 1_500 }),
      by: fc.integer({ min: -48 * hour, max: 48 * hour }),
    })
    await fc.assert(
      fc.asyncProperty(fc.boolean(), fc.array(jump, { minLength: 1, maxLength: 8 }), async (batch, jumps) => {
        const { broker, client, handled } = setUp({ batch, commitInterval: 500 })
        let count = 0
        for (const { after, by } of jumps) {
          broker.publish('orders', { value: `fails ${count++}` })
          broker.publish('orders', { value: `${count++}` })
          await pass(after)
          setWallClock(by)
        }
        // The strict gate delivers one record per commit, so 16 records take 8 s.
        await pass(15_000)
        expect(broker.lag('billing', 'orders')).toBe(0)
        expect(broker.lag('billing', 'retry')).toBe(0)
        expect(new Set(handled.map(({ value }) => value)).size).toBe(count)
        for (const first of handled.filter(({ value }) => value.startsWith('fails'))) {
          const again = handled.findLast(({ value }) => value === first.value)!
          if (again === first) continue
          // A difference of less than 20 ms forward does not count as a step, because NTP adjusts the clock by as much.
          expect(again.at - first.at).toBeGreaterThan(1_000 - 20)
          expect(again.at - first.at).toBeLessThan(1_600)
        }
        client.close()
        await pass(0)
      }),
      { numRuns: 60 },
    )
  }, 30_000)
})

describe('the driver, when the wall clock is set', () => {
  const newAssignment = () =>
    new Assignment('orders', 0, ZERO_UUID, { offset: 0, leaderEpoch: -1, metadata: '' }, systemClock)

  it('delays a partition that a broker refused for the right time', () => {
    for (const by of [-hour, hour]) {
      const assignment = newAssignment()
      expect(assignment.heldFor).toBe(0)
      assignment.hold(500)
      setWallClock(by)
      vi.advanceTimersByTime(499)
      expect(assignment.heldFor).toBe(1)
      vi.advanceTimersByTime(1)
      expect(assignment.heldFor).toBe(0)
      assignment.hold(500)
      assignment.jump(7)
      expect(assignment.heldFor).toBe(0)
    }
  })

  it('delays a rebalance until it is released, at most for its time-out', async () => {
    for (const by of [-hour, hour]) {
      const { consumption, revoking } = await consuming({ rebalanceTimeout: 10_000 })
      const began = performance.now()
      let ended: number | undefined
      const hold = (until: Observable<unknown>) => {
        revoking.next = until
        return consumption.givingUp([{ topic: 'orders', partition: 0 }]).then(() => {
          ended = performance.now() - began
        })
      }
      const timedOut = hold(NEVER)
      await pass(1_000)
      setWallClock(by)
      await pass(8_999)
      expect(ended).toBeUndefined()
      await pass(1)
      await timedOut
      expect(ended).toBe(10_000)

      const released = new Subject<void>()
      ended = undefined
      const dispose = hold(released)
      setWallClock(by)
      await pass(4_000)
      expect(ended).toBeUndefined()
      released.complete()
      await dispose
      expect(ended).toBe(14_000)
      consumption.abandon()
    }
  })
})

/** Consumes orders-0 from a cluster that answers where the partition begins, and nothing else. */
async function consuming(options: Partial<ConsumeRequest>) {
  const topic = { name: 'orders', id: ZERO_UUID, partitions: [{ leader: 1, leaderEpoch: 0 }], error: undefined }
  const partitions = [{ partitionIndex: 0, errorCode: 0, offset: 0, leaderEpoch: 0 }]
  const cluster = {
    watch: () => () => {},
    onChange: () => () => {},
    topic: () => topic,
    leaderOf: () => 1,
    reach: () => Promise.resolve(),
    ask: (_: number, lane: string) =>
      lane === 'control' ? Promise.resolve({ topics: [{ name: 'orders', partitions }] }) : new Promise(() => {}),
  } as unknown as Cluster
  const request = { topics: ['orders'], startFrom: 'earliest', ...options } as ConsumeRequest
  const revoking: { next: Observable<unknown> | undefined } = { next: undefined }
  const events: string[] = []
  const host = { cluster, clock: systemClock, codecs: undefined, logger: pino({ enabled: false }) }
  let consumption!: Consumption
  new Observable<DriverEvent>(subscriber => {
    consumption = new Consumption(host, request, subscriber)
  }).subscribe(event => {
    events.push(event.type)
    if (event.type === 'revoking') event.hold(revoking.next!)
  })
  consumption.assigned([{ topic: 'orders', partition: 0 }])
  await pass(1)
  expect(events).toEqual(['assigned'])
  return { consumption, revoking }
}

describe('clockOf', () => {
  it('measures by the monotonic clock in real time, whichever of the real schedulers a driver has', () => {
    for (const source of [{}, { scheduler: asyncScheduler }, { scheduler: asapScheduler }]) {
      const clock = clockOf(source)
      const [wall, monotonic] = [clock.wall(), clock.monotonic()]
      expect(wall).toBe(Date.now())
      setWallClock(-hour)
      vi.advanceTimersByTime(250)
      expect(clock.wall() - wall).toBe(250 - hour)
      expect(clock.monotonic() - monotonic).toBe(250)
    }
  })

  it('measures by the scheduler in virtual time', () => {
    const scheduler = new VirtualTimeScheduler()
    const clock = clockOf({ scheduler })
    expect(clock.scheduler).toBe(scheduler)
    scheduler.frame = 42
    expect([clock.monotonic(), clock.wall()]).toEqual([42, 42])
  })

  it('uses the wall clock of the driver if it has one', () => {
    const clock = clockOf({ scheduler: new VirtualTimeScheduler(), wallTime: () => 7_000 })
    expect([clock.monotonic(), clock.wall()]).toEqual([0, 7_000])
  })

  it('is virtual for clients created within TestScheduler.run, by its frames', () => {
    const scheduler = new TestScheduler(() => {})
    scheduler.run(() => {
      const clock = clockOf({})
      scheduler.frame = 30
      expect([clock.monotonic(), clock.wall()]).toEqual([30, 30])
    })
  })
})
