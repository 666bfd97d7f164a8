import { createClient } from 'rxmika'
import { describe, expect, it, vi } from 'vitest'
import { longestDuration } from '../../../src/options'
import { brokers } from '../../fake-broker/reading'

describe.each(['classic', 'consumer'] as const)('a client with the %s protocol', groupProtocol => {
  it('reads with the longest rebalanceTimeout that is accepted', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    kafka.log('orders').append('a')
    const client = createClient({
      brokers: kafka.addresses,
      env: {},
      logger: false,
      group: 'billing',
      groupProtocol,
      startFrom: 'earliest',
      rebalanceTimeout: longestDuration,
    })
    test.onTestFinished(async () => void (await client.close()))
    const read: string[] = []
    const troubles: string[] = []
    client.errors.subscribe(error => troubles.push(error.message))
    client.topic('orders').subscribe(record => read.push(String(record.value)))
    client.start()
    await vi.waitUntil(() => read.length > 0, 4_000).catch(() => {})
    expect({ read, troubles }).toEqual({ read: ['a'], troubles: [] })
  })
})
