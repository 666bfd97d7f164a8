import { type ConsumeRecord, createClient, type RxMikaError } from 'rxmika'
import { describe, expect, it, vi } from 'vitest'
import { brokers } from '../../fake-broker/reading'

describe.each(['classic', 'consumer'] as const)('with a %s group, a log that is truncated', groupProtocol => {
  it('skips no record before the truncation that was read and not completed', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    for (const value of ['a', 'b', 'c']) kafka.log('orders').append(value)
    const client = createClient({
      ...{ brokers: kafka.addresses, group: 'billing', groupProtocol },
      ...{ logger: false, env: {}, commitInterval: 10 },
    })
    test.onTestFinished(() => {
      client.close()
    })
    const values: string[] = []
    const errors: RxMikaError[] = []
    client.errors.subscribe(error => errors.push(error))
    let held = true
    client.topic('orders').subscribe((record: ConsumeRecord) => {
      values.push(String(record.value))
      if (!held || String(record.value) === 'a') record.ack()
    })
    client.start()
    await vi.waitUntil(() => values.length === 3 && kafka.committed.get('orders-0')?.offset === 1)
    held = false
    kafka.log('orders').cutOff(2)
    kafka.log('orders').append('d')
    await vi.waitUntil(() => kafka.committed.get('orders-0')?.offset === 3, { timeout: 8_000 })
    expect(values).toEqual(['a', 'b', 'c', 'b', 'd'])
    expect(errors).toHaveLength(1)
  })
})
