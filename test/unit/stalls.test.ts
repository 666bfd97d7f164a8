import { CommitError, createClient } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { expect, it } from 'vitest'
import { Clock } from './clock.js'

it('says since when what is completed waits for its commit', () => {
  const clock = new Clock()
  const broker = memoryBroker({ scheduler: clock, partitions: 1 })
  const client = createClient({ driver: broker.driver(), group: 'g', env: {}, logger: false })
  client.topic('orders').subscribe(record => record.ack())
  client.start()
  clock.runTo(1_000)
  broker.publish('orders', [{ value: '0' }])
  clock.runTo(2_000)
  expect(client.stalls()).toEqual([])

  const refusals = 5
  for (let at = 0; at < refusals; at++) broker.failNext('commit', new CommitError('not now', { retriable: true }))
  broker.publish('orders', [{ value: '1' }])
  clock.runTo(2_200)
  expect(client.stalls()).toMatchObject([{ topic: 'orders', partition: 0, offset: 1n, why: 'committing' }])
  const { since } = client.stalls()[0]!
  expect(since).toBeGreaterThanOrEqual(2_000)
  expect(since).toBeLessThanOrEqual(2_010)

  clock.runTo(20_000)
  expect(client.stalls()).toEqual([])
})
