import { describe, expect, it } from 'vitest'
import { brokers, Reading } from '../../fake-broker/reading'

describe('a driver on fake brokers', () => {
  it('joins, reads existing and new records, and commits', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0, 0)
    kafka.log('orders').append('a', 'b')
    const reading = await Reading.start(test, kafka, ['orders'])
    await reading.until(() => reading.has('a', 'b'))
    kafka.log('orders', 1).append('c')
    await reading.until(() => reading.has('c'))
    await reading.commit('orders-0', 2)
    expect(kafka.committed.get('orders-0')?.offset).toBe(2)
    expect(reading.troubles).toEqual([])
    expect(reading.story).toEqual(['assigned'])
  })
})
