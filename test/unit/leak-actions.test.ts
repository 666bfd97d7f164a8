import fc from 'fast-check'
import { bufferTime, delay, filter, type Observable, Subject, switchMap, takeUntil, tap, timer } from 'rxjs'
import {
  type Client,
  type ClientEvent,
  type ClientOptions,
  type ConsumeRecord,
  createClient,
  deadLetter as dead,
  deadLetterOf,
  fork,
  handle,
  LeakedRecordError,
  redeliver,
  type TopicOptions,
} from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { collectGarbage } from '../collect-garbage'

const realTurn = setImmediate

/** Lets a second pass and collects garbage. */
async function second(): Promise<void> {
  await vi.advanceTimersByTimeAsync(500)
  // A WeakRef keeps its object until the end of the turn in which it was read.
  await new Promise(resolve => realTurn(resolve))
  collectGarbage()
  await new Promise(resolve => realTurn(resolve))
  await vi.advanceTimersByTimeAsync(500)
}

async function seconds(count: number): Promise<void> {
  for (let at = 0; at < count; at++) await second()
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'] })
})
afterEach(async () => {
  const closed = clients.splice(0).map(client => client.close())
  await vi.advanceTimersByTimeAsync(60_000)
  await Promise.all(closed)
  vi.useRealTimers()
})

const clients: Client[] = []

function run(
  pipeline: (records: Observable<ConsumeRecord>, client: Client) => Observable<unknown>,
  options: ClientOptions,
  topic: TopicOptions | ((client: Client) => TopicOptions) = {},
  values: readonly (string | undefined)[] = [...'0123456789'],
) {
  const broker = memoryBroker()
  broker.publish(
    'orders',
    values.map(value => ({ value: value ?? null })),
  )
  const client = createClient({
    driver: broker.driver(),
    env: {},
    group: 'billing',
    retryTopic: 'retry',
    dlqTopic: 'dlq',
    logger: false,
    ...options,
  })
  clients.push(client)
  const events: ClientEvent[] = []
  client.events.subscribe(event => events.push(event))
  const records = client.topic('orders', typeof topic === 'function' ? topic(client) : topic)
  pipeline(records, client).subscribe({ error: () => {} })
  client.start()
  const of = <T extends ClientEvent['type']>(type: T) =>
    events.filter((event): event is Extract<ClientEvent, { type: T }> => event.type === type)
  return { broker, client, records, events: of, letters: () => broker.records('dlq').map(letterOf) }
}

type Stored = ReturnType<ReturnType<typeof memoryBroker>['records']>[number]

function letterOf(record: Stored) {
  return { value: String(record.value), ...deadLetterOf(record) }
}

const ackAllBut = (...values: string[]) =>
  tap((record: ConsumeRecord) => {
    if (!values.includes(String(record.value))) record.ack()
  })

describe('leaks: fail', { timeout: 60_000 }, () => {
  it('routes a dropped record: it is retried, and then dead-lettered with a LeakedRecordError', async () => {
    const { broker, client, events, letters } = run(
      records => records.pipe(ackAllBut('3', '7')),
      { leaks: 'fail' },
      {
        retries: 1,
        dlq: true,
      },
    )
    await seconds(8)
    expect(events('leaked').map(({ offset, topic }) => [topic, offset])).toEqual([
      ['orders', 3n],
      ['orders', 7n],
      ['retry', 0n],
      ['retry', 1n],
    ])
    const dropped = {
      group: 'billing',
      topic: 'orders',
      errorName: 'LeakedRecordError',
      stage: 'pipeline',
      disposition: 'exhausted',
      retries: 1,
    }
    expect(letters()).toMatchObject([
      { value: '3', offset: 3n, ...dropped },
      { value: '7', offset: 7n, ...dropped },
    ])
    expect(broker.committed('billing', 'orders', 0)).toBe(10n)
    expect(broker.committed('billing', 'retry', 0)).toBe(2n)
    expect(client.stalls()).toEqual([])
    const reason = events('dead-lettered')[0]!.reason as LeakedRecordError
    expect(reason).toBeInstanceOf(LeakedRecordError)
    expect(reason).toMatchObject({ code: 'RXMIKA_LEAKED_RECORD', topic: 'retry', partition: 0, offset: 0n })
    expect(reason.message).toContain('retry-0@0')
    expect(reason.message).toContain('keep() for filter')
  })

  it('ignores records that are still referenced by a buffer, a closure or a call', async () => {
    const held: ConsumeRecord[] = []
    const { broker, events, letters } = run(
      records =>
        records.pipe(
          tap(record => String(record.value) === '1' && held.push(record)),
          filter(record => String(record.value) !== '1'),
          bufferTime(4_000),
          filter(batch => batch.length > 0),
          delay(4_000),
          handle(() => timer(4_000)),
        ),
      { leaks: 'fail' },
      { dlq: true },
    )
    await seconds(14)
    expect(events('leaked')).toEqual([])
    expect(broker.committed('billing', 'orders', 0)).toBe(1n)
    expect(held[0]!.ack()).toBe(true)
    await seconds(1)
    expect(broker.committed('billing', 'orders', 0)).toBe(10n)
    expect(letters()).toEqual([])
  })

  it('detects each record of a dropped batch', async () => {
    const { events, letters } = run(
      records =>
        records.pipe(
          bufferTime(200),
          filter(batch => batch.length > 0 && batch.some(({ offset }) => offset > 100n)),
          handle(() => {}),
        ),
      { leaks: 'fail' },
      { dlq: true },
    )
    await seconds(4)
    expect(events('leaked')).toHaveLength(10)
    expect(letters().map(({ value }) => value)).toEqual([...'0123456789'])
  })

  it('detects records that switchMap dropped, and the call that it cancelled', async () => {
    const { letters, broker } = run(
      records => records.pipe(switchMap(record => timer(50).pipe(tap(() => record.ack())))),
      { leaks: 'fail' },
      { dlq: true },
    )
    await seconds(4)
    expect(letters().map(({ value }) => value)).toEqual([...'012345678'])
    expect(broker.committed('billing', 'orders', 0)).toBe(10n)
  })

  it('holds the record as unroutable if it has no route', async () => {
    const { client, events } = run(records => records.pipe(ackAllBut('0')), { leaks: 'fail' })
    const errors: unknown[] = []
    client.errors.subscribe(error => errors.push(error))
    await seconds(4)
    expect(events('leaked')).toHaveLength(1)
    expect(client.stalls()).toMatchObject([{ offset: 0n, why: 'unroutable' }])
    expect(errors).toMatchObject([{ code: 'RXMIKA_UNROUTABLE_FAILURE', cause: { code: 'RXMIKA_LEAKED_RECORD' } }])
  })

  it("fails a record of which a fork's branch dropped its part, once the other branches are done", async () => {
    const kept: ConsumeRecord[] = []
    const { client, events, letters } = run(
      records =>
        records.pipe(
          fork(
            source => source.pipe(ackAllBut('2')),
            source => source.pipe(tap(record => (record.offset === 2n ? kept.push(record) : record.ack()))),
          ),
        ),
      { leaks: 'fail' },
      { dlq: true },
    )
    await seconds(4)
    expect(events('leaked')).toMatchObject([{ offset: 2n }])
    expect(letters()).toEqual([])
    expect(client.stalls()).toMatchObject([{ offset: 2n, why: 'unsettled' }])
    expect(kept[0]!.ack()).toBe(true)
    await seconds(1)
    expect(letters()).toMatchObject([{ value: '2', errorName: 'LeakedRecordError', stage: 'pipeline' }])
    expect(client.stalls()).toEqual([])
  })

  it('fails a record of a nested fork likewise, with both reasons if another branch failed', async () => {
    const { events, letters } = run(
      records =>
        records.pipe(
          fork(
            fork(
              source => source.pipe(ackAllBut('2')),
              source => source.pipe(tap(record => record.ack())),
            ),
            source =>
              source.pipe(tap(record => (record.offset === 2n ? record.fail(new Error('declined')) : record.ack()))),
          ),
        ),
      { leaks: 'fail' },
      { dlq: true },
    )
    await seconds(4)
    expect(events('leaked')).toMatchObject([{ offset: 2n }])
    expect(letters()).toMatchObject([{ value: '2', errorName: 'AggregateError' }])
    const { errors } = events('dead-lettered')[0]!.reason as AggregateError
    expect(errors.map((error: Error) => error.name).sort()).toEqual(['Error', 'LeakedRecordError'])
  })

  it('emits `outrun` if a fork’s other path settles it after all', async () => {
    let late: ConsumeRecord | undefined
    const { events, letters } = run(
      records =>
        records.pipe(
          // Like a user's operator that drops its own reference and settles the record later.
          tap(record => {
            if (record.offset !== 4n) return record.ack()
            late = record
            const { handOut } = record as unknown as { handOut: (holder: { deref(): unknown }) => void }
            handOut.call(record, { deref: () => undefined })
            return
          }),
        ),
      { leaks: 'fail' },
      { dlq: true },
    )
    await seconds(3)
    expect(letters()).toMatchObject([{ value: '4' }])
    expect(late!.ack()).toBe(false)
    expect(events('outrun')).toMatchObject([{ offset: 4n, first: 'fail', then: 'ack' }])
  })

  it('lets a graceful close end that waits for dropped records', async () => {
    const { client, broker, letters } = run(records => records.pipe(ackAllBut('9')), { leaks: 'fail' }, { dlq: true })
    await second()
    const closed = client.closeGracefully({ timeout: 20_000 })
    await seconds(5)
    expect(await closed).toMatchObject({ drained: true, unsettled: 0 })
    expect(letters()).toMatchObject([{ value: '9' }])
    expect(broker.committed('billing', 'orders', 0)).toBe(10n)
  })

  it('forgets dropped records when their partition is revoked, and detects them again after their next delivery', async () => {
    const { broker, events, letters } = run(records => records.pipe(ackAllBut('5')), { leaks: 'fail' }, { dlq: true })
    await second()
    broker.lose('billing', 'orders', 0)
    await seconds(6)
    expect(events('leaked').every(({ offset }) => offset === 5n)).toBe(true)
    expect(letters().length).toBeGreaterThanOrEqual(1)
    expect(letters().every(({ value }) => value === '5')).toBe(true)
    expect(broker.committed('billing', 'orders', 0)).toBe(10n)
  })
})

describe('leaks: redeliver', { timeout: 60_000 }, () => {
  it('redelivers a dropped record as the next attempt, three times, and then fails it', async () => {
    const attempts: number[] = []
    const { broker, events, letters } = run(
      records =>
        records.pipe(
          tap(({ offset, attempt }) => offset === 4n && attempts.push(attempt)),
          ackAllBut('4'),
        ),
      { leaks: 'redeliver' },
      { dlq: true },
    )
    await seconds(12)
    expect(attempts).toEqual([1, 2, 3, 4])
    expect(events('leaked').map(({ offset }) => offset)).toEqual([4n, 4n, 4n, 4n])
    expect(letters()).toMatchObject([{ value: '4', errorName: 'LeakedRecordError', stage: 'pipeline', retries: 0 }])
    expect(broker.committed('billing', 'orders', 0)).toBe(10n)
  })

  it('ends when the next attempt is settled, and delays nothing meanwhile', async () => {
    const { broker, client, letters } = run(
      records =>
        records.pipe(
          tap(record => {
            if (record.offset !== 0n || record.attempt === 3) record.ack()
          }),
        ),
      { leaks: 'redeliver' },
      { dlq: true, maxInFlight: 2 },
    )
    await seconds(8)
    expect(broker.committed('billing', 'orders', 0)).toBe(10n)
    expect(letters()).toEqual([])
    expect(client.stalls()).toEqual([])
  })

  it('waits for a fork’s other branches, so that none handles the record twice at a time', async () => {
    const kept: ConsumeRecord[] = []
    const seen: number[] = []
    const { broker, client } = run(
      records =>
        records.pipe(
          fork(
            source => source.pipe(tap(record => (record.attempt > 1 || record.offset !== 2n) && record.ack())),
            source =>
              source.pipe(
                tap(record => {
                  if (record.offset !== 2n) return record.ack()
                  seen.push(record.attempt)
                  kept.push(record)
                  return
                }),
              ),
          ),
        ),
      { leaks: 'redeliver' },
    )
    await seconds(4)
    expect(seen).toEqual([1])
    kept.shift()!.ack()
    await seconds(2)
    expect(seen).toEqual([1, 2])
    kept.shift()!.ack()
    await seconds(1)
    expect(broker.committed('billing', 'orders', 0)).toBe(10n)
    expect(client.stalls()).toEqual([])
  })

  it('counts separately from a route that redelivers: each has its own limit', async () => {
    const attempts: number[] = []
    const { letters } = run(
      records =>
        records.pipe(
          tap(({ offset, attempt }) => offset === 0n && attempts.push(attempt)),
          ackAllBut('0'),
        ),
      { leaks: 'redeliver' },
      client => ({ onFail: records => records.pipe(redeliver(client, { attempts: 6 }), dead(client)) }),
    )
    await seconds(16)
    // Three times as a leak. Then it goes through its route, with two of six attempts left.
    expect(attempts).toEqual([1, 2, 3, 4, 5, 6])
    expect(letters()).toMatchObject([{ value: '0' }])
  })

  it('redelivers nothing twice if a subscription ends meanwhile', async () => {
    const stop = new Subject<void>()
    const { records, broker } = run(records => records.pipe(ackAllBut('0'), takeUntil(stop)), { leaks: 'redeliver' })
    await seconds(3)
    stop.next()
    const again: ConsumeRecord[] = []
    records.subscribe(record => again.push(record))
    await seconds(3)
    expect(again.map(({ offset }) => offset)).toEqual([0n])
    expect(again[0]!.ack()).toBe(true)
    await second()
    expect(broker.committed('billing', 'orders', 0)).toBe(10n)
  })
})

describe('leaks, whatever is dropped and whenever partitions are revoked', { timeout: 120_000 }, () => {
  it.each(['fail', 'redeliver'] as const)(
    '%s: nothing is lost, and nothing that was acked is dead-lettered',
    async leaks => {
      await fc.assert(
        fc.asyncProperty(
          fc.uniqueArray(fc.integer({ min: 0, max: 19 })),
          fc.array(fc.constantFrom('nothing', 'revoke', 'lose', 'resubscribe'), { maxLength: 3 }),
          async (dropped, happenings) => {
            const acked = new Set<string>()
            const stop = new Subject<void>()
            const values = Array.from({ length: 20 }, (_, at) => String(at))
            const pipe = (records: Observable<ConsumeRecord>) =>
              records.pipe(
                tap(record => {
                  if (dropped.includes(Number(String(record.value)))) return
                  if (record.ack()) acked.add(String(record.value))
                }),
                takeUntil(stop),
              )
            const { broker, records, letters, client } = run(pipe, { leaks }, { dlq: true }, values)
            for (const what of happenings) {
              await second()
              if (what === 'revoke') broker.revoke('billing', 'orders', 0)
              if (what === 'lose') broker.lose('billing', 'orders', 0)
              if (what === 'resubscribe') {
                stop.next()
                pipe(records).subscribe()
              }
            }
            await seconds(leaks === 'fail' ? 4 : 12)
            expect([...acked].sort()).toEqual(values.filter(value => !dropped.includes(Number(value))).sort())
            const dead = new Set(letters().map(({ value }) => value))
            expect([...dead].sort()).toEqual(dropped.map(String).sort())
            expect(broker.committed('billing', 'orders', 0)).toBe(20n)
            expect(client.stalls()).toEqual([])
            const closed = client.close()
            await seconds(1)
            await closed
          },
        ),
        { numRuns: 5 },
      )
    },
  )
})
