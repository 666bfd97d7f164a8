import { type ConsumeRecord, createClient, type RxMikaError } from 'rxmika'
import { describe, expect, it, vi } from 'vitest'
import { brokers } from '../../fake-broker/reading'
import { Scope } from '../../fake-broker/scope'

type Kafka = Awaited<ReturnType<typeof brokers>>

function client(kafka: Kafka, groupProtocol: 'classic' | 'consumer', onRecord: (record: ConsumeRecord) => void) {
  const made = createClient({
    ...{ brokers: kafka.addresses, group: 'billing', groupProtocol },
    ...{ logger: false, env: {}, commitInterval: 10 },
  })
  const values: string[] = []
  const errors: RxMikaError[] = []
  made.errors.subscribe(error => errors.push(error))
  made.topic('orders').subscribe(record => {
    values.push(String(record.value))
    onRecord(record)
  })
  made.start()
  return { made, values, errors }
}

describe.each(['classic', 'consumer'] as const)('with the %s protocol, work completed behind a position', protocol => {
  it.each([
    { title: 'counts if the log is the same', cut: 3, read: ['a', 'd'], reports: 0 },
    { title: 'counts if only later records were cut off', cut: 4, read: ['a', 'E'], reports: 0 },
    {
      title: 'hides no record that has taken the place of one that was cut off',
      cut: 1,
      read: ['a', 'B', 'C', 'D'],
      reports: 1,
    },
  ])('$title', async ({ cut, read, reports }) => {
    await using test = new Scope()
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    for (const value of ['a', 'b', 'c']) kafka.log('orders').append(value)
    const first = client(kafka, protocol, record => String(record.value) !== 'a' && record.ack())
    await vi.waitUntil(() => (kafka.committed.get('orders-0')?.metadata ?? '').split(';')[1])
    await first.made.close()
    expect(kafka.committed.get('orders-0')?.offset).toBe(0)

    if (cut === 4) kafka.log('orders').append('d')
    if (cut !== 3) kafka.log('orders').cutOff(cut === 4 ? 3 : cut)
    const next = { 1: ['B', 'C', 'D'], 3: ['d'], 4: ['E'] }[cut]!
    for (const value of next) kafka.log('orders').append(value)
    const second = client(kafka, protocol, record => record.ack())
    await vi.waitUntil(() => second.values.includes(next.at(-1)!))
    expect(second.values).toEqual(read)
    expect(second.errors.map(({ message }) => message)).toEqual(
      reports === 0 ? [] : [expect.stringMatching(/^orders-0@1 is where the log diverges .* are delivered again$/)],
    )
    await second.made.close()
  })
})
