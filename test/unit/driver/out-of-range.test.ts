import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { errorCode } from '../../../src/protocol/errors'
import { refusing } from '../../fake-broker/asked'
import { brokers, Reading } from '../../fake-broker/reading'

it('a position out of range is reported once a minute while no other one is known', async test => {
  const kafka = await brokers(test)
  kafka.create('orders', 0)
  kafka.log('orders').append('a')
  const reading = await Reading.start(test, kafka, ['orders'])
  await reading.until(() => reading.has('a'))
  kafka.on('Fetch', () => refusing(errorCode.OFFSET_OUT_OF_RANGE))
  kafka.on('ListOffsets', () => refusing(errorCode.UNKNOWN_SERVER_ERROR))
  const before = kafka.count('ListOffsets')
  await sleep(5_000)
  expect(kafka.count('ListOffsets') - before).toBeGreaterThan(2)
  expect(reading.troubles.map(({ message }) => message)).toEqual([
    expect.stringMatching(
      /^orders-0@1 cannot be read: its position is out of range, and a new one is not known: .*; it is tried again$/,
    ),
  ])
})
