import { type ConsumeRecord, createClient, type RxMikaError } from 'rxmika'
import { describe, expect, it, vi } from 'vitest'
import { brokers, Reading } from '../../fake-broker/reading'
import { Scope } from '../../fake-broker/scope'

type Test = { onTestFinished(end: () => unknown): void }
type Kafka = Awaited<ReturnType<typeof brokers>>

const append = (kafka: Kafka, ...values: string[]) => {
  for (const value of values) kafka.log('orders').append(value)
}

/** A client that acks every record of `orders`. */
function reader(test: Test, kafka: Kafka, groupProtocol: 'classic' | 'consumer') {
  const client = createClient({
    ...{ brokers: kafka.addresses, group: 'billing', groupProtocol },
    ...{ logger: false, env: {}, commitInterval: 10 },
  })
  test.onTestFinished(() => client.close())
  const values: string[] = []
  const errors: RxMikaError[] = []
  client.errors.subscribe(error => errors.push(error))
  client.topic('orders').subscribe({
    next: (record: ConsumeRecord) => {
      values.push(String(record.value))
      record.ack()
    },
    error: () => {},
  })
  client.start()
  const committed = (offset: number) =>
    vi.waitUntil(() => client.currentState === 'closed' || kafka.committed.get('orders-0')?.offset === offset, {
      timeout: 10_000,
    })
  return { client, values, errors, committed }
}

describe.each(['classic', 'consumer'] as const)('a client of a %s group stays open', groupProtocol => {
  it('and reads and commits the present log from where it diverges, if it is truncated while it is read', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    append(kafka, 'a', 'b', 'c')
    const { client, values, errors, committed } = reader(test, kafka, groupProtocol)
    await committed(3)
    kafka.log('orders').cutOff(1)
    append(kafka, 'd')
    await committed(2)
    expect(values).toEqual(['a', 'b', 'c', 'd'])
    expect(errors.map(({ message }) => message)).toEqual([
      'the position orders-0@3 is beyond the offset where the log diverges from the one that was read; reading goes on at 1',
    ])
    expect(client.currentState).toBe('running')
  })

  it.each([
    { title: 'where the log diverges', leaderEpoch: 0, present: ['d', 'e', 'f', 'g'], read: ['d', 'e', 'f', 'g'] },
    { title: 'the end of the log, whose epochs say nothing', leaderEpoch: -1, present: ['d'], read: ['a', 'd'] },
  ])('and reads from there if its committed position is beyond $title', async ({ leaderEpoch, present, read }) => {
    await using test = new Scope()
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    append(kafka, 'a', 'b', 'c')
    kafka.log('orders').cutOff(1)
    append(kafka, ...present)
    kafka.committed.set('orders-0', { offset: 3, leaderEpoch, metadata: '' })
    const { client, values, errors, committed } = reader(test, kafka, groupProtocol)
    await committed(1 + present.length)
    expect(values).toEqual(read)
    expect(errors).toHaveLength(1)
    expect(client.currentState).toBe('running')
  })
})

it.each(['classic', 'consumer'] as const)(
  'a %s member commits the lower position at once, so that no later start is beyond records that were not completed',
  async groupProtocol => {
    await using test = new Scope()
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    append(kafka, 'a')
    kafka.committed.set('orders-0', { offset: 3, leaderEpoch: -1, metadata: '' })
    const reading = await Reading.start(test, kafka, ['orders'], { groupProtocol })
    await reading.until(() => reading.has('a'))
    await vi.waitUntil(() => kafka.committed.get('orders-0')?.offset === 0)
    expect(reading.troubles).toHaveLength(1)
  },
)
