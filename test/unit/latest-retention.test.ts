import { setTimeout as sleep } from 'node:timers/promises'
import { tap } from 'rxjs'
import { type ConsumeRecord, createClient, latest } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { collectGarbage } from '../collect-garbage.js'
import { Clock } from './clock.js'

describe('records that wait in latest', () => {
  it.each([
    ['is revoked', 'revoked', 60_000],
    ['is revoked and the timer ends within the rebalance', 'revoked', 150],
    ['is lost', 'lost', 60_000],
  ])('are not kept when their partition %s', async (_, how, ms) => {
    const clock = new Clock()
    const broker = memoryBroker({ scheduler: clock, partitions: 2 })
    const member = () => {
      const client = createClient({ driver: broker.driver(), group: 'g', env: {}, logger: false })
      return { client, orders: client.topic('orders') }
    }
    const one = member()
    const seen: WeakRef<ConsumeRecord>[] = []
    const keep = tap((record: ConsumeRecord) => seen.push(new WeakRef(record)))
    one.orders.pipe(keep, latest(ms, { scheduler: clock })).subscribe(record => record.ack())
    one.client.start()
    clock.runTo(100)
    broker.publish(
      'orders',
      Array.from({ length: 20 }, (_, at) => ({ key: `key-${at}`, value: 'v', partition: at % 2 })),
    )
    clock.runTo(200)
    if (how === 'lost') broker.lose('g', 'orders', 1)
    else {
      const two = member()
      two.orders.subscribe(record => record.ack())
      two.client.start()
    }
    clock.runTo(200_000)
    expect(broker.lag('g', 'orders')).toBe(0)
    // A `WeakRef` keeps its target until the turn in which it was made has ended.
    await sleep(5)
    collectGarbage()
    expect(seen.filter(ref => ref.deref() !== undefined)).toEqual([])
  })
})
