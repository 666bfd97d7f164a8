import { Subject } from 'rxjs'
import { type ConsumeRecord, createClient, handle } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { expect, it } from 'vitest'
import { Clock } from './clock.js'

it('has time for the last commit after it has waited for records that do not settle', () => {
  const clock = new Clock()
  const broker = memoryBroker({ scheduler: clock, partitions: 1, latency: 100 })
  const client = createClient({
    ...{ driver: broker.driver(), group: 'g', env: {}, logger: false },
    ...{ rebalanceTimeout: 1_000, commitInterval: 3_600_000 },
  })
  const records: ConsumeRecord[] = []
  client.topic('orders').subscribe(record => records.push(record))
  client.start()
  clock.runTo(10_000)
  broker.publish('orders', [{ value: 'a' }, { value: 'b' }])
  clock.runTo(20_000)
  // The first commit is immediate. The next would be in an hour.
  broker.publish('orders', { value: 'c' })
  records[0]!.ack()
  clock.runTo(30_000)
  expect(broker.committed('g', 'orders', 0)).toBe(1n)
  records[1]!.ack()
  clock.runTo(40_000)
  expect(broker.committed('g', 'orders', 0)).toBe(1n)

  broker.revoke('g', 'orders', 0)
  clock.runTo(50_000)
  expect(broker.committed('g', 'orders', 0)).toBe(2n)
  expect(records.map(({ value }) => String(value))).toEqual(['a', 'b', 'c', 'c'])
})

it('lets handle complete if a close comes during a rebalance that takes its waiting records away', () => {
  const clock = new Clock()
  const broker = memoryBroker({ scheduler: clock, partitions: 1 })
  const client = createClient({ driver: broker.driver(), group: 'g', env: {}, logger: false })
  client.topic('refunds').subscribe()
  const done = new Subject<void>()
  const begun: string[] = []
  let ended = false
  client
    .topic('orders')
    .pipe(
      handle(({ value }) => {
        begun.push(String(value))
        return done
      }),
    )
    .subscribe({
      complete: () => {
        ended = true
      },
    })
  client.start()
  clock.runTo(100)
  broker.publish('refunds', { value: 'never settled' })
  broker.publish('orders', [{ value: '0' }, { value: '1' }])
  clock.runTo(200)
  broker.revoke('g', 'orders', 0)
  clock.runTo(300)
  done.complete()
  clock.runTo(400)
  // The rebalance waits for the refund; the second order begins after it, or elsewhere.
  expect(begun).toEqual(['0'])
  client.close()
  clock.runTo(60_000)
  expect(client.currentState).toBe('closed')
  expect({ begun, ended }).toEqual({ begun: ['0'], ended: true })
})
