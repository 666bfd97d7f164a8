import { filter, Subject } from 'rxjs'
import { createClient, type Driver, type DriverEvent } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { systemClock } from '../../src/clock'
import { Contact } from '../../src/drivers/kafka/membership/contact'
import { Collected } from '../contract/collected'

/** A driver on its own broker, whose assignments are in doubt when the test says so. */
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

describe('a client whose group may have continued without it', () => {
  it('delivers at most 64 records once it is in doubt', async () => {
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

  it('delivers at most 64 records that an ended pipeline left, once it is in doubt', async () => {
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

  it('delivers no waiting records until the group confirms it', async () => {
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

  /** A member that sends heartbeats. An answer takes `underWay` ms, which a suspended machine does not count. */
  function member() {
    const told: string[] = []
    const contact = new Contact(systemClock, 6_000, () => told.push('confirmed'))
    const heartbeat = (underWay = 0) => {
      const sent = contact.now()
      vi.setSystemTime(Date.now() + underWay)
      contact.answered(sent)
    }
    return { told, contact, heartbeat }
  }

  it('is in doubt after a session without an answer, until the next answer', () => {
    const { told, contact, heartbeat } = member()
    vi.setSystemTime(Date.now() + 6_000)
    expect(contact.doubtful).toBe(false)
    heartbeat()
    expect(told).toEqual([])
    // The clock was set back by an hour and has been read since, so the time counts from there.
    vi.setSystemTime(Date.now() - 3_600_000)
    heartbeat()

    vi.setSystemTime(Date.now() + 6_001)
    expect(contact.doubtful).toBe(true)
    heartbeat()
    expect(contact.doubtful).toBe(false)
    expect(told).toEqual(['confirmed'])
  })

  it('counts an answer from the time of its request, because it may be older than the freeze', () => {
    const { told, contact, heartbeat } = member()
    heartbeat(6_001)
    expect(contact.doubtful).toBe(true)
    expect(told).toEqual([])
    heartbeat()
    expect(contact.doubtful).toBe(false)
    expect(told).toEqual(['confirmed'])
  })

  it('counts elapsed time, even if the wall clock was set back meanwhile', () => {
    const { contact, heartbeat } = member()
    vi.advanceTimersByTime(6_001)
    vi.setSystemTime(Date.now() - 3_600_000)
    expect(contact.doubtful).toBe(true)
    heartbeat()
    expect(contact.doubtful).toBe(false)
  })

  it('never takes an earlier request for a later one, in whatever order two connections answer', () => {
    const { contact } = member()
    const first = contact.now()
    vi.advanceTimersByTime(5_000)
    const second = contact.now()
    contact.answered(second)
    contact.answered(first)
    vi.advanceTimersByTime(5_000)
    expect(contact.doubtful).toBe(false)
    vi.advanceTimersByTime(1_001)
    expect(contact.doubtful).toBe(true)
  })
})
