import { type ConsumeRecord, createClient, type RxMikaError } from 'rxmika'
import { describe, expect, it, vi } from 'vitest'
import { brokers } from '../../fake-broker/reading'
import { Scope } from '../../fake-broker/scope'

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

it('work that was finished behind the position of a log that was truncated hides no record of the present one', async () => {
  await using test = new Scope()
  const kafka = await brokers(test)
  kafka.create('orders', 0)
  for (const value of ['a', 'b', 'c', 'd']) kafka.log('orders').append(value)
  const client = createClient({
    brokers: kafka.addresses,
    group: 'billing',
    logger: false,
    env: {},
    commitInterval: 10,
  })
  const values: string[] = []
  let held = true
  client.topic('orders').subscribe((record: ConsumeRecord) => {
    values.push(String(record.value))
    if (!held || String(record.value) !== 'b') record.ack()
  })
  client.start()
  const noted = kafka.committed
  await vi.waitUntil(() => values.length === 4 && noted.get('orders-0')?.offset === 1)
  held = false
  kafka.log('orders').cutOff(2)
  for (const value of ['e', 'f', 'g']) kafka.log('orders').append(value)
  await vi.waitUntil(() => kafka.committed.get('orders-0')?.offset === 5, { timeout: 5_000 })
  await client.close()
  expect(values).toEqual(['a', 'b', 'c', 'd', 'b', 'e', 'f', 'g'])
})
