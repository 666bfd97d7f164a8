import { createRequire } from 'node:module'
import { pino } from 'pino'
import { lastValueFrom, NEVER, type Observable, Subject, throwError, toArray, VirtualTimeScheduler } from 'rxjs'
import { TestScheduler } from 'rxjs/testing'
import { describe, expect, it } from 'vitest'
import type { CommitPoint } from '../../src/commit-point.js'
import type { ConsumeRequest, Driver, DriverEvent, PartitionAssignment } from '../../src/driver.js'
import { type MemoryBroker, type MemoryBrokerOptions, memoryBroker } from '../../src/drivers/memory/index.js'
import { stickyAssignment } from '../../src/drivers/memory/sticky-assignment.js'
import { CommitError, ConfigurationError, FetchError, PublishError } from '../../src/errors.js'
import { partitionOfKey } from '../../src/partitioner.js'
import type { ProduceResult } from '../../src/produce-result.js'
import type { ProduceRecord, PublishRecord } from '../../src/publish.js'
import { type Delay, produced } from '../produced.js'
import { unencodable } from '../unencodable.js'

const logger = pino({ level: 'silent' })

/** A broker in virtual time. `run` runs everything that is due, and ends. */
function virtual(options: MemoryBrokerOptions = {}) {
  const scheduler = new VirtualTimeScheduler()
  const broker = memoryBroker({ scheduler, ...options })
  return {
    broker,
    scheduler,
    at: (time: number, work: () => void) => scheduler.schedule(work, time - scheduler.now()),
    run: () => scheduler.flush(),
  }
}

interface Member {
  readonly driver: Driver
  readonly events: DriverEvent[]
  /** One line per event, with the values of its records. */
  readonly lines: string[]
  /** Delivered values, as `topic-partition:value`. */
  readonly values: string[]
  readonly owned: Map<string, PartitionAssignment>
  error: unknown
  completed: boolean
  unsubscribe(): void
}

interface MemberOptions extends Partial<ConsumeRequest> {
  /** Whether assigned partitions are resumed. Defaults to true. */
  readonly resume?: boolean
  readonly hold?: () => Observable<unknown>
  readonly on?: (event: DriverEvent, member: Member) => void
}

function name(assignment: PartitionAssignment) {
  return `${assignment.topic}-${assignment.partition}`
}

function names(assignments: readonly PartitionAssignment[]) {
  return assignments.map(name).join(' ')
}

function consume(broker: MemoryBroker, options: MemberOptions = {}): Member {
  const driver = broker.driver()
  const { resume = true, hold, on, ...request } = options
  const member: Member = {
    driver,
    events: [],
    lines: [],
    values: [],
    owned: new Map(),
    error: undefined,
    completed: false,
    unsubscribe: () => subscription.unsubscribe(),
  }
  const source = driver.consume({
    group: 'g',
    topics: ['t'],
    startFrom: 'earliest',
    rebalanceTimeout: 1_000,
    sessionTimeout: 5_000,
    heartbeatInterval: 100,
    ...request,
  })
  const subscription = source.subscribe({
    next: event => {
      member.events.push(event)
      member.lines.push(line(event))
      if (event.type === 'assigned') {
        for (const added of event.added) member.owned.set(name(added), added)
        if (resume) driver.resume(event.added)
      }
      if (event.type === 'batch') {
        for (let index = event.from; index < event.batch.count; index++) {
          member.values.push(`${name(event.assignment)}:${event.batch.value(index)}`)
        }
      }
      if (event.type === 'revoking' && hold !== undefined) event.hold(hold())
      on?.(event, member)
    },
    error: error => {
      member.error = error
    },
    complete: () => {
      member.completed = true
    },
  })
  return member
}

function line(event: DriverEvent): string {
  switch (event.type) {
    case 'assigned':
      return `assigned [${names(event.added)}] retained [${names(event.retained)}]`
    case 'batch': {
      const values = Array.from({ length: event.batch.count }, (_, index) => String(event.batch.value(index)))
      return `batch ${name(event.assignment)} [${values.slice(event.from).join(' ')}] to ${event.batch.lastOffset}`
    }
    case 'trouble':
    case 'unreadable':
      return `${event.type} ${event.error.message}`
    case 'disconnected':
    case 'reconnected':
    case 'restarted':
    case 'confirmed':
    case 'awaited':
      return event.type
    default:
      return `${event.type} [${names(event.assignments)}]`
  }
}

function commit(member: Member, point: Omit<CommitPoint, 'topic'> & { topic?: string }) {
  const answer: { state: 'pending' | 'done' | 'failed'; error?: unknown } = { state: 'pending' }
  member.driver.commit([{ topic: 't', ...point }]).subscribe({
    complete: () => {
      answer.state = 'done'
    },
    error: error => {
      answer.state = 'failed'
      answer.error = error
    },
  })
  return answer
}

function produce(driver: Driver, ...values: string[]) {
  const results: ProduceResult[] = []
  produced(
    driver,
    values.map(value => ({ topic: 't', value })),
  ).subscribe(answer => results.push(...answer))
  return results
}

describe('records', () => {
  it('keeps bytes unchanged, whatever happens to the buffers of writer and reader', () => {
    const { broker, run } = virtual()
    const value = Buffer.from('abc')
    const headers = [
      ['a', Buffer.from('1')],
      ['__proto__', null],
      ['a', Buffer.from('2')],
    ] as const
    broker.publish('t', { key: 'k', value, headers, timestamp: 7 })
    value.fill(0)
    const member = consume(broker)
    run()
    const event = member.events.find(event => event.type === 'batch')!
    expect(event.batch.headers(0)).toEqual(headers)
    event.batch.value(0)!.fill(0)
    const [record] = broker.records('t')
    expect(record).toMatchObject({ topic: 't', partition: 0, offset: 0n, timestamp: 7 })
    expect(String(record!.value)).toBe('abc')
    expect(Object.keys(record!.headers)).toEqual(['a', '__proto__'])
    expect(record!.headers.a).toEqual([Buffer.from('1'), Buffer.from('2')])
    expect(Object.getOwnPropertyDescriptor(record!.headers, '__proto__')?.value).toBeNull()
    const copy = event.batch.copy(0)
    expect([copy.count, copy.offset(0), copy.lastOffset, copy.timestamp(0), String(copy.key(0))]).toEqual([
      1,
      0,
      0,
      7,
      'k',
    ])
  })

  it('chooses partitions as kafkajs does', () => {
    const { Partitioners } = createRequire(import.meta.url)('kafkajs')
    const partitioner = Partitioners.DefaultPartitioner()
    const partitionMetadata = Array.from({ length: 7 }, (_, partitionId) => ({ partitionId, leader: 1 }))
    for (let seed = 0; seed < 500; seed++) {
      const key = Buffer.from(Array.from({ length: seed % 23 }, (_, at) => (seed * 31 + at * 97 + (seed >> 3)) & 0xff))
      expect(partitionOfKey(key, 7)).toBe(partitioner({ topic: 't', partitionMetadata, message: { key } }))
    }
  })

  it('spreads records without a key in turns, and sorts by partition and offset', () => {
    const { broker } = virtual({ partitions: { t: 2 } })
    const places = broker.publish('t', [{ value: 'a' }, { value: 'b' }, { value: 'c' }, { value: 'd', partition: 0 }])
    expect(places.map(({ partition, offset }) => [partition, offset])).toEqual([
      [0, 0n],
      [1, 0n],
      [0, 1n],
      [0, 2n],
    ])
    expect(broker.records('t').map(record => String(record.value))).toEqual(['a', 'c', 'd', 'b'])
    expect(broker.topics()).toEqual(new Map([['t', 2]]))
  })

  it('stamps records with the time of the scheduler', () => {
    const { broker, at, run } = virtual()
    at(40, () => broker.publish('t', { value: 'a' }))
    run()
    expect(broker.records('t')[0]!.timestamp).toBe(40)
  })

  it('compacts to the newest of each key', () => {
    const { broker } = virtual()
    broker.publish('t', [
      { key: 'a', value: '1' },
      { key: 'b', value: '2' },
      { key: 'a', value: '3' },
    ])
    broker.compact('t', 0)
    expect(broker.records('t').map(record => record.offset)).toEqual([1n, 2n])
  })
})

describe('records and commits of the broker', () => {
  it('emit every record as it is written, before its writer gets an answer', () => {
    const { broker, run } = virtual({ maxRecordBytes: 1 })
    const told: string[] = []
    broker.written.subscribe(({ partition, offset, value }) => told.push(`${partition}@${offset} ${value}`))
    const [, results] = [broker.publish('t', { value: 'a' }), produce(broker.driver(), 'b', 'too large', 'c')]
    expect(told).toEqual(['0@0 a'])
    broker.written.subscribe(() => expect(results).toEqual([]))
    run()
    expect(told).toEqual(['0@0 a', '0@1 b', '0@2 c'])
    expect(results).toHaveLength(3)
  })

  it('emit every position that a group accepts, and none that it refuses', () => {
    const { broker, at, run } = virtual({ partitions: 2 })
    const told: unknown[] = []
    broker.commits.subscribe(commit => told.push(commit))
    const member = consume(broker)
    at(1, () => commit(member, { partition: 1, offset: 3n, metadata: 'm' }))
    at(2, () => {
      broker.failNext('commit', 'no')
      commit(member, { partition: 1, offset: 4n })
    })
    at(3, () => commit(member, { partition: 0, offset: 1n }))
    run()
    expect(told).toEqual([
      { group: 'g', topic: 't', partition: 1, offset: 3n, metadata: 'm' },
      { group: 'g', topic: 't', partition: 0, offset: 1n, metadata: '' },
    ])
  })
})

describe('producing', () => {
  it('answers in order once written, after the latency', () => {
    const { broker, run, scheduler } = virtual({ latency: 5 })
    const answers: [number, unknown][] = []
    const driver = broker.driver()
    produced(driver, [
      { topic: 't', value: 'a' },
      { topic: 'u', value: 'b' },
      { topic: 't', value: 'c' },
    ]).subscribe(results => answers.push([scheduler.now(), results]))
    expect(broker.records('t')).toEqual([])
    run()
    expect(answers).toEqual([
      [
        5,
        [
          { ok: true, topic: 't', partition: 0, offset: 0n },
          { ok: true, topic: 'u', partition: 0, offset: 0n },
          { ok: true, topic: 't', partition: 0, offset: 1n },
        ],
      ],
    ])
  })

  it('refuses invalid records one by one, and retries temporary refusals', () => {
    const { broker, run, at } = virtual({ autoCreate: false, maxRecordBytes: 3 })
    broker.createTopic('t', 1)
    const settled: unknown[] = []
    const delays: Delay[] = []
    const records = [
      { topic: 'absent', value: 'a' },
      { topic: 't', value: 'abcd' },
      { topic: 't', value: 'a', partition: 9 },
      { topic: 't', value: 'ok' },
    ]
    const driver = broker.driver()
    for (const [at, record] of records.entries()) {
      produced(driver, [record], delay => delays.push({ ...delay, index: at })).subscribe(([result]) =>
        settled.push([at, result!.ok ? result!.offset : result!.error.retriable]),
      )
    }
    at(50, () => {
      expect(settled).toEqual([
        [1, false],
        [2, false],
        [3, 0n],
      ])
      broker.createTopic('absent', 1)
    })
    run()
    expect(settled.at(-1)).toEqual([0, 0n])
    expect(delays).toMatchObject([{ index: 0, lasting: true, error: { retriable: true, topic: 'absent' } }])
    expect(() => broker.publish('other', { value: 'a' })).toThrow(PublishError)
  })

  it('refuses for good a record that cannot be encoded, and only that', () => {
    const { broker, run } = virtual()
    const results: ProduceResult[] = []
    const odd = unencodable.map(([record]) => ({ topic: 't', value: 'v', ...record }) as PublishRecord)
    produced(broker.driver(), [{ topic: 't', value: 'a' }, ...odd, { topic: 't', value: 'b' }]).subscribe(all =>
      results.push(...all),
    )
    run()
    expect(broker.records('t').map(({ value }) => String(value))).toEqual(['a', 'b'])
    unencodable.forEach(([, why], at) => {
      expect(results[at + 1]).toMatchObject({ ok: false, error: { retriable: false, topic: 't' } })
      expect(results[at + 1]).toMatchObject({ error: { message: expect.stringContaining(why) } })
    })
  })

  it("refuses records that a topic's configuration excludes, with Kafka's reason", () => {
    const { broker, run } = virtual()
    broker.createTopic('t', 1, { maxRecordBytes: 100, timestampAfterMax: 10, timestampBeforeMax: 20, compacted: true })
    const results: ProduceResult[] = []
    const record = { topic: 't', key: 'k', value: 'v' }
    const headers = { h: 'x'.repeat(100) }
    const records: ProduceRecord[] = [
      record,
      { ...record, headers },
      { ...record, headers, compression: 'gzip' },
      ...[-1, 10, 11, -20, -21].map(timestamp => ({ ...record, timestamp })),
      { ...record, key: null },
    ]
    produced(broker.driver(), records).subscribe(answer => results.push(...answer))
    run()
    const told = results.map(result => (result.ok ? 'written' : `${result.error.reason} ${result.error.retriable}`))
    expect(told).toEqual([
      ...['written', 'MESSAGE_TOO_LARGE false', 'written'],
      ...['written', 'written', 'INVALID_TIMESTAMP false', 'written', 'INVALID_TIMESTAMP false'],
      'INVALID_RECORD false',
    ])
  })

  it('waits while the broker is away, and does not write records cancelled meanwhile', () => {
    const { broker, run, at } = virtual()
    const driver = broker.driver()
    broker.disconnect()
    const results = produce(driver, 'a')
    const taken = produced(driver, [{ topic: 't', value: 'b' }]).subscribe()
    at(10, () => taken.unsubscribe())
    at(20, () => broker.reconnect())
    run()
    expect(results).toEqual([{ ok: true, topic: 't', partition: 0, offset: 0n }])
    expect(broker.records('t').map(record => [String(record.value), record.timestamp])).toEqual([['a', 20]])
  })

  it('writes records in flight even after they are unsubscribed', () => {
    const { broker, run, at } = virtual({ latency: 5 })
    const sent = produced(broker.driver(), [{ topic: 't', value: 'a' }]).subscribe()
    at(1, () => sent.unsubscribe())
    run()
    expect(broker.records('t')).toHaveLength(1)
  })

  it('fails once with failNext, and retries in the order of its partition', () => {
    const { broker, run, at } = virtual({ partitions: 2 })
    const driver = broker.driver()
    const final = new PublishError('too large', { retriable: false })
    const told: unknown[] = []
    const send = (value: string, partition: number) =>
      produced(driver, [{ topic: 't', value, partition }], ({ error }) => told.push([value, error.message])).subscribe(
        ([result]) => told.push([value, result!.ok ? result!.offset : result!.error]),
      )
    broker.failNext('produce', new Error('boom'))
    send('a', 0)
    at(10, () => send('b', 0))
    at(20, () => send('c', 1))
    at(30, () => broker.failNext('produce', final))
    at(31, () => send('d', 1))
    run()
    expect(told).toEqual([
      ['a', 'publishing failed: boom'],
      ['c', 0n],
      ['d', final],
      ['a', 0n],
      ['b', 1n],
    ])
  })
})

describe('delivery', () => {
  it('delivers nothing before resume, and nothing inside a call', () => {
    const { broker, run } = virtual()
    broker.publish('t', [{ value: 'a' }, { value: 'b' }])
    const member = consume(broker, { resume: false })
    expect(member.lines).toEqual([])
    run()
    expect(member.lines).toEqual(['assigned [t-0] retained []'])
    member.driver.resume([...member.owned.values()])
    expect(member.lines).toHaveLength(1)
    run()
    expect(member.lines.slice(1)).toEqual(['batch t-0 [a b] to 1'])
    broker.publish('t', { value: 'c' })
    expect(member.lines).toHaveLength(2)
    run()
    expect(member.lines.slice(2)).toEqual(['batch t-0 [c] to 2'])
  })

  it('pauses at once, and continues without gap or repetition', () => {
    const { broker, run } = virtual({ maxBatchRecords: 2 })
    broker.publish(
      't',
      Array.from({ length: 6 }, (_, at) => ({ value: String(at) })),
    )
    let paused = false
    const member = consume(broker, {
      on: (event, { driver }) => {
        if (event.type !== 'batch' || paused) return
        paused = true
        driver.pause([event.assignment])
      },
    })
    run()
    expect(member.values).toEqual(['t-0:0', 't-0:1'])
    broker.publish('t', { value: '6' })
    run()
    expect(member.values).toHaveLength(2)
    member.driver.resume([...member.owned.values()])
    run()
    expect(member.values).toEqual([0, 1, 2, 3, 4, 5, 6].map(value => `t-0:${value}`))
    expect(member.lines.slice(1)).toEqual([
      'batch t-0 [0 1] to 1',
      'batch t-0 [2 3] to 3',
      'batch t-0 [4 5] to 5',
      'batch t-0 [6] to 6',
    ])
  })

  it('covers markers and compacted records, with an empty batch if only those remain', () => {
    const { broker, run } = virtual()
    broker.publish('t', [{ value: 'a' }, { value: 'b' }, { value: 'c' }])
    broker.appendMarker('t', 0)
    broker.publish('t', [{ value: 'd' }])
    broker.compact('t', 0, [0, 4])
    broker.appendMarker('t', 0)
    const member = consume(broker)
    run()
    expect(member.lines.slice(1)).toEqual(['batch t-0 [a d] to 5'])
    broker.appendMarker('t', 0)
    run()
    expect(member.lines.slice(2)).toEqual(['batch t-0 [] to 6'])
    commit(member, { partition: 0, offset: 7n })
    run()
    expect(broker.lag('g', 't')).toBe(0)
  })

  it('extends to the next record if the batch ends before a gap', () => {
    const { broker, run } = virtual({ maxBatchRecords: 1 })
    broker.publish('t', [{ value: 'a' }, { value: 'b' }, { value: 'c' }])
    broker.compact('t', 0, record => record.offset !== 1n)
    const member = consume(broker)
    run()
    expect(member.lines.slice(1)).toEqual(['batch t-0 [a] to 1', 'batch t-0 [c] to 2'])
  })

  it('begins a first fetch with records that were written together, and reports the position', () => {
    const { broker, run } = virtual()
    broker.publish('t', { value: 'alone' })
    broker.publish('t', [{ value: 'a' }, { value: 'b' }, { value: 'c' }])
    const first = consume(broker)
    run()
    commit(first, { partition: 0, offset: 3n })
    run()
    first.unsubscribe()
    const second = consume(broker)
    run()
    const event = second.events.find(event => event.type === 'batch')!
    expect([event.batch.count, event.from, event.batch.offset(0), event.assignment.position]).toEqual([3, 2, 1, 3])
    expect(second.values).toEqual(['t-0:c'])
  })

  it('reports a failed fetch, and continues', () => {
    const { broker, run } = virtual()
    broker.publish('t', { value: 'a' })
    broker.failNext('fetch', new Error('boom'))
    const member = consume(broker)
    run()
    expect(member.lines.slice(1)).toEqual(['trouble fetching from t-0@0 failed: boom', 'batch t-0 [a] to 0'])
    expect(member.events[1]).toMatchObject({ error: expect.any(FetchError) })
  })

  it('continues where it was after an outage', () => {
    const { broker, run, at } = virtual()
    broker.publish('t', { value: 'a' })
    const member = consume(broker)
    run()
    at(10, () => broker.disconnect())
    at(20, () => broker.publish('t', { value: 'b' }))
    at(25, () => expect(member.values).toEqual(['t-0:a']))
    at(30, () => broker.reconnect())
    run()
    expect(member.lines.slice(2)).toEqual(['disconnected', 'reconnected', 'batch t-0 [b] to 1'])
  })
})

describe('start positions', () => {
  it('starts at the earliest, the latest or a date', () => {
    const { broker, run } = virtual()
    broker.publish('t', [
      { value: 'a', timestamp: 100 },
      { value: 'b', timestamp: 200 },
      { value: 'c', timestamp: 300 },
    ])
    broker.deleteBefore('t', 0, 1)
    let groups = 0
    const position = (startFrom: ConsumeRequest['startFrom']) => {
      const member = consume(broker, { group: `g${groups++}`, startFrom })
      run()
      return member.owned.get('t-0')!.position
    }
    expect(position('earliest')).toBe(1)
    expect(position('latest')).toBe(3)
    expect(position(new Date(250))).toBe(2)
    expect(position(new Date(301))).toBe(3)
  })

  it('keeps the start position if that was the end', () => {
    const { broker, run } = virtual()
    broker.publish('t', { value: 'before' })
    const first = consume(broker, { startFrom: 'latest', resume: false })
    run()
    expect(broker.committed('g', 't', 0)).toBe(1n)
    first.unsubscribe()
    broker.publish('t', { value: 'between' })
    const second = consume(broker, { startFrom: 'latest' })
    run()
    expect(second.values).toEqual(['t-0:between'])
  })

  it("requires a committed position with startFrom: 'committed'", () => {
    const { broker, run } = virtual()
    broker.publish('t', { value: 'a' })
    const member = consume(broker, { startFrom: 'committed' })
    run()
    expect(member.error).toBeInstanceOf(ConfigurationError)
    expect(String(member.error)).toContain('t-0')
    expect(broker.group('g')!.members).toEqual([])
  })

  it('reports old and new position if the committed position is out of range', () => {
    const { broker, run } = virtual()
    broker.publish('t', [{ value: 'a' }, { value: 'b' }, { value: 'c' }])
    const first = consume(broker)
    run()
    commit(first, { partition: 0, offset: 1n, metadata: 'm' })
    run()
    first.unsubscribe()
    broker.deleteBefore('t', 0, 2)
    const second = consume(broker)
    run()
    expect(second.lines).toEqual([
      'trouble the position t-0@1 is out of range (2 to 3); reading goes on at 2',
      'assigned [t-0] retained []',
      'batch t-0 [c] to 2',
    ])
    expect(second.owned.get('t-0')).toMatchObject({ position: 2, metadata: '' })
  })

  it('reports that too if retention overtakes a slow reader', () => {
    const { broker, run } = virtual()
    broker.publish('t', [{ value: 'a' }, { value: 'b' }])
    const member = consume(broker, { resume: false })
    run()
    broker.deleteBefore('t', 0, 1)
    member.driver.resume([...member.owned.values()])
    run()
    expect(member.lines.slice(1)).toEqual([
      'trouble the position t-0@0 is out of range (1 to 2); reading goes on at 1',
      'batch t-0 [b] to 1',
    ])
  })

  it('reads every partition without a group, and leaves nothing behind', () => {
    const { broker, run } = virtual({ partitions: 2 })
    broker.publish('t', [{ value: 'a' }, { value: 'b' }])
    const member = consume(broker, { group: undefined })
    run()
    expect(member.values).toEqual(['t-0:a', 't-1:b'])
    const answer = commit(member, { partition: 0, offset: 1n })
    let left = false
    run()
    member.driver.leave().subscribe({
      complete: () => {
        left = true
      },
    })
    run()
    expect(answer).toMatchObject({ state: 'failed', error: { retriable: false } })
    expect([left, member.completed]).toEqual([true, true])
    expect(member.lines.at(-1)).toBe('revoked [t-0 t-1]')
    expect(broker.committed('g', 't', 0)).toBeUndefined()
  })
})

describe('committing', () => {
  it('keeps position and metadata for the next assignment', () => {
    const { broker, run } = virtual()
    broker.publish('t', [{ value: 'a' }, { value: 'b' }])
    const first = consume(broker)
    run()
    const answer = commit(first, { partition: 0, offset: 1n, metadata: 'm', assignment: first.owned.get('t-0')! })
    expect(answer.state).toBe('pending')
    run()
    expect(answer.state).toBe('done')
    expect(broker.committed('g', 't', 0)).toBe(1n)
    expect(broker.committedMetadata('g', 't', 0)).toBe('m')
    expect(broker.lag('g', 't')).toBe(1)
    first.unsubscribe()
    const second = consume(broker)
    run()
    expect(second.owned.get('t-0')).toMatchObject({ position: 1, metadata: 'm' })
    expect(second.values).toEqual(['t-0:b'])
  })

  it('never sends a point whose assignment has ended', () => {
    const { broker, run } = virtual()
    broker.publish('t', { value: 'a' })
    const member = consume(broker)
    run()
    const old = member.owned.get('t-0')!
    broker.revoke('g', 't', 0)
    run()
    expect(old.ended).toBe(true)
    broker.failNext('commit', new Error('not for this one'))
    const answer = commit(member, { partition: 0, offset: 1n, assignment: old })
    run()
    expect(answer.state).toBe('done')
    expect(broker.committed('g', 't', 0)).toBeUndefined()
    const next = commit(member, { partition: 0, offset: 1n, assignment: member.owned.get('t-0')! })
    run()
    expect(next).toMatchObject({ state: 'failed', error: { message: 'committing failed: not for this one' } })
  })

  it('refuses a commit that arrives in a later generation', () => {
    const { broker, run, at } = virtual({ latency: 10 })
    broker.publish('t', { value: 'a' })
    const member = consume(broker)
    run()
    let answer: ReturnType<typeof commit> | undefined
    const start = 1_000
    at(start, () => broker.revoke('g', 't', 0)) // given up at 1010, assigned at 1020
    at(start + 15, () => {
      answer = commit(member, { partition: 0, offset: 1n, assignment: member.owned.get('t-0')! })
    })
    run()
    expect(answer).toMatchObject({ state: 'failed', error: expect.any(CommitError) })
    expect(String(answer!.error)).toContain('ILLEGAL_GENERATION')
    expect(broker.committed('g', 't', 0)).toBeUndefined()
  })

  it('fails while the broker is away, before joining, and after failNext', () => {
    const { broker, run } = virtual()
    const member = consume(broker)
    const early = commit(member, { partition: 0, offset: 0n })
    run()
    broker.disconnect()
    const away = commit(member, { partition: 0, offset: 0n })
    run()
    broker.reconnect()
    const final = new CommitError('never', { retriable: false })
    broker.failNext('commit', final)
    const ordered = commit(member, { partition: 0, offset: 0n })
    run()
    const large = commit(member, { partition: 0, offset: 0n, metadata: 'x'.repeat(5_000) })
    run()
    expect([early, away, ordered, large].map(answer => answer.state)).toEqual(Array(4).fill('failed'))
    expect([early, away, ordered, large].map(answer => (answer.error as CommitError).retriable)).toEqual([
      true,
      true,
      false,
      true,
    ])
  })
})

describe('groups', () => {
  it('shares partitions out when a member joins, moving no more than it must', () => {
    const { broker, run, at } = virtual({ partitions: 4 })
    const first = consume(broker)
    run()
    const before = new Map(first.owned)
    let second: Member | undefined
    at(100, () => {
      second = consume(broker)
    })
    run()
    expect(first.lines).toEqual([
      'assigned [t-0 t-1 t-2 t-3] retained []',
      'revoking [t-0 t-1 t-2 t-3]',
      'revoked [t-0 t-1]',
      'assigned [] retained [t-2 t-3]',
    ])
    expect(second!.lines).toEqual(['assigned [t-0 t-1] retained []'])
    expect([...before.values()].map(assignment => assignment.ended)).toEqual([true, true, false, false])
    expect(broker.group('g')).toMatchObject({ state: 'stable', generation: 2 })
    expect(broker.group('g')!.members.map(member => member.assignments.length)).toEqual([2, 2])
  })

  it('waits until partitions are released, without deliveries but with commits', () => {
    const { broker, run, at, scheduler } = virtual({ partitions: 2 })
    const held = new Subject<void>()
    const first = consume(broker, { hold: () => held })
    let second: Member | undefined
    let answer: ReturnType<typeof commit> | undefined
    at(100, () => {
      second = consume(broker)
    })
    at(200, () => broker.publish('t', [{ value: 'a' }, { value: 'b' }]))
    at(300, () => {
      expect(first.values).toEqual([])
      answer = commit(first, { partition: 0, offset: 1n, assignment: first.owned.get('t-0')! })
    })
    at(400, () => {
      expect(second!.lines).toEqual([])
      held.complete()
      expect(scheduler.now()).toBe(400)
    })
    at(401, () => expect(second!.lines[0]).toBe('assigned [t-0] retained []'))
    run()
    expect(answer!.state).toBe('done')
    expect(second!.owned.get('t-0')!.position).toBe(1)
    expect(first.values).toEqual(['t-1:b'])
    expect(second!.values).toEqual([])
  })

  it('waits no longer than the rebalance time-out, and not for a member that fails', () => {
    const { broker, run, at, scheduler } = virtual({ partitions: 2 })
    let joined = 0
    consume(broker, { hold: () => NEVER, rebalanceTimeout: 500 })
    const failing = consume(broker, { hold: () => throwError(() => new Error('boom')) })
    at(100, () =>
      consume(broker, {
        on: event => {
          if (event.type === 'assigned') joined = scheduler.now()
        },
      }),
    )
    run()
    expect(joined).toBe(600)
    expect(failing.error).toBeUndefined()
  })

  it('revokes gracefully, and assigns again to the only member', () => {
    const { broker, run, at } = virtual({ partitions: 2 })
    broker.publish('t', [{ value: 'a' }, { value: 'b' }])
    const member = consume(broker)
    run()
    const [old, kept] = [member.owned.get('t-0')!, member.owned.get('t-1')!]
    at(100, () => broker.revoke('g', 't', 0))
    run()
    expect(member.lines.slice(3)).toEqual([
      'revoking [t-0 t-1]',
      'revoked [t-0]',
      'assigned [t-0] retained [t-1]',
      'batch t-0 [a] to 0',
    ])
    expect(member.owned.get('t-0')).not.toBe(old)
    expect([old.ended, kept.ended]).toEqual([true, false])
  })

  it('gives a revoked partition to another member', () => {
    const { broker, run } = virtual({ partitions: 2 })
    const first = consume(broker)
    const second = consume(broker)
    run()
    broker.revoke('g', 't', 0)
    run()
    expect(first.lines.at(-1)).toBe('assigned [] retained []')
    expect(second.lines.at(-1)).toBe('assigned [t-0] retained [t-1]')
  })

  it('loses at once, refuses the commit in flight, and assigns again', () => {
    const { broker, run, at } = virtual({ partitions: 2, latency: 10 })
    broker.publish('t', [{ value: 'a' }, { value: 'b' }])
    const member = consume(broker)
    run()
    const old = member.owned.get('t-0')!
    let answer: ReturnType<typeof commit> | undefined
    at(1_000, () => {
      answer = commit(member, { partition: 0, offset: 1n, assignment: old })
    })
    at(1_005, () => {
      broker.lose('g', 't', 0)
      expect(old.ended).toBe(true)
    })
    run()
    expect(answer).toMatchObject({ state: 'failed', error: { retriable: true } })
    expect(String(answer!.error)).toContain('UNKNOWN_MEMBER_ID')
    expect(member.lines.slice(3)).toEqual([
      'lost [t-0]',
      'revoking [t-1]',
      'assigned [t-0] retained [t-1]',
      'batch t-0 [a] to 0',
    ])
    expect(member.owned.get('t-0')!.position).toBe(0)
  })

  it('allows losing and revoking within a handler', () => {
    const { broker, run } = virtual()
    broker.publish('t', { value: 'a' })
    let done = false
    const member = consume(broker, {
      on: (event, { lines }) => {
        if (event.type !== 'batch' || done) return
        done = true
        const before = lines.length
        broker.lose('g', 't', 0)
        expect(lines).toHaveLength(before)
      },
    })
    run()
    expect(member.lines).toEqual([
      'assigned [t-0] retained []',
      'batch t-0 [a] to 0',
      'lost [t-0]',
      'assigned [t-0] retained []',
      'batch t-0 [a] to 0',
    ])
  })

  it('revokes the partitions of a leaving member, and assigns them to the others', () => {
    const { broker, run } = virtual({ partitions: 2 })
    const first = consume(broker)
    const second = consume(broker)
    run()
    let left = false
    first.driver.close().subscribe({
      complete: () => {
        left = true
      },
    })
    run()
    expect([left, first.completed, first.lines.at(-1)]).toEqual([true, true, 'revoked [t-0]'])
    expect(second.lines.slice(1)).toEqual(['revoking [t-1]', 'assigned [t-0] retained [t-1]'])
    expect(broker.group('g')!.members).toHaveLength(1)
  })

  it('allows a member to leave that has not joined, that delays a rebalance, or whose broker is away', () => {
    const { broker, run, at } = virtual()
    const never = consume(broker)
    never.driver.leave().subscribe()
    const holding = consume(broker, { hold: () => NEVER, rebalanceTimeout: 1e9 })
    at(10, () => consume(broker, { group: 'g' }))
    at(20, () => {
      broker.disconnect()
      holding.driver.leave().subscribe()
    })
    at(30, () => expect(holding.completed).toBe(true))
    run()
    expect(never.completed).toBe(true)
    broker.reconnect()
    run()
    expect(broker.group('g')).toMatchObject({ state: 'stable', members: [{ assignments: [{ partition: 0 }] }] })
  })

  it('continues without a killed member once its session has ended', () => {
    const { broker, run, at, scheduler } = virtual({ partitions: 2 })
    const dead = consume(broker, { sessionTimeout: 700 })
    let taken = 0
    const living = consume(broker, {
      on: event => {
        if (event.type === 'assigned' && event.retained.length > 0) taken = scheduler.now()
      },
    })
    at(100, () => {
      broker.kill(dead.driver)
      broker.publish('t', [{ value: 'a' }, { value: 'b' }])
    })
    at(200, () => dead.driver.close().subscribe())
    run()
    expect(taken).toBe(800)
    expect(dead.lines).toEqual(['assigned [t-0] retained []'])
    expect(dead.owned.get('t-0')!.ended).toBe(true)
    expect(living.values).toEqual(['t-1:b', 't-0:a'])
  })

  it('continues at once without a killed member if requested', () => {
    const { broker, run } = virtual()
    const dead = consume(broker)
    run()
    broker.kill(dead.driver, { after: 0 })
    const living = consume(broker)
    run()
    expect(living.lines).toEqual(['assigned [t-0] retained []'])
    expect(dead.completed).toBe(false)
  })

  it('assigns to members only their subscribed topics', () => {
    const { broker, run } = virtual({ partitions: 2 })
    const first = consume(broker, { topics: ['t', 'u'] })
    const second = consume(broker, { topics: ['u'] })
    run()
    expect(first.lines.at(-1)).toBe('assigned [t-0 t-1] retained []')
    expect(second.lines.at(-1)).toBe('assigned [u-0 u-1] retained []')
  })

  it('names a topic that does not exist', () => {
    const { broker, run } = virtual({ autoCreate: false })
    const member = consume(broker)
    run()
    expect(member.error).toBeInstanceOf(ConfigurationError)
    expect(String(member.error)).toContain("'t'")
  })
})

describe('groups by the consumer protocol', () => {
  const consumer = { groupProtocol: 'consumer' } as const

  it('continue with retained partitions while others move', () => {
    const { broker, run, at } = virtual({ partitions: 4, ...consumer })
    const held = new Subject<never>()
    const one = consume(broker, { hold: () => held })
    at(10, () => consume(broker))
    at(20, () =>
      broker.publish(
        't',
        [0, 1, 2, 3].map(partition => ({ value: 'a', partition })),
      ),
    )
    at(30, () => expect(broker.group('g')?.state).toBe('rebalancing'))
    at(40, () => held.complete())
    run()
    const moved = one.events.flatMap(event => (event.type === 'revoking' ? event.assignments : []))
    expect(moved).toHaveLength(2)
    const kept = [0, 1, 2, 3]
      .map(partition => `t-${partition}`)
      .filter(each => !moved.some(other => name(other) === each))
    expect(one.values).toEqual(kept.map(each => `${each}:a`))
    expect(one.lines.filter(each => !each.startsWith('batch'))).toEqual([
      'assigned [t-0 t-1 t-2 t-3] retained []',
      `revoking [${names(moved)}]`,
      `revoked [${names(moved)}]`,
      `assigned [] retained [${kept.join(' ')}]`,
    ])
    expect(broker.group('g')?.state).toBe('stable')
  })

  it('assign a partition to its next owner only when the former one has released it', () => {
    const { broker, run, at } = virtual({ partitions: 2, ...consumer })
    const one = consume(broker, { hold: () => NEVER, rebalanceTimeout: 100 })
    const owners: string[] = []
    let other: Member | undefined
    at(10, () => {
      other = consume(broker, { on: event => event.type === 'assigned' && owners.push(line(event)) })
    })
    at(50, () => expect(owners).toEqual(['assigned [] retained []']))
    run()
    expect([one.lines.at(-1), owners.at(-1)]).toEqual(['assigned [] retained [t-1]', 'assigned [t-0] retained []'])
    expect(other!.owned.size).toBe(1)
  })

  it('accept only commits of partitions that a member owns or has not released yet', () => {
    const { broker, run, at } = virtual({ partitions: 2, ...consumer })
    const one = consume(broker, { hold: () => NEVER, rebalanceTimeout: 100 })
    const answers: ReturnType<typeof commit>[] = []
    at(10, () => consume(broker))
    at(50, () => answers.push(commit(one, { partition: 0, offset: 1n }), commit(one, { partition: 1, offset: 1n })))
    at(500, () => answers.push(commit(one, { partition: 0, offset: 2n })))
    run()
    expect(answers.map(({ state }) => state)).toEqual(['done', 'done', 'failed'])
    expect(String(answers[2]!.error)).toContain('STALE_MEMBER_EPOCH')
    expect(broker.committed('g', 't', 0)).toBe(1n)
  })

  it('assign a revoked or lost partition again, to another member or the same', () => {
    for (const fault of ['revoke', 'lose'] as const) {
      const { broker, run, at } = virtual({ partitions: 2, ...consumer })
      const one = consume(broker)
      at(10, () => broker[fault]('g', 't', 0))
      run()
      expect(one.lines.slice(1)).toEqual([
        ...(fault === 'revoke' ? ['revoking [t-0]', 'revoked [t-0]', 'assigned [] retained [t-1]'] : ['lost [t-0]']),
        'assigned [t-0] retained [t-1]',
      ])
    }
  })

  it('continue without a killed member once its session has ended', () => {
    const { broker, run, at } = virtual({ partitions: 2, ...consumer })
    const one = consume(broker)
    const other = consume(broker)
    at(10, () => broker.kill(one.driver, { after: 100 }))
    at(100, () => expect(other.owned.size).toBe(1))
    run()
    expect(other.owned.size).toBe(2)
  })

  it("use the protocol of their first member, whatever the broker's default is", () => {
    const { broker, run, at } = virtual({ partitions: 2 })
    const one = consume(broker, consumer)
    at(10, () => consume(broker, { groupProtocol: 'classic' }))
    at(100, () => broker.publish('t', [{ value: 'a', partition: 1 }]))
    run()
    // With the classic protocol it would have given up both partitions.
    expect(one.lines.filter(each => each.startsWith('revoking'))).toEqual(['revoking [t-0]'])
    expect(one.values).toEqual(['t-1:a'])
  })

  it('keep their positions if the protocol changes while they have no members', () => {
    const { broker, run, at } = virtual({ partitions: 1 })
    broker.publish('t', [{ value: 'a' }, { value: 'b' }])
    const one = consume(broker, { groupProtocol: 'classic' })
    let other: Member | undefined
    at(10, () => commit(one, { partition: 0, offset: 1n }))
    at(20, () => one.driver.leave().subscribe())
    at(30, () => {
      other = consume(broker, consumer)
    })
    run()
    expect(other!.values).toEqual(['t-0:b'])
  })

  it('refuse an unknown protocol', () => {
    expect(() => memoryBroker({ groupProtocol: 'eager' as never })).toThrow(/groupProtocol.*'eager'/)
  })
})

describe('the assignment', () => {
  it('is even to one, and moves no more than necessary', () => {
    const owners = ['a', 'a', 'a', 'a', 'a', 'b']
    const claims = owners.map((owner, at) => ({
      name: `t-${at}`,
      eligible: ['a', 'b', 'c'],
      owner,
      avoid: undefined,
    }))
    const assignment = [...stickyAssignment(claims).values()]
    expect(assignment.filter((owner, at) => owner !== owners[at])).toHaveLength(3)
    expect(['a', 'b', 'c'].map(member => assignment.filter(owner => owner === member).length)).toEqual([2, 2, 2])
  })
})

describe('time', () => {
  it('runs in marbles, and a flush ends', () => {
    const testScheduler = new TestScheduler((actual, expected) => expect(actual).toEqual(expected))
    testScheduler.run(({ cold, expectObservable }) => {
      const broker = memoryBroker({ scheduler: testScheduler, latency: 1 })
      const values = new Subject<string>()
      consume(broker, {
        on: event => {
          if (event.type === 'batch') values.next(String(event.batch.value(event.from)))
        },
      })
      cold('     -----a---b').subscribe(value => broker.publish('t', { value }))
      expectObservable(values).toBe('------a---b')
    })
  })

  it('runs in real time as well', async () => {
    const broker = memoryBroker({ partitions: 2 })
    const driver = broker.driver()
    await lastValueFrom(driver.connect({ clientId: 'c', logger }), { defaultValue: undefined })
    expect(await lastValueFrom(driver.topics(['t']))).toEqual(new Map([['t', 2]]))
    const all = new Subject<void>()
    const member = consume(broker, {
      on: (_, { values }) => {
        if (values.length === 3) all.complete()
      },
    })
    const answers = await lastValueFrom(
      produced(
        driver,
        [1, 2, 3].map(value => ({ topic: 't', value: String(value) })),
      ).pipe(toArray()),
    )
    expect(answers).toHaveLength(1)
    await lastValueFrom(all, { defaultValue: undefined })
    expect(await lastValueFrom(driver.endOffsets('t'))).toEqual(
      new Map([
        [0, 2],
        [1, 1],
      ]),
    )
    expect([...member.values].sort()).toEqual(['t-0:1', 't-0:3', 't-1:2'])
    await lastValueFrom(member.driver.close(), { defaultValue: undefined })
    expect(member.completed).toBe(true)
  })
})
