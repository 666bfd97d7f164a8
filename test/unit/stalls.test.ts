import * as fc from 'fast-check'
import {
  type ClientEvent,
  CommitError,
  ConfigurationError,
  type ConsumeRecord,
  createClient,
  fixed,
  type TopicOptions,
} from 'rxmika'
import { type MemoryBrokerOptions, memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { Clock } from './clock.js'

const stallAfter = 1_000

function setUp(topic: TopicOptions = {}, options: MemoryBrokerOptions = {}) {
  const clock = new Clock()
  const broker = memoryBroker({ scheduler: clock, partitions: 1, ...options })
  const client = createClient({
    ...{ driver: broker.driver(), group: 'g', retryTopic: 'retries', dlqTopic: 'dlq', env: {}, logger: false },
    stallAfter,
  })
  const events: ClientEvent[] = []
  client.events.subscribe(event => events.push(event))
  const records: ConsumeRecord[] = []
  const orders = client.topic('orders', topic)
  const subscription = orders.subscribe(record => records.push(record))
  client.start().subscribe()
  clock.runTo(100)
  const publish = (...values: string[]) =>
    broker.publish(
      'orders',
      values.map(value => ({ key: `key ${value}`, value })),
    )
  const refuseCommits = (times: number) => {
    for (let at = 0; at < times; at++) broker.failNext('commit', new CommitError('not now', { retriable: true }))
  }
  const stallEvents = () => events.filter(({ type }) => type === 'stalled' || type === 'unstalled')
  return { clock, broker, client, events, records, orders, subscription, publish, refuseCommits, stallEvents }
}

describe('stalls', () => {
  it('reports since when completed records wait for their commit', () => {
    const { clock, client, records, publish, refuseCommits } = setUp()
    publish('0')
    clock.runTo(2_000)
    records[0]!.ack()
    clock.runTo(2_500)
    expect(client.stalls()).toEqual([])

    refuseCommits(5)
    publish('1')
    clock.runTo(2_600)
    records[1]!.ack()
    clock.runTo(2_800)
    expect(client.stalls()).toMatchObject([{ topic: 'orders', partition: 0, offset: 1n, why: 'committing' }])
    const { since } = client.stalls()[0]!
    expect(since).toBeGreaterThanOrEqual(2_600)
    expect(since).toBeLessThanOrEqual(2_610)

    clock.runTo(20_000)
    expect(client.stalls()).toEqual([])
  })

  it('reports that the strict gate waits for its commit, although the next batch is fetched', () => {
    const { clock, client, records, publish, refuseCommits, stallEvents } = setUp(
      { batch: true },
      { maxBatchRecords: 2 },
    )
    publish('0', '1', '2', '3')
    clock.runTo(200)
    expect(records).toHaveLength(2)
    refuseCommits(5)
    for (const record of records) record.ack()
    clock.runTo(300)
    expect(records).toHaveLength(2)
    expect(client.stalls()).toMatchObject([{ topic: 'orders', partition: 0, offset: 0n, why: 'committing', key: null }])
    clock.runTo(1_500)
    expect(stallEvents()).toMatchObject([{ type: 'stalled', topic: 'orders', offset: 0n, why: 'committing' }])
    clock.runTo(20_000)
    expect(records).toHaveLength(4)
    expect(stallEvents().slice(0, 2)).toMatchObject([{ type: 'stalled' }, { type: 'unstalled', offset: 0n }])
  })

  it('reports a commit that is not confirmed for a long time, and its confirmation', () => {
    const { clock, records, publish, refuseCommits, stallEvents } = setUp()
    publish('0')
    clock.runTo(200)
    refuseCommits(6)
    records[0]!.ack()
    clock.runTo(1_000)
    expect(stallEvents()).toEqual([])
    clock.runTo(1_500)
    expect(stallEvents()).toMatchObject([
      { type: 'stalled', topic: 'orders', offset: 0n, why: 'committing', since: 200 },
    ])
    clock.runTo(60_000)
    expect(stallEvents()).toMatchObject([{ type: 'stalled' }, { type: 'unstalled', topic: 'orders', offset: 0n }])
  })

  it('reports nothing while commits are confirmed', () => {
    const { clock, records, publish, stallEvents } = setUp()
    for (let at = 0; at < 50; at++) {
      publish(String(at))
      clock.runTo(200 + at * 200)
      records[at]?.ack()
    }
    expect(records.length).toBeGreaterThan(40)
    expect(stallEvents()).toEqual([])
  })

  it('lists with { all: true } every held record, the place first published, and why', () => {
    const { clock, client, records, publish } = setUp({ retries: 5, backoff: fixed(60_000) })
    publish('0', '1', '2', '3')
    clock.runTo(200)
    records[1]!.fail('no')
    records[2]!.ack()
    clock.runTo(1_000)
    expect(client.stalls()).toMatchObject([
      { topic: 'orders', offset: 0n, why: 'unsettled' },
      { topic: 'retries', offset: 0n, why: 'not-due' },
    ])
    const key = (value: string) => Buffer.from(`key ${value}`)
    const common = { partition: 0, since: expect.any(Number) }
    expect(client.stalls({ all: true })).toEqual([
      { topic: 'orders', ...common, offset: 0n, key: key('0'), attempt: 1, why: 'unsettled' },
      { topic: 'orders', ...common, offset: 3n, key: key('3'), attempt: 1, why: 'unsettled' },
      {
        ...{ topic: 'retries', ...common, offset: 0n, key: key('1'), attempt: 2, why: 'not-due' },
        origin: { topic: 'orders', partition: 0, offset: 1n },
      },
    ])
    expect(client.stalls({ all: false })).toEqual(client.stalls())
  })

  it('reports since when each was delivered', () => {
    const { clock, client, publish } = setUp()
    for (let at = 1; at <= 4; at++) {
      publish(String(at))
      clock.runTo(100 + at * 100)
    }
    const sinces = client.stalls({ all: true }).map(({ since }) => since)
    expect(sinces).toHaveLength(4)
    for (const [at, since] of sinces.entries()) {
      expect(since).toBeGreaterThanOrEqual(100 + at * 100)
      expect(since).toBeLessThan(200 + at * 100)
    }
  })

  it('reports a record behind another of its key as unsettled', () => {
    const { clock, client, broker } = setUp({ keyFence: { afterDeadLetter: 'continue' } })
    broker.publish('orders', [
      { key: 'k', value: '0' },
      { key: 'k', value: '1' },
    ])
    clock.runTo(200)
    expect(client.stalls({ all: true }).map(({ offset, why }) => [offset, why])).toEqual([
      [0n, 'unsettled'],
      [1n, 'unsettled'],
    ])
  })

  it('refuses unknown options', () => {
    const { client } = setUp()
    expect(() => client.stalls({ al: true } as never)).toThrow(ConfigurationError)
    expect(() => client.stalls({ all: 'yes' } as never)).toThrow('stalls: all')
  })

  it.each(['revoked', 'lost', 'closed'] as const)('ends when the partition is %s, and is reported before', how => {
    const { clock, broker, client, events, publish, stallEvents } = setUp()
    publish('0')
    clock.runTo(2_000)
    expect(stallEvents()).toMatchObject([{ type: 'stalled', offset: 0n }])
    if (how === 'revoked') broker.revoke('g', 'orders', 0)
    else if (how === 'lost') broker.lose('g', 'orders', 0)
    else client.close()
    clock.runTo(15_000)
    expect(stallEvents().slice(0, 2)).toMatchObject([
      { type: 'stalled' },
      { type: 'unstalled', topic: 'orders', partition: 0, offset: 0n, key: Buffer.from('key 0') },
    ])
    const at = (type: string) =>
      events.findIndex(event => event.type === type && 'topic' in event && event.topic === 'orders')
    expect(at('unstalled')).toBeLessThan(at(how === 'closed' ? 'revoked' : how))
  })

  it('never lets a gauge drift, whatever happens', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('publish' as const), count: fc.integer({ min: 1, max: 3 }) }),
      fc.record({ do: fc.constantFrom('ack' as const, 'fail' as const), at: fc.nat() }),
      fc.record({ do: fc.constant('refuse' as const), count: fc.integer({ min: 1, max: 4 }) }),
      fc.record({ do: fc.constantFrom('revoke' as const, 'lose' as const) }),
      fc.record({ do: fc.constantFrom('pause' as const, 'resume' as const) }),
      fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 3_000 }) }),
    )
    fc.assert(
      fc.property(fc.boolean(), fc.array(step, { maxLength: 25 }), (batch, steps) => {
        const { clock, broker, client, events, records, publish, refuseCommits } = setUp(
          { dlq: true, batch },
          { maxBatchRecords: 2 },
        )
        let published = 0
        for (const one of steps) {
          if (one.do === 'publish') for (let at = 0; at < one.count; at++) publish(String(published++))
          else if (one.do === 'refuse') refuseCommits(one.count)
          else if (one.do === 'revoke') broker.revoke('g', 'orders', 0)
          else if (one.do === 'lose') broker.lose('g', 'orders', 0)
          else if (one.do === 'pause' || one.do === 'resume') client[one.do]('orders')
          else if (one.do === 'wait') clock.runTo(clock.now() + one.ms)
          else if ('at' in one && records.length > 0) records[one.at % records.length]![one.do]()
          clock.runTo(clock.now() + 10)
          // Every partition that `stalled` events report as held back is in `stalls()` too.
          expect(gauges(events)).toBeLessThanOrEqual(client.stalls().length)
        }
        client.close()
        clock.runTo(clock.now() + 60_000)
        expect(client.currentState).toBe('closed')
        expect(gauges(events)).toBe(0)
      }),
      { numRuns: 200 },
    )
  })
})

/** The number of stalled partitions, counted by events. */
function gauges(events: readonly ClientEvent[]): number {
  const stalled = new Set<string>()
  for (const event of events) {
    if (event.type !== 'stalled' && event.type !== 'unstalled') continue
    const partition = `${event.topic}-${event.partition}`
    // A partition is not reported as stalled twice, nor as unstalled without a stall.
    expect(stalled.has(partition)).toBe(event.type === 'unstalled')
    if (event.type === 'stalled') stalled.add(partition)
    else stalled.delete(partition)
  }
  return stalled.size
}
