import { NEVER, Subject, takeUntil } from 'rxjs'
import { createClient, handle } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { Clock } from './clock.js'

describe('a handle whose source has completed', () => {
  it('does not suspend its topic for the next subscriber, although its calls never end', () => {
    const clock = new Clock()
    const broker = memoryBroker({ scheduler: clock, partitions: 1 })
    broker.publish(
      'orders',
      Array.from({ length: 3_000 }, (_, at) => ({ value: String(at) })),
    )
    const client = createClient({ driver: broker.driver(), group: 'g', env: {}, logger: false })
    const orders = client.topic('orders')
    const stop = new Subject<void>()
    orders
      .pipe(
        takeUntil(stop),
        handle(() => NEVER, { order: 'none', concurrency: 4 }),
      )
      .subscribe()
    client.start()
    clock.runTo(1_000)
    stop.next()
    orders.pipe(handle(() => undefined, { order: 'none' })).subscribe()
    clock.runTo(2_000)
    expect(broker.lag('g', 'orders')).toBe(0)
  })
})
