import { setTimeout as sleep } from 'node:timers/promises'
import { tap, timer } from 'rxjs'
import { type ConsumeRecord, createClient, fork, handle } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { collectGarbage } from '../collect-garbage.js'
import { Clock } from './clock.js'

describe('records that were forked', () => {
  it('are not kept when their partition was revoked before their handlers ended', async () => {
    const clock = new Clock()
    const broker = memoryBroker({ scheduler: clock, partitions: 2 })
    const member = () => {
      const client = createClient({
        ...{ driver: broker.driver(), group: 'g', env: {}, logger: false },
        rebalanceTimeout: 1_000,
      })
      return { client, orders: client.topic('orders') }
    }
    const one = member()
    const seen: WeakRef<ConsumeRecord>[] = []
    const work = handle<ConsumeRecord, unknown>(() => timer(5_000, clock), { order: 'none' })
    const see = tap((record: ConsumeRecord) => seen.push(new WeakRef(record)))
    one.orders.pipe(see, fork(work, work)).subscribe()
    one.client.start()
    clock.runTo(100)
    broker.publish(
      'orders',
      Array.from({ length: 20 }, (_, at) => ({ value: 'v', partition: at % 2 })),
    )
    clock.runTo(200)
    const two = member()
    two.orders.subscribe(record => record.ack())
    two.client.start()
    clock.runTo(20_000)
    expect(broker.lag('g', 'orders')).toBe(0)
    // A `WeakRef` keeps its target until the turn in which it was made has ended.
    await sleep(5)
    collectGarbage()
    expect(seen.filter(ref => ref.deref() !== undefined)).toEqual([])
  })
})
