import { inspect } from 'node:util'
import * as fc from 'fast-check'
import { pino } from 'pino'
import { filter, firstValueFrom } from 'rxjs'
import {
  type ClientEvent,
  type CloseReport,
  type ConsumeRecord,
  createClient,
  deadLetterOf,
  FetchError,
  fixed,
  KeyFenceError,
  type RxMikaError,
  type Stall,
  UnroutableFailureError,
} from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { readable } from '../../src/readable.js'
import { fakeRecord } from '../marbles/fake-record.js'
import { Clock } from './clock.js'

/** Names of a record's internals. */
const insides = /owner|batch|slot|phase|redeliver|handed|settlement|stream|window/

/** The JSON of an object. Checks that JSON and `console.log` show no internals. */
function seen(value: object): unknown {
  const text = JSON.stringify(value)
  expect(text).not.toMatch(insides)
  // Without the stack traces of reasons, which contain file and function names.
  expect(inspect(value).replaceAll(/^ +at .*\n/gm, '')).not.toMatch(insides)
  return JSON.parse(text)
}

describe('a record as users see it', () => {
  const record = fakeRecord({
    offset: 2 ** 53 - 1,
    key: 'k',
    value: '{"a":1}',
    headers: [
      ['mika_err_billing_msg', Buffer.from('ours')],
      ['a', Buffer.from('1')],
      ['a', null],
      ['__proto__', Buffer.from([0xff, 0x00])],
    ],
  })

  it('has place, key and value in JSON: offsets and bytes as text', () => {
    const expected = {
      ...{ topic: 'orders', partition: 0, offset: '9007199254740991', attempt: 1, timestamp: 1_000 },
      ...{ key: 'k', value: '{"a":1}', settled: false },
    }
    const { headers, ...rest } = seen(record) as { headers: object }
    expect(rest).toEqual(expected)
    expect(Object.entries(headers)).toEqual([
      ['a', ['1', null]],
      ['__proto__', 'base64:/wA='],
    ])
    const mapped = record.map(() => ({ id: 7n, at: new Date(0), again: [Buffer.from('x')] }))
    expect(seen(mapped)).toMatchObject({
      offset: expected.offset,
      value: { id: '7', at: '1970-01-01T00:00:00.000Z', again: ['x'] },
    })
    expect(seen(mapped.map(() => null))).toMatchObject({ value: null })
  })

  it('has the place where it was read if that differs from the place first published', () => {
    const origin = { kind: 'retry', topic: 'orders', partition: 3, offset: 12, timestamp: 5, retries: 1 } as const
    expect(seen(fakeRecord({ offset: 4, origin }))).toMatchObject({
      ...{ topic: 'orders', partition: 3, offset: '12', attempt: 2 },
      source: { kind: 'retry', topic: 'orders', partition: 0, offset: '4' },
    })
  })

  it('is readable in console.log', () => {
    expect(inspect(record, { breakLength: Infinity })).toContain(
      "ConsumeRecord { topic: 'orders', partition: 0, offset: 9007199254740991n, attempt: 1, timestamp: 1000, key: 'k', value: '{\"a\":1}'",
    )
    expect(inspect(record.map(() => ({ id: 7 })))).toContain('value: { id: 7 }')
    expect(inspect([[[[record]]]])).toContain('[Array]')
    expect(inspect({ records: [record] }, { depth: 1 })).toContain('[ConsumeRecord]')
  })

  it('has no enumerable properties, because a copy would not be a record', () => {
    for (const one of [record, record.map(() => 1)]) {
      expect({ ...one }).toEqual({})
      expect(Object.keys(one)).toEqual([])
      expect(Object.getOwnPropertyNames(one)).toEqual([])
      expect(Object.getOwnPropertySymbols(one)).toEqual([])
    }
  })

  it('is readable in pino, with its error', () => {
    const lines: string[] = []
    const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) })
    const err = new FetchError('gone', { topic: 'orders', partition: 1, offset: 7n, cause: new Error('why') })
    logger.info({ record, err }, 'said')
    expect(JSON.parse(lines[0]!)).toMatchObject({
      record: { topic: 'orders', offset: '9007199254740991', key: 'k' },
      err: { message: expect.stringContaining('gone'), topic: 'orders', partition: 1 },
    })
  })

  it('is shortened if it is large, between whole characters', () => {
    const long = Buffer.from(`${'é'.repeat(511)}x${'é'.repeat(9_000)}`)
    const { value } = seen(fakeRecord({ value: long })) as { value: string }
    expect(value).toBe(`${'é'.repeat(511)}x… (${long.length} bytes)`)
  })
})

describe('events, stalls, errors and reports', () => {
  it('are JSON', async () => {
    const clock = new Clock()
    const broker = memoryBroker({ scheduler: clock })
    const client = createClient({
      ...{ driver: broker.driver(), group: 'g', retryTopic: 'retries', env: {}, logger: false, stallAfter: 500 },
    })
    const events: ClientEvent[] = []
    client.events.subscribe(event => events.push(event))
    const errors: RxMikaError[] = []
    const records: ConsumeRecord[] = []
    client.topic('orders', { retries: 1, backoff: fixed(100) }).subscribe(record => {
      records.push(record)
      if (record.attempt > 1 || record.offset > 0n) record.fail(Object.assign(new Error('no'), { at: 5n }))
    })
    client.start().subscribe(error => errors.push(error))
    broker.publish('orders', [
      { key: 'k', value: '0' },
      { key: Buffer.from([0xff]), value: '1' },
    ])
    clock.runTo(5_000)
    const stalls = seen(client.stalls())
    const since = expect.any(Number)
    expect(stalls).toEqual([
      { topic: 'orders', partition: 0, offset: '0', key: 'k', attempt: 1, since, why: 'unsettled' },
      {
        ...{ topic: 'retries', partition: 0, offset: '0', key: 'base64:/w==', attempt: 2, since, why: 'unroutable' },
        origin: { topic: 'orders', partition: 0, offset: '1' },
      },
    ])
    const reason = { name: 'Error', message: 'no', at: '5' }
    const told = events.map(event => seen(event) as { type: string })
    expect(told.find(({ type }) => type === 'assigned')).toEqual({
      type: 'assigned',
      topic: 'orders',
      partition: 0,
      offset: '0',
    })
    expect(told.find(({ type }) => type === 'retried')).toEqual({
      ...{ type: 'retried', topic: 'orders', partition: 0, offset: '1', key: 'base64:/w==', attempt: 1, reason },
    })
    expect(told.filter(({ type }) => type === 'stalled')).toMatchObject(stalls as object[])
    expect(errors.map(seen)).toMatchObject([
      { name: 'UnroutableFailureError', code: 'RXMIKA_UNROUTABLE_FAILURE', offset: '0' },
    ])
    const closed = client.close()
    clock.runTo(60_000)
    expect(seen(await closed)).toMatchObject({ drained: false, unsettled: 2, left: stalls })
  })

  it('have own fields and nothing else, so that they can be compared and copied', async () => {
    const clock = new Clock()
    const broker = memoryBroker({ scheduler: clock })
    const client = createClient({ driver: broker.driver(), group: 'g', env: {}, logger: false })
    const events: ClientEvent[] = []
    client.events.subscribe(event => events.push(event))
    client.topic('orders').subscribe()
    client.start()
    broker.publish('orders', { value: 'v' })
    clock.runTo(1_000)
    const [stall] = client.stalls()
    const closed = client.close()
    clock.runTo(60_000)
    const all: (ClientEvent | Stall | CloseReport)[] = [...events, stall!, await closed]
    for (const one of all) expect({ ...one }).toEqual(one)
    expect(inspect(events[0])).toMatch(/^\{ type: 'state', state: 'starting' \}$/)
    expect(inspect(stall)).toContain("why: 'unsettled'")
    for (const one of all) expect(typeof (one as { toJSON?: unknown }).toJSON).toBe('function')
  })

  it('contain places of published records that are JSON', async () => {
    const client = createClient({ driver: memoryBroker().driver(), env: {}, logger: false })
    const places = await firstValueFrom(client.publish([{ topic: 'orders', value: 'v' }]))
    expect(places).toEqual([{ topic: 'orders', partition: 0, offset: 0n }])
    expect(seen(places)).toEqual([{ topic: 'orders', partition: 0, offset: '0' }])
    await client.close()
  })

  it('contain positions and dead letters that are JSON, as are records of the memory broker', async () => {
    const broker = memoryBroker()
    const client = createClient({ env: {}, driver: broker.driver(), group: 'g', dlqTopic: 'dlq', logger: false })
    client.topic('orders', { dlq: true }).subscribe(record => record.fail('no'))
    const dead = firstValueFrom(client.events.pipe(filter(({ type }) => type === 'dead-lettered')))
    broker.publish('orders', { key: 'k', value: 'v', timestamp: 1_000 })
    client.start()
    await dead
    const [stored] = broker.records('dlq')
    expect(seen(stored!)).toMatchObject({ topic: 'dlq', partition: 0, offset: '0', key: 'k', value: 'v' })
    const letter = deadLetterOf(stored!)!
    expect(seen(letter)).toMatchObject({ group: 'g', topic: 'orders', partition: 0, offset: '0', reason: 'no' })
    // Own fields only, so that it can be compared and spread.
    expect({ ...letter }).toStrictEqual(letter)
    expect(seen(await client.seek('orders', 'latest'))).toEqual([{ topic: 'orders', partition: 0, offset: '1' }])
    await client.close()
  })

  it('contain errors that are JSON, whatever their cause', () => {
    const circular: { self?: unknown } = {}
    circular.self = circular
    const error = new UnroutableFailureError('orders', 1, 5n, 'held', { cause: new KeyFenceError('orders', 1, 4n) })
    expect(seen(error)).toEqual({
      ...{ name: 'UnroutableFailureError', message: 'held', code: 'RXMIKA_UNROUTABLE_FAILURE' },
      ...{ topic: 'orders', partition: 1, offset: '5' },
      cause: expect.objectContaining({ name: 'KeyFenceError', offset: '4' }),
    })
    expect(() => JSON.stringify(new FetchError('x', { cause: circular }))).not.toThrow()
  })
})

describe('a client as users see it', () => {
  const secret = 'correct horse battery staple'
  const credentials = [
    { sasl: { mechanism: 'plain', username: 'me', password: secret } },
    { sasl: { mechanism: 'scram-sha-512', username: 'me', password: secret } },
    { sasl: { mechanism: 'aws', authorizationIdentity: 'me', accessKeyId: 'id', secretAccessKey: secret } },
    { ssl: { passphrase: secret, key: secret } },
    { env: { KAFKA_SASL_MECHANISM: 'PLAIN', KAFKA_SASL_USERNAME: 'me', KAFKA_SASL_PASSWORD: secret } },
  ] as const

  it.each(credentials)('has its state and its names, and never its credentials: %#', async options => {
    const client = createClient({ env: {}, brokers: ['127.0.0.1:9'], group: 'billing', logger: false, ...options })
    expect(seen(client)).toEqual({ state: 'idle', clientId: 'rxmika', group: 'billing' })
    expect(inspect(client, { breakLength: Infinity })).toMatch(
      /^Client \{ state: 'idle', clientId: 'rxmika', group: 'billing'/,
    )
    const records = client.topic('orders')
    // At any depth, and for any object that refers to the client.
    for (const value of [client, { client }, records, client.events, client.errors, client.publish([])]) {
      for (const how of [
        {},
        { showHidden: true },
        { customInspect: false },
        { customInspect: false, showHidden: true },
      ]) {
        expect(inspect(value, { depth: Infinity, ...how })).not.toContain(secret)
      }
      expect(JSON.stringify(value)).not.toContain(secret)
    }
    await client.close()
  })
})

it('anything is readable: JSON never throws, and its length is bounded', () => {
  const any = fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withSet: true,
    withNullPrototype: true,
    withTypedArray: true,
  })
  fc.assert(
    fc.property(any, value => {
      const text = JSON.stringify(readable(value))
      if (text !== undefined) JSON.parse(text)
    }),
  )
  const hostile = {
    get field() {
      throw new Error('not to be read')
    },
  }
  expect(readable(hostile)).toBe('[unreadable]')
  expect(JSON.stringify(readable(Array.from({ length: 1e6 }, () => 1))).length).toBeLessThan(1_000)
  const circular: Record<string, unknown> = {}
  circular.self = circular
  expect(JSON.stringify(readable(circular))).toContain('[Object]')
  expect(readable([() => 1, Symbol('s'), undefined, new Date(Number.NaN)])).toEqual([
    '() => 1',
    'Symbol(s)',
    undefined,
    'Invalid Date',
  ])
})
