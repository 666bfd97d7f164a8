// Node's timers fire at once beyond 2^31 - 1 ms, and warn.

import { type ConsumeRecord, createClient } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { expect, it } from 'vitest'
import { Pace } from '../../src/client/pace.js'
import { Clock } from './clock.js'

const passing = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

it('a rebalance waits for records with the longest rebalanceTimeout too', async () => {
  const broker = memoryBroker({ partitions: 2 })
  const start = () => {
    const client = createClient({
      ...{ driver: broker.driver(), group: 'billing', rebalanceTimeout: 2 ** 31 - 1, logger: false },
    })
    const records: ConsumeRecord[] = []
    client.topic('orders').subscribe(record => records.push(record))
    client.start().subscribe()
    return { client, records }
  }
  broker.publish('orders', [
    { partition: 0, value: 'a' },
    { partition: 1, value: 'b' },
  ])
  const first = start()
  await expect.poll(() => first.records.length).toBe(2)
  const second = start()
  await passing(100)
  expect(first.records.map(record => record.ack())).toEqual([true, true])
  await Promise.all([first.client.close(), second.client.close()])
})

it('the turns of a very small rate are waited for by timers that Node has', () => {
  const clock = new Clock()
  const delays: (number | undefined)[] = []
  const scheduler = {
    now: () => clock.now(),
    schedule: (...[work, delay, state]: Parameters<typeof clock.schedule>) => {
      delays.push(delay)
      return clock.schedule(work, delay, state)
    },
  } as typeof clock
  let turns = 0
  const pace = new Pace(1e-9, { scheduler, monotonic: () => clock.now(), wall: () => clock.now() }, () => {
    if (!pace.isOpen) return
    turns++
    pace.end()
  })
  pace.take()
  expect(pace.isOpen).toBe(false)
  clock.runTo(1e12 - 1)
  expect(turns).toBe(0)
  clock.runTo(1e12)
  expect(turns).toBe(1)
  expect(Math.max(...delays.map(delay => delay ?? 0))).toBeLessThan(2 ** 31)
})
