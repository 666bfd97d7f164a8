import { filter, Subject } from 'rxjs'
import { createClient, type Driver, type DriverEvent } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Coordinator } from '../../src/drivers/kafkajs/coordinator'
import { GroupSession } from '../../src/drivers/kafkajs/group-session'
import type { Broker, Cluster } from '../../src/drivers/kafkajs/kafkajs-internals'
import { Collected } from '../contract/collected'

/** A driver on a broker of its own, in doubt when told to be. */
function doubting() {
  const broker = memoryBroker({ partitions: 1 })
  const inner = broker.driver()
  const told = new Subject<DriverEvent>()
  const doubt = { doubtful: false }
  const driver: Driver = new Proxy(inner, {
    get(target, name) {
      if (name === 'doubtful') return doubt.doubtful
      const value = Reflect.get(target, name)
      if (name !== 'consume') return typeof value === 'function' ? value.bind(target) : value
      return (request: Parameters<Driver['consume']>[0]) => {
        inner.consume(request).subscribe(told)
        return told
      }
    },
  })
  return { broker, driver, told, doubt }
}

describe('a client whose group may have gone on without it', () => {
  it('hands out no more than 64 records once the doubt has begun', async () => {
    const { broker, driver, told, doubt } = doubting()
    const client = createClient({ env: {}, driver, group: 'g', logger: false })
    let seen = 0
    client.topic('t').subscribe(() => {
      if (++seen === 10) doubt.doubtful = true
    })
    broker.publish(
      't',
      Array.from({ length: 500 }, (_, at) => ({ value: `${at}` })),
    )
    const assigned = new Collected(client.events.pipe(filter(({ type }) => type === 'assigned')))
    client.start()
    await assigned.count(1)
    while (seen < 10) await new Promise(setImmediate)
    expect(seen).toBeLessThanOrEqual(10 + 64)

    doubt.doubtful = false
    told.next({ type: 'confirmed' })
    expect(seen).toBe(500)
    await client.close()
  })

  it('hands out no more than 64 records of what an ended pipeline left, once the doubt has begun', async () => {
    const { broker, driver, told, doubt } = doubting()
    const client = createClient({ env: {}, driver, group: 'g', logger: false })
    const records = client.topic('t')
    const first = new Collected(records)
    broker.publish(
      't',
      Array.from({ length: 500 }, (_, at) => ({ value: `${at}` })),
    )
    client.start()
    await first.count(500)
    first.unsubscribe()
    let seen = 0
    records.subscribe(() => {
      if (++seen === 10) doubt.doubtful = true
    })
    expect(seen).toBeGreaterThanOrEqual(10)
    expect(seen).toBeLessThanOrEqual(10 + 64)

    doubt.doubtful = false
    told.next({ type: 'confirmed' })
    expect(seen).toBe(500)
    await client.close()
  })

  it('hands out nothing of what waits in it, until the group confirms it', async () => {
    const { broker, driver, told, doubt } = doubting()
    const client = createClient({ env: {}, driver, group: 'g', logger: false, commitInterval: 1 })
    const seen = new Collected(client.topic('t', { maxInFlight: 1 }))
    client.start()
    broker.publish('t', [{ value: 'a' }, { value: 'b' }, { value: 'c' }])
    await seen.count(1)

    doubt.doubtful = true
    const settled = new Collected(client.events.pipe(filter(({ type }) => type === 'committed')))
    expect(seen.values[0]!.ack()).toBe(true)
    await settled.count(1)
    expect(seen.values).toHaveLength(1)

    doubt.doubtful = false
    told.next({ type: 'confirmed' })
    await seen.count(2)
    expect(String(seen.values[1]!.value)).toBe('b')
    await client.close()
  })
})

describe('a member of a group', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('is in doubt when nothing was heard for longer than a session, and not any more when it is', async () => {
    let underWay = 0
    const heartbeat = async () => void vi.setSystemTime(Date.now() + underWay)
    const broker = { nodeId: 1, heartbeat } as unknown as Broker
    const cluster = { brokerPool: { findBroker: async () => broker } } as unknown as Cluster
    const coordinator = new Coordinator('g', cluster, async () => broker)
    coordinator.is(broker)
    const told: string[] = []
    const session = new GroupSession('g', 6_000, coordinator, {
      answered: () => {},
      unanswered: () => told.push('unanswered'),
      confirmed: () => told.push('confirmed'),
      kicked: () => told.push('kicked'),
    })
    session.redirectHeartbeats(broker)
    session.begin({ memberId: 'm', generation: 1 })
    session.joining = false
    vi.setSystemTime(Date.now() + 6_000)
    expect(session.doubtful).toBe(false)
    await session.heartbeat()
    expect(told).toEqual([])
    // Set back by an hour, and told of since: it counts from there.
    vi.setSystemTime(Date.now() - 3_600_000)
    await session.heartbeat()

    vi.setSystemTime(Date.now() + 6_001)
    expect(session.doubtful).toBe(true)
    await session.heartbeat()
    expect(session.doubtful).toBe(false)
    expect(told).toEqual(['confirmed'])

    // Frozen while the answer was on its way: it says how things were before.
    underWay = 6_001
    await session.heartbeat()
    expect(session.doubtful).toBe(true)
    expect(told).toEqual(['confirmed'])
    underWay = 0
    await session.heartbeat()
    expect(session.doubtful).toBe(false)
    expect(told).toEqual(['confirmed', 'confirmed'])

    // Time that passed counts whatever the wall clock says: set back meanwhile, it hides nothing.
    vi.advanceTimersByTime(6_001)
    vi.setSystemTime(Date.now() - 3_600_000)
    expect(session.doubtful).toBe(true)
    await session.heartbeat()
    expect(session.doubtful).toBe(false)
  })
})
