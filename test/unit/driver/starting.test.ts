import { createClient } from 'rxmika'
import { describe, expect, it, type TestContext, vi } from 'vitest'
import type { FakeKafka } from '../../fake-broker/fake-kafka'
import { brokers } from '../../fake-broker/reading'

describe('a client that starts opens its connections ahead of their first request:', () => {
  /** A client of a topic with one record, and a way to hold back one kind of answer. */
  async function starting(test: TestContext, held: string) {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    kafka.log('orders').append('a')
    let release!: () => void
    const promise = new Promise<void>(resolve => {
      release = resolve
    })
    kafka.on(held, ({ request }) => (held !== 'Metadata' || request.topics.length > 0 ? { until: promise } : undefined))
    const client = createClient({ brokers: kafka.addresses, group: 'billing', logger: false })
    test.onTestFinished(async () => {
      await client.close()
    })
    const values: string[] = []
    client.topic('orders').subscribe(record => void values.push(String(record.value)))
    client.start()
    await vi.waitFor(() => expect(kafka.count(held)).toBeGreaterThan(held === 'Metadata' ? 1 : 0))
    const reads = async () => {
      release()
      await vi.waitFor(() => expect(values).toEqual(['a']))
    }
    return { kafka, reads }
  }
  /** The first request of a connection is ApiVersions. */
  const connections = (kafka: FakeKafka) => kafka.count('ApiVersions')

  it('to the coordinator of its group, while its topics are looked up', async test => {
    const { kafka, reads } = await starting(test, 'Metadata')
    await vi.waitFor(() => expect(connections(kafka)).toBe(2))
    expect(kafka.count('FindCoordinator')).toBe(1)
    expect(kafka.count('JoinGroup') + kafka.count('ConsumerGroupHeartbeat')).toBe(0)
    await reads()
    expect(kafka.count('FindCoordinator')).toBe(1)
  })

  it('to the leaders of its partitions, while their positions are looked up', async test => {
    const { kafka, reads } = await starting(test, 'OffsetFetch')
    await vi.waitFor(() => expect(connections(kafka)).toBe(3))
    expect(kafka.count('Fetch')).toBe(0)
    await reads()
    expect(connections(kafka)).toBe(3)
  })
})
