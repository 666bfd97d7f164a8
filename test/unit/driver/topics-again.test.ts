import { describe, expect, it, vi } from 'vitest'
import { errorCode } from '../../../src/protocol/errors'
import { refusing } from '../../fake-broker/asked'
import { brokers, Reading } from '../../fake-broker/reading'

describe.each(['classic', 'consumer', 'auto'] as const)('a topic in a group of the %s protocol', groupProtocol => {
  it('is read if it is removed and added again before its positions are known', async test => {
    const kafka = await brokers(test)
    for (const topic of ['orders', 'refunds']) {
      kafka.create(topic, 0)
      kafka.log(topic).append(topic)
    }
    const heal = kafka.on('OffsetFetch', () => refusing(errorCode.UNSTABLE_OFFSET_COMMIT))
    const reading = await Reading.start(test, kafka, ['orders', 'refunds'], { groupProtocol })
    await vi.waitUntil(() => kafka.count('OffsetFetch') > 1, 5_000)
    reading.driver.subscribe(['orders'])
    reading.driver.subscribe(['orders', 'refunds'])
    heal()
    await vi.waitUntil(() => reading.has('orders', 'refunds'), 4_000).catch(() => {})
    expect([...reading.records].sort()).toEqual(['orders-0@0 orders', 'refunds-0@0 refunds'])
  })
})
