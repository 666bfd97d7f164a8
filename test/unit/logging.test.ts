import * as fc from 'fast-check'
import { NEVER } from 'rxjs'
import {
  type ConsumeRecord,
  createClient,
  FetchError,
  type LeakAction,
  type LogFunction,
  type TopicOptions,
} from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { Reports } from '../../src/client/reports.js'
import { Tallies, type Tally } from '../../src/client/tallies.js'
import { TopicNames } from '../../src/client/topic-names.js'
import { type LogLine, logged } from '../log-lines.js'
import { Clock } from './clock.js'

/** A client with a DLQ topic, whose `orders` fails on request, and its log lines. */
function setUp(fail: (record: ConsumeRecord) => void, options: TopicOptions = { dlq: true }) {
  const clock = new Clock()
  const broker = memoryBroker({ scheduler: clock, partitions: 1 })
  const { logger, lines } = logged('info')
  const client = createClient({
    ...{ driver: broker.driver(), group: 'billing', retryTopic: 'retries', dlqTopic: 'dlq', env: {}, logger },
  })
  for (const topic of ['orders', 'refunds']) client.topic(topic, options).subscribe(fail)
  client.start()
  clock.runTo(100)
  const of = (event: string) => lines.filter(line => line.event === event)
  const publish = (topic: string, count: number, from = 0) =>
    broker.publish(
      topic,
      Array.from({ length: count }, (_, at) => ({
        key: `secret key ${from + at}`,
        value: `secret value ${from + at}`,
      })),
    )
  return { clock, broker, client, lines, of, publish }
}

const total = (lines: readonly LogLine[]) => lines.reduce((sum, { count }) => sum + Number(count), 0)

describe('the log of dead letters', () => {
  it('has one line for each topic and error name in 10 s, with their number and what to do', () => {
    const { clock, of, publish } = setUp(record => {
      record.fail(
        record.topic === 'orders' && record.offset % 2n === 0n ? new TypeError('no price') : new RangeError('no stock'),
      )
    })
    publish('orders', 500)
    publish('refunds', 300)
    clock.runTo(2_000)
    expect(of('dead-lettered')).toMatchObject([
      { level: 'warn', topic: 'orders', errorName: 'TypeError', count: 250, first: 'orders-0@0' },
      { level: 'warn', topic: 'orders', errorName: 'RangeError', count: 250, first: 'orders-0@1' },
      { level: 'warn', topic: 'refunds', errorName: 'RangeError', count: 300, first: 'refunds-0@0' },
    ])
    const [line] = of('dead-lettered')
    expect(line!.msg).toMatch(
      /250 records of topic 'orders' dead-lettered, the first at orders-0@0: TypeError: no price/,
    )
    expect(line!.msg).toContain('replayDlq()')
    publish('orders', 1, 500)
    publish('orders', 2, 501)
    clock.runTo(11_000)
    expect(of('dead-lettered')).toHaveLength(3)
    clock.runTo(12_000)
    expect(of('dead-lettered').slice(3)).toMatchObject([
      { topic: 'orders', errorName: 'TypeError', count: 2, first: 'orders-0@500' },
      { topic: 'orders', errorName: 'RangeError', count: 1, first: 'orders-0@501' },
    ])
    clock.runTo(60_000)
    expect(of('dead-lettered')).toHaveLength(5)
    publish('orders', 1, 503)
    clock.runTo(62_000)
    expect(of('dead-lettered')[5]!.msg).toContain("1 record of topic 'orders' dead-lettered, at orders-0@503")
  })

  it('is complete when the client is closed, and contains of a record only its place', async () => {
    const { clock, client, lines, of, publish } = setUp(record => record.fail(new Error('no')))
    publish('orders', 40)
    clock.runTo(300)
    expect(of('dead-lettered')).toEqual([])
    void client.close()
    clock.runTo(60_000)
    await client.closed
    expect(of('dead-lettered')).toMatchObject([{ topic: 'orders', count: 40 }])
    expect(lines.at(-1)!.msg).toBe('the client is closed')
    expect(JSON.stringify(lines)).not.toContain('secret')
  })

  it('names the topic first published to for records that failed at a later attempt', () => {
    const { clock, of, publish } = setUp(record => record.fail('no'), { retries: 1, dlq: true })
    publish('orders', 3)
    clock.runTo(5_000)
    expect(of('dead-lettered')).toMatchObject([{ topic: 'orders', errorName: 'string', count: 3, first: 'orders-0@0' }])
  })

  it('counts records of other groups on a shared topic, at info', () => {
    const { clock, broker, of } = setUp(record => record.ack())
    const headers = { mika_err_shipping_org_topic: 'orders', mika_err_shipping_retries: '0' }
    broker.publish(
      'retries',
      Array.from({ length: 700 }, () => ({ value: 'v', headers })),
    )
    clock.runTo(5_000)
    expect(of('skipped')).toMatchObject([{ level: 'info', topic: 'retries', count: 700, first: 'retries-0@0' }])
    expect(of('skipped')[0]!.msg).toContain('other groups')
  })

  it('stays bounded if every failure has a different name', () => {
    let at = 0
    const { clock, client, of, publish } = setUp(record =>
      record.fail(Object.assign(new Error('no'), { name: `E${at++} ${'x'.repeat(1_000)}` })),
    )
    publish('orders', 3_000)
    clock.runTo(3_000)
    client.close()
    clock.runTo(60_000)
    expect(total(of('dead-lettered'))).toBe(3_000)
    expect(of('dead-lettered').length).toBeLessThanOrEqual(101)
    expect(Math.max(...of('dead-lettered').map(line => JSON.stringify(line).length))).toBeLessThan(2_000)
  })
})

describe('a log function', () => {
  it('gets the same calls as pino, from info on, with errors unchanged', () => {
    const clock = new Clock()
    const broker = memoryBroker({ scheduler: clock })
    const lines: Parameters<LogFunction>[] = []
    const client = createClient({
      ...{ driver: broker.driver(), group: 'billing', dlqTopic: 'dlq', env: {} },
      logger: (...line) => lines.push(line),
    })
    const reason = new TypeError('no price')
    client.topic('orders', { dlq: true }).subscribe(record => record.fail(reason))
    client.topic('refunds').subscribe({ error: () => {} })
    client.start()
    broker.publish('orders', { key: 'k', value: 'secret' })
    clock.runTo(2_000)
    expect(lines).toContainEqual(['info', 'the client is running', {}])
    expect(lines.find(([, , { event }]) => event === 'dead-lettered')).toMatchObject([
      'warn',
      expect.stringContaining('orders-0@0: TypeError: no price'),
      { topic: 'orders', errorName: 'TypeError', count: 1 },
    ])
    client.close()
    clock.runTo(3_000)
    expect(new Set(lines.map(([level]) => level))).toEqual(new Set(['info', 'warn']))
    expect(JSON.stringify(lines)).not.toContain('secret')
  })

  it('throws only in a separate turn, and the client continues', async () => {
    const clock = new Clock()
    const broker = memoryBroker({ scheduler: clock })
    const thrown: unknown[] = []
    const failing = new Error('no disk')
    const others = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException').on('uncaughtException', error => thrown.push(error))
    try {
      const client = createClient({
        ...{ driver: broker.driver(), group: 'billing', env: {} },
        logger: () => {
          throw failing
        },
      })
      const values: string[] = []
      client.topic('orders').subscribe(record => values.push(String(record.value)) && record.ack())
      client.start()
      broker.publish('orders', { value: 'a' })
      clock.runTo(1_000)
      expect(values).toEqual(['a'])
      client.close()
      clock.runTo(2_000)
      await new Promise(setImmediate)
      expect(thrown.length).toBeGreaterThan(1)
      expect(new Set(thrown)).toEqual(new Set([failing]))
    } finally {
      process.removeAllListeners('uncaughtException')
      for (const listener of others) process.on('uncaughtException', listener)
    }
  })

  it('is checked', () => {
    const logger = 'console' as never
    expect(() => createClient({ env: {}, logger })).toThrow(/logger.*must be a pino logger, a function or false/)
  })
})

function reports(level: Parameters<typeof logged>[0] = 'info', leaks?: LeakAction) {
  const clock = new Clock()
  const { logger, lines } = logged(level)
  return { clock, lines, reports: new Reports(logger, new TopicNames('-dev'), clock, leaks) }
}

describe('reports', () => {
  const place = { topic: 'orders', partition: 3, offset: 7n, key: null }

  it.each([
    ['report', 'commits of the partition stop there'],
    ['fail', 'fails with a LeakedRecordError'],
    ['redeliver', 'delivered again, at most three times'],
  ] as const)('report what happens to a dropped record with leaks: %s', (leaks, consequence) => {
    const { clock, lines, reports: told } = reports('info', leaks)
    told.event({ type: 'leaked', ...place })
    clock.runTo(5_000)
    expect(lines).toMatchObject([{ msg: expect.stringContaining(consequence) }])
  })

  it('log a record that the pipeline dropped, with operators that drop records and their replacements', () => {
    const { clock, lines, reports: told } = reports()
    for (let at = 0; at < 4_000; at++) told.event({ type: 'leaked', ...place, offset: BigInt(at) })
    clock.runTo(5_000)
    expect(lines).toMatchObject([
      { level: 'warn', event: 'leaked', topic: 'orders', count: 4_000, first: 'orders-3@0' },
    ])
    for (const word of [
      'filter',
      'switchMap',
      'debounceTime',
      'take',
      'share',
      'keep()',
      'latest()',
      'fork()',
      'ack',
    ]) {
      expect(lines[0]!.msg).toContain(word)
    }
  })

  it('log every error, with its class', () => {
    const { lines, reports: told } = reports()
    told.error(new FetchError('gone', { topic: 'orders-dev', partition: 1, offset: 5n }))
    expect(lines).toMatchObject([
      { level: 'error', msg: 'gone', err: { type: 'FetchError', code: 'RXMIKA_FETCH', partition: 1 } },
    ])
  })

  it('log a held-back record with place and reason, and its release', () => {
    const { lines, reports: told } = reports()
    told.event({ type: 'stalled', ...place, attempt: 1, since: 0, why: 'routing' })
    told.event({ type: 'unstalled', ...place })
    expect(lines).toMatchObject([
      { level: 'warn', topic: 'orders', partition: 3, offset: '7', why: 'routing' },
      { level: 'info', topic: 'orders', partition: 3, offset: '7' },
    ])
    expect(lines[0]!.msg).toContain('orders-3@7')
  })

  it('log each kind of event once after the end', () => {
    const { lines, reports: told } = reports()
    told.endTallies()
    for (let at = 0; at < 100; at++) told.event({ type: 'outrun', ...place, first: 'ack', then: 'fail', reason: 'no' })
    expect(lines).toMatchObject([{ event: 'outrun', count: 1 }])
  })

  it('count nothing for a logger whose level excludes it', () => {
    const { clock, lines, reports: told } = reports('error')
    told.event({ type: 'leaked', ...place })
    clock.runTo(60_000)
    expect(lines).toEqual([])
    expect(clock.actions).toEqual([])
  })

  it('have a line for every record only at debug', () => {
    const { lines, reports: told } = reports('debug')
    for (let at = 0; at < 3; at++) told.event({ type: 'dead-lettered', ...place, attempt: 1, reason: 'no' })
    expect(lines.filter(({ level }) => level === 'debug')).toHaveLength(3)
  })
})

describe('a client that waits for its group', () => {
  /** Another member that holds its partition back from a rebalance, as one that was killed does until its session ends. */
  function setUpTwo() {
    const clock = new Clock()
    const broker = memoryBroker({ scheduler: clock, partitions: 1 })
    const { logger, lines } = logged('info')
    const member = (rebalanceTimeout: number, log: typeof logger | false) =>
      createClient({ driver: broker.driver(), group: 'billing', env: {}, logger: log, rebalanceTimeout })
    const other = member(20_000, false)
    other.topic('orders').subscribe()
    other.start()
    broker.publish('orders', [{ value: 'a' }])
    clock.runTo(100)
    const client = member(20_000, logger)
    client.topic('orders').subscribe()
    client.start()
    return { clock, client, other, lines: () => lines.map(({ msg }) => msg) }
  }
  const waiting = /^waiting for group 'billing' to assign partitions: .* rebalanceTimeout, .* sessionTimeout is over$/

  it('says so after 3 s, once, and in health() at once', () => {
    const { clock, client, lines } = setUpTwo()
    clock.runTo(1_000)
    expect(client.health().reasons).toEqual([expect.stringMatching(/^starting; waiting for group 'billing'/)])
    expect(lines()).toEqual(['the client is starting'])
    clock.runTo(15_000)
    expect(lines()).toEqual(['the client is starting', expect.stringMatching(waiting)])
    clock.runTo(30_000)
    expect(client.currentState).toBe('running')
    expect(client.health().reasons).toEqual([])
    expect(lines().filter(line => waiting.test(line))).toHaveLength(1)
  })

  it('says nothing once it is closed, and leaves no timer', async () => {
    const { clock, client, other, lines } = setUpTwo()
    clock.runTo(1_000)
    client.close()
    other.close()
    clock.runTo(60_000)
    await client.closed
    await other.closed
    expect(lines().filter(line => waiting.test(line))).toEqual([])
    expect(clock.actions.filter(({ closed }) => !closed)).toEqual([])
  })

  it('says nothing if it is given partitions soon, or has no group', () => {
    for (const group of ['billing', undefined]) {
      const clock = new Clock()
      const broker = memoryBroker({ scheduler: clock, partitions: 1 })
      const { logger, lines } = logged('info')
      const client = createClient({ driver: broker.driver(), group, env: {}, logger })
      client.topic('orders').subscribe()
      client.start()
      clock.runTo(10_000)
      expect(client.currentState).toBe('running')
      expect(lines.filter(({ msg }) => waiting.test(String(msg)))).toEqual([])
    }
  })
})

describe('the log of positions that are held back', () => {
  const messages = (lines: readonly LogLine[]) => lines.filter(({ level }) => level !== 'info').map(({ msg }) => msg)

  it('says what the position waits for, and at the close what was not completed', async () => {
    const { clock, lines, client, publish } = setUp(() => {})
    publish('orders', 3)
    clock.runTo(60_200)
    expect(messages(lines)).toEqual([
      'the committed position is held back at orders-0@0: unsettled (the record was neither acked nor failed: its handler has ' +
        'not ended, and a timeout of handle() would end it; or an operator dropped it, such as filter, switchMap or debounceTime, ' +
        'where keep() and latest() would not; or an operator waits for more than maxInFlight records, such as bufferCount); see ' +
        'stalls()',
    ])
    client.close()
    clock.runTo(70_000)
    expect(await client.closed).toMatchObject({ drained: false, unsettled: 3 })
    expect(messages(lines).slice(1)).toEqual([
      'closed before 3 records were completed; the first of each partition: orders-0@0 unsettled',
    ])
  })

  it('says nothing about what was left when everything is completed', async () => {
    const { clock, lines, client, publish } = setUp(record => void record.ack())
    publish('orders', 3)
    clock.runTo(1_000)
    client.close()
    clock.runTo(10_000)
    expect(await client.closed).toMatchObject({ drained: true })
    expect(messages(lines)).toEqual([])
  })

  it('has the reason of a failed record that no step took', () => {
    const { clock, lines, publish } = setUp(record => void record.fail(new RangeError('no stock')), {})
    publish('orders', 1)
    clock.runTo(1_000)
    expect(messages(lines)).toEqual([
      expect.stringMatching(
        /^the record at orders-0@0 failed by RangeError: no stock\. It is unroutable and held; .*set retries/,
      ),
    ])
  })

  it('names the place of a retry, and the place that it was first published to', () => {
    const { clock, lines, broker } = setUp(record => void record.fail(new RangeError('no stock')), { retries: 1 })
    broker.publish('refunds', [{ value: 'a' }])
    clock.runTo(70_000)
    const [error, stalled] = lines.filter(({ level }) => level !== 'info').map(({ msg }) => msg)
    const copy = 'retries-0@0 (a copy of refunds-0@0)'
    expect(error).toContain(`the record at ${copy} failed by RangeError: no stock`)
    expect(stalled).toContain(`the committed position is held back at ${copy}: unroutable`)
  })

  it('names a failed record that the route dropped', () => {
    const { clock, lines, publish } = setUp(record => void record.fail('no stock'), { onFail: () => NEVER })
    publish('orders', 1)
    clock.runTo(70_000)
    expect(messages(lines)).toEqual([
      expect.stringMatching(/held back at orders-0@0: routing \(.* an operator in onFail dropped it, such as filter\)/),
    ])
  })

  it('has one line for all partitions that are lost together', () => {
    const { lines, reports: told } = reports('info')
    const places = Array.from({ length: 12 }, (_, partition) => ({ topic: 'orders', partition }))
    for (const one of places) told.event({ type: 'lost', ...one, offset: 0n })
    told.ended(places, 'lost')
    told.ended(places.slice(0, 1), 'lost')
    told.ended(places, 'revoked')
    expect(lines.map(({ level, msg }) => `${level} ${msg}`)).toEqual([
      `warn partitions are lost: ${places
        .slice(0, 10)
        .map(one => `orders-${one.partition}`)
        .join(', ')}, and 2 more`,
      'warn partitions are lost: orders-0',
      'info partitions are revoked',
    ])
  })

  it('names at most ten places', () => {
    const { lines, reports: told } = reports('warn')
    const left = Array.from({ length: 12 }, (_, partition) => ({
      ...{ topic: 'orders', partition, offset: 5n, key: null, attempt: 1, since: 0, why: 'committing' as const },
    }))
    told.leftBehind({ drained: false, unsettled: 0, left })
    expect(lines).toHaveLength(1)
    expect(lines[0]!.msg).toMatch(
      /^closed before a commit was confirmed; .*: orders-0@5 committing, .*orders-9@5 committing, and 2 more$/,
    )
  })
})

describe('tallies', () => {
  interface One {
    readonly name: string
    readonly at: number
  }

  it('count everything once, log no kind twice within 10 s, and keep little', () => {
    const happening = fc.record({
      after: fc.integer({ min: 0, max: 4_000 }),
      family: fc.constantFrom('a', 'b'),
      name: fc.nat({ max: 130 }),
    })
    fc.assert(
      fc.property(fc.array(happening, { maxLength: 400 }), fc.nat({ max: 20_000 }), (happenings, rest) => {
        const clock = new Clock()
        const said: (Tally<One> & { at: number })[] = []
        const tallies = new Tallies<One, One>(
          clock,
          one => one,
          tally => said.push({ ...tally, at: clock.now() }),
        )
        for (const { after, family, name } of happenings) {
          clock.runTo(clock.now() + after)
          tallies.count({ family, name: String(name), of: { name: String(name), at: clock.now() } })
        }
        clock.runTo(clock.now() + rest)
        const beforeEnd = said.length
        tallies.end()
        for (const family of ['a', 'b']) {
          const counted = said.filter(tally => tally.family === family).reduce((sum, { count }) => sum + count, 0)
          expect(counted).toBe(happenings.filter(one => one.family === family).length)
        }
        const last = new Map<string, number>()
        for (const { first, family, mixed, at } of said.slice(0, beforeEnd)) {
          const kind = mixed ? family : `${family} ${first.name}`
          expect(at - (last.get(kind) ?? Number.NEGATIVE_INFINITY)).toBeGreaterThanOrEqual(10_000)
          expect(at - first.at).toBeLessThanOrEqual(10_000)
          last.set(kind, at)
        }
        clock.runTo(clock.now() + 60_000)
        expect(clock.actions).toEqual([])
      }),
    )
  })
})
