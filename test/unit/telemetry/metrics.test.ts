import { setTimeout as pause } from 'node:timers/promises'
import * as fc from 'fast-check'
import { filter, firstValueFrom, take, toArray } from 'rxjs'
import {
  type Client,
  type ClientEvent,
  type ConsumeRecord,
  createClient,
  discard,
  fixed,
  handle,
  redeliver,
} from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { afterEach, describe, expect, it } from 'vitest'

const clients: Client[] = []
afterEach(async () => {
  await Promise.all(clients.splice(0).map(client => client.close()))
})

const options = { group: 'billing', retryTopic: 'retries', dlqTopic: 'dead', commitInterval: 1, logger: false as const }

function world(more: Parameters<typeof createClient>[0] = {}) {
  const broker = memoryBroker({ partitions: 1 })
  const client = createClient({ driver: broker.driver(), ...options, ...more })
  clients.push(client)
  return { broker, client }
}

const event = (client: Client, is: (event: ClientEvent) => boolean) => firstValueFrom(client.events.pipe(filter(is)))
const committed = (client: Client, topic: string, offset: bigint) =>
  event(client, e => e.type === 'committed' && e.topic === topic && e.offset === offset)
const partition = (client: Client, topic: string) => client.metrics().partitions.find(each => each.topic === topic)!

describe('client.metrics()', () => {
  it('counts a record under the topic first published to, its retries too', async () => {
    const { broker, client } = world()
    broker.publish('orders', [{ value: 'good' }, { value: 'bad' }])
    client
      .topic('orders', { retries: 2, dlq: true })
      .pipe(handle(record => (String(record.value) === 'bad' ? Promise.reject(new Error('no')) : undefined)))
      .subscribe()
    const done = committed(client, 'retries', 2n)
    client.start()
    await done
    expect(client.metrics()).toEqual({
      topics: {
        orders: { delivered: 4, acked: 1, failed: 3, retried: 2, deadLettered: 1, discarded: 0, leaked: 0 },
      },
      partitions: expect.any(Array),
      ...{ published: 3, commits: expect.any(Number), rebalances: 1 },
    })
    expect(client.metrics().commits).toBeGreaterThan(0)
  })

  it('counts discarded records, and those that redeliver retries', async () => {
    const { broker, client } = world()
    broker.publish('orders', [{ value: 'a' }])
    client
      .topic('orders', {
        onFail: failed => failed.pipe(redeliver(client, { attempts: 3, backoff: fixed(1) }), discard()),
      })
      .pipe(handle(() => Promise.reject(new Error('no'))))
      .subscribe()
    const done = committed(client, 'orders', 1n)
    client.start()
    await done
    expect(client.metrics().topics.orders).toMatchObject({ delivered: 3, failed: 3, retried: 2, discarded: 1 })
  })

  it('has every registered topic from the beginning, and no inherited names', async () => {
    const { broker, client } = world()
    for (const name of ['constructor', '__proto__', 'toString']) client.topic(name).subscribe(record => record.ack())
    expect(Object.keys(client.metrics().topics).sort()).toEqual(['__proto__', 'constructor', 'toString'])
    expect(Object.getPrototypeOf(client.metrics().topics)).toBeNull()
    broker.publish('__proto__', [{ value: 'a' }])
    const done = committed(client, '__proto__', 1n)
    client.start()
    await done
    expect(Object.entries(client.metrics().topics).find(([name]) => name === '__proto__')![1]).toMatchObject({
      delivered: 1,
      acked: 1,
    })
  })

  it('shows for each partition position, commit, end, lag and records in flight', async () => {
    const { broker, client } = world()
    broker.publish('orders', [{ value: 'a' }, { value: 'b' }, { value: 'c' }])
    const records = firstValueFrom(client.topic('orders').pipe(take(3), toArray()))
    client.topic('other').subscribe()
    client.start()
    const [, b] = await records
    // `take` has unsubscribed, so the records wait for the next subscriber. b can be completed all the same.
    b!.ack()
    expect(partition(client, 'orders')).toEqual({
      ...{ topic: 'orders', partition: 0, position: 0n, committed: 0n, endOffset: 3n, lag: 3n },
      ...{ inFlight: 0, oldestUnsettledSince: undefined, delayed: 0, held: 0 },
    })
    expect(partition(client, 'orders').finishedBehind).toBe(1)
    expect(
      client
        .metrics()
        .partitions.map(({ topic }) => topic)
        .sort(),
    ).toEqual(['dead', 'orders', 'other', 'retries'])
  })

  it('shows since when the oldest record is unsettled, and records held by a route', async () => {
    const { broker, client } = world({ dlqTopic: undefined, retryTopic: undefined })
    broker.publish('orders', [{ value: 'a' }, { value: 'b' }])
    const records: ConsumeRecord[] = []
    client.topic('orders').subscribe(record => records.push(record))
    client.start()
    const before = Date.now()
    while (records.length < 2) await pause(1)
    const after = Date.now()
    await pause(20)
    const { oldestUnsettledSince, inFlight } = partition(client, 'orders')
    expect(inFlight).toBe(2)
    // Measured by a monotonic clock in whole ms, and reported by the wall clock.
    expect(oldestUnsettledSince).toBeGreaterThanOrEqual(before - 2)
    expect(oldestUnsettledSince).toBeLessThanOrEqual(after + 2)
    client.errors.subscribe()
    records[0]!.fail('nowhere to go')
    expect(partition(client, 'orders')).toMatchObject({ inFlight: 1, held: 1 })
    records[1]!.ack()
    expect(partition(client, 'orders')).toMatchObject({
      ...{ inFlight: 0, held: 1, oldestUnsettledSince: undefined, finishedBehind: 1, lag: 2n },
    })
  })

  it('shows retries that are not due', async () => {
    const { broker, client } = world()
    broker.publish('orders', [{ value: 'a' }])
    client
      .topic('orders', { retries: 1, backoff: fixed(60_000) })
      .pipe(handle(() => Promise.reject(new Error('no'))))
      .subscribe()
    const done = committed(client, 'orders', 1n)
    client.start()
    await done
    while (partition(client, 'retries').delayed === 0) await pause(1)
    expect(partition(client, 'retries')).toMatchObject({ delayed: 1, inFlight: 0, lag: 1n })
  })

  it('counts lag from the position without a group, which commits nothing', async () => {
    const { broker, client } = world({ group: undefined, retryTopic: undefined, dlqTopic: undefined })
    broker.publish('orders', [{ value: 'a' }, { value: 'b' }])
    const records: ConsumeRecord[] = []
    client.topic('orders').subscribe(record => records.push(record))
    client.start()
    await event(client, e => e.type === 'assigned')
    while (records.length < 2) await pause(1)
    records[0]!.ack()
    expect(partition(client, 'orders')).toMatchObject({ position: 1n, committed: undefined, endOffset: 2n, lag: 1n })
    expect(client.metrics()).toMatchObject({ commits: 0, rebalances: 0 })
  })

  it('counts publications and copies when they are acknowledged', async () => {
    const { client } = world()
    await firstValueFrom(
      client.publish([
        { topic: 'a', value: '1' },
        { topic: 'a', value: '2' },
      ]),
    )
    expect(client.metrics()).toMatchObject({ topics: {}, partitions: [], published: 2, commits: 0, rebalances: 0 })
  })

  it('remains available after a close, without partitions, and is JSON', async () => {
    const { broker, client } = world()
    broker.publish('orders', [{ value: 'a' }])
    client.topic('orders').subscribe(record => record.ack())
    const done = committed(client, 'orders', 1n)
    client.start()
    await done
    expect(JSON.parse(JSON.stringify(client.metrics())).partitions[0]).toHaveProperty('lag')
    await client.close()
    expect(client.metrics()).toMatchObject({ topics: { orders: { acked: 1 } }, partitions: [] })
  })

  it('adds up, whatever happens to the records', async () => {
    const outcome = fc.constantFrom('ack', 'retry then ack', 'fail', 'discard', 'leave')
    await fc.assert(
      fc.asyncProperty(fc.array(outcome, { maxLength: 12 }), async outcomes => {
        const { broker, client } = world()
        broker.publish(
          'orders',
          outcomes.map(value => ({ value })),
        )
        const dropped = new Error('given up')
        client.topic('orders', { retries: 1, dlq: true }).subscribe(record => {
          const wanted = String(record.value)
          if (wanted === 'ack' || (wanted === 'retry then ack' && record.attempt === 2)) record.ack()
          else if (wanted === 'discard') record.fail(dropped, { retry: false })
          else if (wanted !== 'leave') record.fail('no')
        })
        const count = (of: string) => outcomes.filter(each => each === of).length
        const dead = count('fail') + count('discard')
        const copies = count('retry then ack') + 2 * count('fail') + count('discard')
        client.start()
        await event(client, e => e.type === 'assigned')
        const again = count('retry then ack') + count('fail')
        const acked = count('ack') + count('retry then ack')
        const isDone = ({ published, topics: { orders } } = client.metrics()) =>
          published >= copies && orders!.acked >= acked && orders!.delivered >= outcomes.length + again
        while (!isDone()) await pause(1)
        const { topics, partitions } = client.metrics()
        expect(topics.orders).toEqual({
          delivered: outcomes.length + again,
          acked,
          failed: again + dead,
          retried: again,
          deadLettered: dead,
          ...{ discarded: 0, leaked: 0 },
        })
        const orders = partitions.find(({ topic }) => topic === 'orders')!
        expect(orders.inFlight).toBe(count('leave'))
        const first = outcomes.indexOf('leave')
        expect(orders.position).toBe(BigInt(first < 0 ? outcomes.length : first))
        const behind = first < 0 ? 0 : outcomes.slice(first).filter(each => each !== 'leave').length
        expect(orders.finishedBehind).toBe(behind)
        await client.close()
      }),
      { numRuns: 40 },
    )
  })
})
