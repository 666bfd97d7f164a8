import { concatMap, merge, of, Subject } from 'rxjs'
import {
  ConfigurationError,
  type ConsumeRecord,
  type ConsumeRequest,
  createClient,
  type DlqReplayOptions,
  type DlqReplayProgress,
  type Driver,
  type DriverEvent,
  type KeptPosition,
  type PartitionAssignment,
  PublishError,
  type RxMikaError,
} from 'rxmika'
import { type MemoryBrokerOptions, memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { Clock } from './clock.js'

function setUp(options: MemoryBrokerOptions = {}) {
  const clock = new Clock()
  const broker = memoryBroker({ scheduler: clock, ...options })
  const start = () => {
    const driver = broker.driver()
    const client = createClient({ driver, group: 'billing', dlqTopic: 'dlq', logger: false, stallAfter: 2 ** 31 - 1 })
    const seen: string[] = []
    const errors: RxMikaError[] = []
    client.topic('orders', { dlq: true }).subscribe(record => {
      seen.push(String(record.value))
      record.ack()
    })
    client.start().subscribe(error => errors.push(error))
    const replay = (replayOptions?: DlqReplayOptions) => {
      const told: { progress: DlqReplayProgress[]; end?: unknown } = { progress: [] }
      const subscription = client.replayDlq(replayOptions).subscribe({
        next: progress => told.progress.push(progress),
        error: error => {
          told.end = error
        },
        complete: () => {
          told.end = 'complete'
        },
      })
      return Object.assign(told, { unsubscribe: () => subscription.unsubscribe() })
    }
    return { client, driver, seen, errors, replay }
  }
  const headers = { mika_err_billing_org_topic: 'orders', mika_err_billing_retries: '0' }
  const dead = (...values: string[]) =>
    broker.publish(
      'dlq',
      values.map(value => ({ value, headers })),
    )
  const values = () => broker.records('dlq').map(({ value }) => String(value))
  return { clock, broker, start, dead, values }
}

const without = (left: string) => ({ filter: ({ value }: ConsumeRecord) => String(value) !== left })

describe('replayDlq with a filter', () => {
  it('retries to write back records that the broker does not accept at once, and waits for them', () => {
    const { clock, broker, start, dead, values } = setUp()
    dead('a', 'b', 'c')
    const { seen, replay } = start()
    clock.runTo(100)
    for (let times = 0; times < 3; times++) {
      broker.failNext('produce', new PublishError('not the leader', { retriable: true }))
    }
    const told = replay(without('b'))
    clock.runTo(200)
    expect(seen).toEqual(['a', 'c'])
    expect(told.end).toBeUndefined()
    expect(broker.committed('billing', 'dlq', 0)).toBe(1n)
    clock.runTo(10_000)
    expect(told.end).toBe('complete')
    expect(told.progress.at(-1)).toEqual({ delivered: 2, skipped: 1, remaining: 0 })
    expect(values()).toEqual(['a', 'b', 'c', 'b'])
    expect(broker.committed('billing', 'dlq', 0)).toBe(3n)
  })

  it('errors if the broker refuses a record for good, which stays for a later replay', () => {
    const { clock, broker, start, dead, values } = setUp()
    dead('a', 'b', 'c')
    const { client, seen, errors, replay } = start()
    clock.runTo(100)
    const refusal = new PublishError('not authorised', { retriable: false })
    broker.failNext('produce', refusal)
    const told = replay(without('b'))
    clock.runTo(1_000)
    expect(told.end).toBe(refusal)
    expect(errors).toEqual([refusal])
    expect(values()).toEqual(['a', 'b', 'c'])
    expect(broker.committed('billing', 'dlq', 0)).toBe(1n)
    expect(client.stalls()).toMatchObject([{ topic: 'dlq', offset: 1n }])
    const later = replay()
    clock.runTo(2_000)
    expect(later.end).toBe('complete')
    expect(later.progress.at(-1)).toEqual({ delivered: 1, skipped: 0, remaining: 0 })
    expect(seen).toEqual(['a', 'c', 'b'])
    expect(broker.committed('billing', 'dlq', 0)).toBe(3n)
  })

  it('loses nothing if the process dies before a record that it wrote back is acknowledged', () => {
    const outcomes = new Set<number>()
    for (let dies = 100; dies <= 180; dies += 5) {
      const { clock, broker, start, dead, values } = setUp({ latency: 20 })
      dead('a', 'b', 'c')
      const first = start()
      clock.runTo(100)
      first.replay(without('b'))
      clock.runTo(dies)
      broker.kill(first.driver, { after: 0 })
      const second = start()
      const later = second.replay()
      clock.runTo(10_000)
      expect(later.end).toBe('complete')
      // A record is delivered twice if the broker committed it and the process did not get the answer.
      expect([...new Set([...first.seen, ...second.seen])].sort()).toEqual(['a', 'b', 'c'])
      outcomes.add(values().length)
    }
    expect(outcomes).toEqual(new Set([3, 4]))
  })

  it('finishes writes that it has begun when it is unsubscribed', () => {
    const { clock, broker, start, dead, values } = setUp({ latency: 20 })
    dead('a', 'b', 'c')
    const { client, replay } = start()
    clock.runTo(1_000)
    const told = replay({ filter: () => false })
    while (client.stalls().every(({ why }) => why !== 'routing')) clock.runTo(clock.now() + 1)
    told.unsubscribe()
    clock.runTo(2_000)
    expect(values()).toEqual(['a', 'b', 'c', 'a', 'b', 'c'])
    expect(broker.committed('billing', 'dlq', 0)).toBe(3n)
  })

  it('delays a graceful close until its writes are acknowledged', async () => {
    const { clock, broker, start, dead, values } = setUp({ latency: 20 })
    dead('a', 'b')
    const { client, replay } = start()
    clock.runTo(1_000)
    replay({ filter: () => false })
    while (client.stalls().every(({ why }) => why !== 'routing')) clock.runTo(clock.now() + 1)
    const closed = client.closeGracefully()
    clock.runTo(3_000)
    expect(await closed).toEqual({ drained: true, unsettled: 0, left: [] })
    expect(values()).toEqual(['a', 'b', 'a', 'b'])
    expect(broker.committed('billing', 'dlq', 0)).toBe(2n)
  })

  it('writes nothing while there are no dead letters, however long it runs', () => {
    const { clock, broker, start, dead, values } = setUp()
    dead('a', 'b', 'c')
    const { seen, replay } = start()
    const told = replay({ until: 'forever', ...without('b') })
    clock.runTo(600_000)
    expect(values()).toEqual(['a', 'b', 'c', 'b'])
    expect(told.progress.at(-1)).toEqual({ delivered: 2, skipped: 1, remaining: 0 })
    dead('d')
    clock.runTo(601_001)
    expect(seen).toEqual(['a', 'c', 'd'])
    clock.runTo(1_200_000)
    expect(values()).toEqual(['a', 'b', 'c', 'b', 'd', 'b'])
    told.unsubscribe()
    dead('e')
    clock.runTo(1_300_000)
    expect(seen).toEqual(['a', 'c', 'd'])
    expect(broker.committed('billing', 'dlq', 0)).toBe(5n)
  })

  it('continues with newly assigned partitions, and with records written to them meanwhile', () => {
    const { clock, broker, start, dead, values } = setUp()
    dead('a', 'b')
    const { seen, replay } = start()
    replay({ until: 'forever', ...without('b') })
    clock.runTo(10_000)
    broker.lose('billing', 'dlq', 0)
    dead('c')
    clock.runTo(20_000)
    expect(seen).toEqual(['a', 'c'])
    expect(values()).toEqual(['a', 'b', 'b', 'c', 'b'])
  })

  it('accepts a filter that settles records', () => {
    const { clock, broker, start, dead, values } = setUp()
    dead('a', 'b', 'c')
    const { seen, replay } = start()
    const told = replay({
      filter: record => {
        if (String(record.value) !== 'c') record.ack()
        return String(record.value) !== 'b'
      },
    })
    clock.runTo(1_000)
    expect(told.end).toBe('complete')
    expect(seen).toEqual(['c'])
    expect(values()).toEqual(['a', 'b', 'c'])
    expect(broker.committed('billing', 'dlq', 0)).toBe(3n)
  })

  it.each([
    ['a promise', async () => false],
    ['an Observable', () => of(false)],
  ])('errors for a filter that returns %s, which would accept every record', (kind, filter) => {
    const { clock, broker, start, dead, values } = setUp()
    dead('a', 'b')
    const { client, seen, replay } = start()
    clock.runTo(100)
    const told = replay({ filter: filter as unknown as () => boolean })
    clock.runTo(200)
    expect(told.end).toEqual(new TypeError(`replayDlq: filter must return a boolean (got ${kind})`))
    expect(seen).toEqual([])
    // The record is not lost: the next replay delivers everything.
    expect(replay().end).toBeUndefined()
    clock.runTo(300)
    expect(seen).toEqual(['a', 'b'])
    expect(values()).toEqual(['a', 'b'])
    expect(broker.committed('billing', 'dlq', 0)).toBe(2n)
    client.close()
  })

  it('refuses a filter that is not a function', () => {
    const { start } = setUp()
    const { client } = start()
    expect(() => client.replayDlq({ filter: 'no' as unknown as () => boolean })).toThrow(ConfigurationError)
  })
})

describe('a replay while more partitions of the DLQ topic may be assigned', () => {
  /** A member that is assigned the DLQ topic when the test says so. */
  function early(held: boolean) {
    const { clock, broker, dead } = setUp()
    dead('a', 'b')
    const inner = broker.driver()
    const later = new Subject<DriverEvent>()
    let withheld: readonly PartitionAssignment[] = []
    const consume = (request: ConsumeRequest) =>
      merge(
        inner.consume(request).pipe(
          concatMap(event => {
            if (event.type !== 'assigned') return of(event)
            withheld = event.added.filter(({ topic }) => topic === 'dlq')
            const added = event.added.filter(({ topic }) => topic !== 'dlq')
            return of<DriverEvent[]>({ type: 'awaited', topics: new Set(['dlq']) }, { ...event, added })
          }),
        ),
        later,
      )
    const driver: Driver = new Proxy(inner, {
      get: (target, name) => {
        if (name === 'consume') return consume
        const value = Reflect.get(target, name, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    const client = createClient({ driver, group: 'billing', dlqTopic: 'dlq', logger: false, stallAfter: 2 ** 31 - 1 })
    const seen: string[] = []
    client.topic('orders', { dlq: true }).subscribe(record => {
      seen.push(String(record.value))
      record.ack()
    })
    client.start()
    const told: { last?: DlqReplayProgress; end?: string } = {}
    client.replayDlq().subscribe({
      next: progress => {
        told.last = progress
      },
      complete: () => {
        told.end = 'complete'
      },
    })
    clock.runTo(60_000)
    expect(told.end).toBeUndefined()
    if (held) later.next({ type: 'assigned', added: withheld, retained: [] })
    later.next({ type: 'awaited', topics: new Set() })
    clock.runTo(120_000)
    return { told, seen }
  }

  it('delivers their records before it completes', () => {
    const { told, seen } = early(true)
    expect(seen).toEqual(['a', 'b'])
    expect(told).toEqual({ last: { delivered: 2, skipped: 0, remaining: 0 }, end: 'complete' })
  })

  it('completes once no more are assigned', () => {
    const { told, seen } = early(false)
    expect(seen).toEqual([])
    expect(told).toEqual({ last: { delivered: 0, skipped: 0, remaining: 0 }, end: 'complete' })
  })

  it('waits for the positions option, for partitions with and without a position', () => {
    for (const isKept of [true, false]) {
      const { clock, broker, dead } = setUp()
      dead('a', 'b')
      const positions = new Subject<KeptPosition[]>()
      const client = createClient({
        ...{ driver: broker.driver(), group: 'billing', dlqTopic: 'dlq', logger: false, stallAfter: 2 ** 31 - 1 },
        positions: () => positions,
      })
      const seen: string[] = []
      client.topic('orders', { dlq: true }).subscribe(record => {
        seen.push(String(record.value))
        record.ack()
      })
      client.start()
      let end: string | undefined
      client.replayDlq().subscribe({
        complete: () => {
          end = 'complete'
        },
      })
      clock.runTo(60_000)
      expect([seen, end]).toEqual([[], undefined])
      positions.next(isKept ? [{ topic: 'dlq', partition: 0, offset: 1n }] : [])
      clock.runTo(120_000)
      expect([seen, end]).toEqual([isKept ? ['b'] : ['a', 'b'], 'complete'])
    }
  })
})
