import { asyncScheduler, bufferTime, filter, firstValueFrom, pipe, retry, tap } from 'rxjs'
import { type ConsumeRecord, createClient, discard, handle, redeliver, type TopicOptions } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it, vi } from 'vitest'
import { Clock } from './clock.js'

function setUp(options: TopicOptions, records: number, key: string | null = null) {
  const clock = new Clock()
  const broker = memoryBroker({ scheduler: clock })
  broker.publish(
    'orders',
    Array.from({ length: records }, (_, at) => ({ key, value: String(at) })),
  )
  const client = createClient({ driver: broker.driver(), group: 'billing', logger: false })
  return { clock, broker, client, orders: client.topic('orders', options) }
}

/** Whether a record is delivered within a call that settles or resumes. */
class Watch {
  within = false
  readonly deliveredWithin: string[] = []

  readonly see = (record: ConsumeRecord) => {
    if (this.within) this.deliveredWithin.push(String(record.value))
  }

  do(act: () => void): void {
    this.within = true
    act()
    this.within = false
  }
}

describe('delivery within calls of user code', () => {
  it('loses nothing with bufferTime, which drops records that reach it while it emits', () => {
    const { clock, broker, orders, client } = setUp({ maxInFlight: 2 }, 20)
    orders.pipe(bufferTime(5, clock)).subscribe(records => {
      for (const record of records) record.ack()
    })
    client.start()
    clock.runTo(1_000)
    expect(broker.lag('billing', 'orders')).toBe(0)
  })

  it('loses nothing with bufferTime when one partition makes room in another', () => {
    const clock = new Clock()
    const broker = memoryBroker({ scheduler: clock, partitions: 2 })
    const client = createClient({ driver: broker.driver(), group: 'billing', logger: false })
    client
      .topic('orders', { maxInFlight: 1 })
      .pipe(bufferTime(5, null, 2, clock))
      .subscribe(records => {
        for (const record of records) record.ack()
      })
    broker.publish(
      'orders',
      Array.from({ length: 20 }, (_, at) => ({ partition: at % 2, value: String(at) })),
    )
    client.start()
    clock.runTo(1_000)
    expect(broker.lag('billing', 'orders')).toBe(0)
  })

  it.each<[string, TopicOptions, string | null]>([
    ['makes room', { maxInFlight: 1 }, null],
    ['lets the next of a key out', { keyFence: { afterDeadLetter: 'continue' } }, 'key'],
  ])('does not happen within an ack that %s, but at the same time', (_, options, key) => {
    const { clock, orders, client } = setUp(options, 5, key)
    const watch = new Watch()
    const times: number[] = []
    orders.subscribe(record => {
      watch.see(record)
      times.push(clock.now())
      clock.schedule(() => watch.do(() => record.ack()), 10)
    })
    client.start()
    clock.runTo(1_000)
    expect(times).toEqual([0, 10, 20, 30, 40])
    expect(watch.deliveredWithin).toEqual([])
  })

  it('does not happen within a fail() whose record is redelivered', () => {
    const { clock, broker, client } = setUp({}, 5)
    const watch = new Watch()
    const onFail = pipe(redeliver(client, { attempts: 2 }), discard())
    client.topic('refunds', { maxInFlight: 1, onFail }).subscribe(record => {
      watch.see(record)
      clock.schedule(() => watch.do(() => record.fail('no')), 10)
    })
    broker.publish('refunds', [{ value: 'a' }, { value: 'b' }, { value: 'c' }])
    client.start()
    clock.runTo(1_000)
    expect(broker.lag('billing', 'refunds')).toBe(0)
    expect(watch.deliveredWithin).toEqual([])
  })

  it('does not happen within resume()', () => {
    const { clock, orders, client } = setUp({}, 5)
    const watch = new Watch()
    const delivered: string[] = []
    orders.subscribe(record => {
      watch.see(record)
      delivered.push(String(record.value))
    })
    client.pause('orders')
    client.start()
    clock.runTo(10)
    watch.do(() => client.resume('orders'))
    expect(delivered).toEqual([])
    clock.runTo(10)
    expect(delivered).toEqual(['0', '1', '2', '3', '4'])
    expect(watch.deliveredWithin).toEqual([])
  })

  it('uses one turn for many settlements', () => {
    const { clock, orders, client } = setUp({ maxInFlight: 100 }, 1_000)
    const all: ConsumeRecord[] = []
    orders.subscribe(record => all.push(record))
    client.start()
    clock.runTo(10)
    const schedule = vi.spyOn(clock, 'schedule')
    for (const record of all.splice(0)) record.ack()
    // One of them is for the commit.
    expect(schedule).toHaveBeenCalledTimes(2)
    clock.runTo(10)
    expect(all).toHaveLength(100)
  })

  it('does not grow the stack if a pipeline fails repeatedly and retry() resubscribes synchronously', () => {
    const clock = new Clock()
    const broker = memoryBroker({ scheduler: clock, partitions: 2 })
    const client = createClient({ driver: broker.driver(), group: 'billing', logger: false })
    let calls = 0
    const errors: unknown[] = []
    client
      .topic('orders')
      .pipe(
        tap(record => {
          if (++calls < 20_000) throw new Error('declined')
          record.ack()
        }),
        retry(),
      )
      .subscribe({ error: error => errors.push(error) })
    broker.publish('orders', [
      { partition: 0, value: 'a' },
      { partition: 1, value: 'b' },
    ])
    client.start()
    clock.runTo(1_000)
    expect(errors).toEqual([])
    expect(broker.lag('billing', 'orders')).toBe(0)
  })

  it('continues after an unsubscribe and a new subscribe before the turn', () => {
    const { clock, orders, client } = setUp({ maxInFlight: 2 }, 6)
    const delivered: string[] = []
    const records: ConsumeRecord[] = []
    const subscribe = () =>
      orders.subscribe(record => {
        delivered.push(String(record.value))
        records.push(record)
      })
    const first = subscribe()
    client.start()
    clock.runTo(10)
    records[0]!.ack()
    first.unsubscribe()
    subscribe()
    clock.runTo(20)
    expect(delivered).toEqual(['0', '1', '1', '2'])
  })

  it('delivers nothing in a turn after a close has begun', async () => {
    const { clock, orders, client } = setUp({ maxInFlight: 1 }, 6)
    const records: ConsumeRecord[] = []
    orders.subscribe(record => records.push(record))
    client.start()
    clock.runTo(10)
    records[0]!.ack()
    const closed = client.closeGracefully()
    clock.runTo(1_000)
    expect(records).toHaveLength(1)
    expect(await closed).toEqual({ drained: true, unsettled: 0, left: [] })
  })

  it('uses no timer in real time, where a millisecond per record would slow down a small maxInFlight', async () => {
    const broker = memoryBroker()
    broker.publish(
      'orders',
      Array.from({ length: 500 }, (_, at) => ({ value: String(at) })),
    )
    const client = createClient({ driver: broker.driver(), group: 'billing', logger: false })
    let delivered = 0
    const all = firstValueFrom(
      client.topic('orders', { maxInFlight: 1 }).pipe(
        handle(async () => {
          delivered++
        }),
        filter(() => delivered === 500),
      ),
    )
    const schedule = vi.spyOn(asyncScheduler, 'schedule')
    client.start()
    await all
    expect(schedule.mock.calls.length).toBeLessThan(50)
    schedule.mockRestore()
    await client.close()
  })
})
