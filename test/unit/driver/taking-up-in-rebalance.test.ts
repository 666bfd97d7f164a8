import { NEVER } from 'rxjs'
import { expect, it, vi } from 'vitest'
import { brokers, Reading } from '../../fake-broker/reading'

it('reads nothing of a topic that is created again during a rebalance before the group has decided who reads it', async test => {
  const kafka = await brokers(test)
  kafka.create('orders', 0)
  kafka.log('orders').append('a')
  const reading = await Reading.start(test, kafka, ['orders'], { metadataMaxAge: 50 })
  await reading.until(() => reading.has('a'))
  reading.onRevoking = ({ hold }) => {
    hold(NEVER)
    kafka.create('orders', 0)
    kafka.log('orders').append('b')
  }
  const joins = kafka.count('JoinGroup')
  let join = () => {}
  kafka.on('JoinGroup', () => ({ until: new Promise<void>(resolve => (join = resolve)) }))
  kafka.classic.rebalance()
  await vi.waitUntil(() => kafka.count('JoinGroup') > joins)
  // Positions would be looked up meanwhile.
  await new Promise(resolve => setTimeout(resolve, 300))
  expect(reading.records).toEqual(['orders-0@0 a'])
  expect(reading.story.filter(type => type === 'assigned')).toHaveLength(1)
  join()
  await reading.until(() => reading.has('b'))
  expect(reading.records).toEqual(['orders-0@0 a', 'orders-0@0 b'])
})
