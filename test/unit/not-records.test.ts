import { from, map, type Observable, type OperatorFunction, of } from 'rxjs'
import { type ConsumeRecord, createClient, decode, fork, handle, keep, latest } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { fakeRecord } from '../marbles/fake-record'

const noop = () => {}
/** JavaScript, whose compiler refuses none of these mistakes. */
type Untyped = OperatorFunction<unknown, unknown>

const operators = {
  handle: handle(noop),
  "handle, order 'key'": handle(noop, { order: 'key' }),
  "handle, order 'none'": handle(noop, { order: 'none' }),
  'keep of everything': keep(() => true),
  'keep of nothing': keep(() => false),
  latest: latest(5),
  'latest by a value': latest(5, { by: () => 1 }),
  fork: fork(handle(noop)),
  'fork of no operator of this package': fork(map(noop)),
  decode: decode(String),
  "decode, tombstones 'ack'": decode(String, { tombstones: 'ack' }),
}
/** What `map` before an operator makes of a record by mistake, and how the message names it. */
const mistakes: readonly (readonly [name: string, made: (record: ConsumeRecord) => unknown, kind: string])[] = [
  ['nothing', noop, 'undefined'],
  ['its value', ({ value }) => value, 'an object'],
  ['a null value', () => null, 'null'],
  ['its value as text', ({ value }) => String(value), 'a string'],
  ['a number', () => 7, 'a number'],
  ['a copy', record => ({ ...record, value: 'secret' }), 'an object'],
  ['an outcome', record => ({ record, status: 'acked' }), 'an object'],
  ['a promise', async () => 'secret', 'an object'],
  ['an array of values', ({ value }) => [String(value)], 'an array'],
]

const errorOf = (records: readonly ConsumeRecord<unknown>[], made: (record: never) => unknown, operator: unknown) =>
  new Promise<unknown>((resolve, reject) => {
    from(records)
      .pipe(
        map(record => made(record as never)),
        operator as Untyped,
      )
      .subscribe({ error: resolve, complete: () => reject(new Error('it completed')) })
  })

describe.each(Object.entries(operators))('%s', (name, operator) => {
  const [is] = name.split(/[ ,]/)

  it.each(mistakes)('errors the stream if it is given %s', async (_, made, kind) => {
    const error = await errorOf([fakeRecord({ value: 'secret' })], made, operator)
    expect(error).toBeInstanceOf(TypeError)
    const { message } = error as TypeError
    const got = is === 'handle' && kind === 'an array' ? 'an array with a string' : kind
    expect(message).toMatch(new RegExp(`^${is} must be given records.* \\(got ${got}\\); .*record\\.map\\(`))
    expect(message).not.toContain('secret')
  })
})

it('handle errors for an array with one thing that is no record, and handles none of it', async () => {
  const records = [fakeRecord({ value: 'a' }), fakeRecord({ value: 'b' })]
  let called = 0
  const error = await errorOf(
    [records[0]!],
    () => [...records, undefined],
    handle(() => void called++),
  )
  expect((error as Error).message).toContain('(got an array with undefined)')
  expect(called).toBe(0)
  expect(records.map(({ settled }) => settled)).toEqual([false, false])
})

it('leaves the records unsettled, for the next subscription', async () => {
  const broker = memoryBroker()
  broker.publish('orders', [{ value: 'a' }, { value: 'b' }])
  const client = createClient({ driver: broker.driver(), group: 'billing', logger: false })
  const orders = client.topic('orders')
  const failed = new Promise<unknown>(resolve => {
    ;(orders as Observable<unknown>).pipe(map(String), handle(noop) as Untyped).subscribe({ error: resolve })
  })
  client.start()
  expect(await failed).toBeInstanceOf(TypeError)

  const handled: string[] = []
  await new Promise<void>(resolve => {
    orders.pipe(handle(({ value }) => void handled.push(String(value)))).subscribe(() => {
      if (handled.length === 2) resolve()
    })
  })
  expect(handled).toEqual(['a', 'b'])
  await client.close()
})

it.each(Object.entries(operators))('accepts records that a test made: %s', async (_, operator) => {
  const record = { topic: 'orders', partition: 0, offset: 0n, key: null, value: Buffer.from('a'), settled: false }
  const own = { ...record, signal: new AbortController().signal, ack: () => true, fail: () => true, map: () => own }
  await new Promise<void>((resolve, reject) => {
    of({ ...own, source: { kind: 'topic', topic: 'orders', partition: 0, offset: 0n } })
      .pipe(operator as Untyped)
      .subscribe({ error: reject, complete: resolve })
  })
})
