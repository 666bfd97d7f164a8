import { type ConsumeRecord, createClient, type RxMikaError } from 'rxmika'
import { expect, it, vi } from 'vitest'
import { brokers } from '../../fake-broker/reading'

it('a client that is closed while a commit waits for a rebalance is not closed by an error', async test => {
  const kafka = await brokers(test)
  kafka.create('orders', 0)
  kafka.log('orders').append('a')
  const client = createClient({
    ...{ brokers: kafka.addresses, group: 'billing', logger: false, env: {} },
    ...{ rebalanceTimeout: 100, heartbeatInterval: 50, sessionTimeout: 6_000 },
  })
  test.onTestFinished(async () => void (await client.close()))
  const records: ConsumeRecord[] = []
  const errors: RxMikaError[] = []
  client.errors.subscribe(error => errors.push(error))
  client.topic('orders').subscribe(record => records.push(record))
  client.start()
  await vi.waitUntil(() => records.length === 1)
  const joins = kafka.count('JoinGroup')
  kafka.on('JoinGroup', () => ({ ending: 'silence' }))
  kafka.classic.rebalance()
  await vi.waitUntil(() => kafka.count('JoinGroup') > joins, { timeout: 5_000 })
  records[0]!.ack()
  const { error, left } = await client.close()
  expect(left.map(({ why }) => why)).toEqual(['committing'])
  expect(error?.message).toBe('the last commit was not confirmed before the client was closed')
  expect(errors.map(({ message }) => message)).toEqual(["group 'billing' is not joined at present"])
})
