import { concat, from, map, NEVER, type Observable, of, range, Subject, take, tap } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { ConfigurationError, DecodeError } from '../../src/errors.js'
import { type Decoder, decode } from '../../src/operators/decode.js'
import { json } from '../../src/operators/json.js'
import type { ConsumeRecord, DeliveredRecord } from '../../src/record.js'
import { FakeOwner, fakeRecord } from './fake-record.js'
import { testScheduler } from './stub-routing.js'

const text = (bytes: Buffer) => bytes.toString().toUpperCase()
const strict = (bytes: Buffer) => {
  if (bytes.toString() === 'x') throw new Error('x is no letter')
  return text(bytes)
}

function record(value: string | null, owner = new FakeOwner()): DeliveredRecord {
  return fakeRecord({ owner, value, key: value })
}

const records = { a: record('a'), b: record('b'), c: record('c'), t: record(null) }

function values<T>(source: Observable<ConsumeRecord<T>>): Observable<T> {
  return source.pipe(map(({ value }) => value))
}

/** A decoder whose promises the test resolves, identified by their texts. */
function deferred() {
  const settle = new Map<string, { resolve(value: string): void; reject(reason: unknown): void }>()
  const decoder = (bytes: Buffer) =>
    new Promise<string>((resolve, reject) => settle.set(bytes.toString(), { resolve, reject }))
  return {
    decoder,
    started: () => [...settle.keys()],
    async resolve(name: string) {
      settle.get(name)!.resolve(name.toUpperCase())
      await turn()
    },
    async reject(name: string) {
      settle.get(name)!.reject(new Error('no letter'))
      await turn()
    },
  }
}

const turn = () => new Promise(resolve => setImmediate(resolve))

describe('decode', () => {
  it('emits each record at once, with its value decoded', () => {
    testScheduler().run(({ hot, expectObservable }) => {
      const input = hot('   -a-b--c|', records)
      const expected = '    -A-B--C|'
      expectObservable(values(input.pipe(decode(text)))).toBe(expected)
    })
  })

  it('emits the same record, so that one settlement counts for both', () => {
    const delivered = record('a')
    of(delivered)
      .pipe(decode(text))
      .subscribe(one => one.ack())
    expect(delivered.settled).toBe(true)
  })

  it('leaves tombstones null, without calling the decoder', () => {
    testScheduler().run(({ hot, expectObservable }) => {
      const input = hot('   -t-a-|', records)
      const expected = '    -t-A-|'
      expectObservable(values(input.pipe(decode(text)))).toBe(expected, { t: null, A: 'A' })
    })
  })

  it('acks tombstones and drops them, even behind records that are still being decoded', async () => {
    const { decoder, resolve } = deferred()
    const owner = new FakeOwner()
    const emitted: unknown[] = []
    from([record('a'), record(null, owner), record('b')])
      .pipe(decode(decoder, { tombstones: 'ack' }))
      .subscribe({ next: ({ value }) => emitted.push(value), complete: () => emitted.push('|') })
    expect(owner.settlements).toEqual([{ offset: 0, how: 'acked' }])
    await resolve('b')
    await resolve('a')
    expect(emitted).toEqual(['A', 'B', '|'])
  })

  it('fails tombstones without retries, if asked to', () => {
    const owner = new FakeOwner()
    const emitted: unknown[] = []
    of(record(null, owner), record('a'))
      .pipe(decode(text, { tombstones: 'fail' }))
      .subscribe(({ value }) => emitted.push(value))
    expect(emitted).toEqual(['A'])
    expect(owner.settlements).toMatchObject([
      {
        how: 'failed',
        retry: false,
        reason: { code: 'RXMIKA_DECODE', message: expect.stringMatching(/orders-0@0 .* tombstone/) },
      },
    ])
    expect(() => decode(text, { tombstones: 'drop' as never })).toThrow("must be 'pass', 'ack' or 'fail'")
  })

  it('ends as its source does', () => {
    testScheduler().run(({ cold, expectObservable }) => {
      expectObservable(cold<ConsumeRecord>('-').pipe(decode(text))).toBe('-')
      expectObservable(cold<ConsumeRecord>('|').pipe(decode(text))).toBe('|')
      expectObservable(values(cold<ConsumeRecord>('a-#', records).pipe(decode(text)))).toBe('A-#')
    })
  })

  it('unsubscribes from its source when it is unsubscribed', () => {
    testScheduler().run(({ hot, expectObservable, expectSubscriptions }) => {
      const input = hot('   -a-b--', records)
      const unsubscribed = '--!'
      const expected = '    -A-'
      expectObservable(values(input.pipe(decode(text))), unsubscribed).toBe(expected)
      expectSubscriptions(input.subscriptions).toBe('^-!')
    })
  })

  it('unsubscribes from a synchronous source as soon as it is unsubscribed', () => {
    const seen: number[] = []
    range(0, 100)
      .pipe(
        tap(n => seen.push(n)),
        map(n => record(String(n))),
        decode(text),
        take(3),
      )
      .subscribe()
    expect(seen).toEqual([0, 1, 2])
  })

  it('fails records that do not decode, without retries, and continues', () => {
    testScheduler().run(({ hot, expectObservable, flush }) => {
      const owner = new FakeOwner()
      const input = hot('   -a-x-b-|', { ...records, x: record('x', owner) })
      const expected = '    -A---B-|'
      expectObservable(values(input.pipe(decode(strict)))).toBe(expected)
      flush()
      expect(owner.settlements).toEqual([{ offset: 0, how: 'failed', retry: false, reason: expect.any(DecodeError) }])
      expect(owner.settlements[0]).toMatchObject({
        reason: {
          message: 'the record at orders-0@0 does not decode: x is no letter',
          cause: { message: 'x is no letter' },
        },
      })
    })
  })

  it('fails records that do not decode, whatever the decoder throws', () => {
    for (const thrown of [undefined, 'text', Object.create(null), Symbol('s'), new DecodeError('as it is')]) {
      const owner = new FakeOwner()
      of(record('a', owner))
        .pipe(
          decode(() => {
            throw thrown
          }),
        )
        .subscribe()
      expect(owner.settlements).toMatchObject([{ how: 'failed', retry: false, reason: expect.any(DecodeError) }])
    }
  })

  it('accepts a record that is delivered while another is being failed or emitted', () => {
    const owner = new FakeOwner()
    const input = new Subject<ConsumeRecord>()
    const emitted: unknown[] = []
    owner.onSettled = () => input.next(record('b'))
    input.pipe(decode(strict)).subscribe(({ value }) => {
      emitted.push(value)
      if (value === 'B') input.next(record('c'))
    })
    input.next(record('x', owner))
    expect(emitted).toEqual(['B', 'C'])
  })

  it('refuses an invalid decoder when it is created', () => {
    expect(() => decode({} as Decoder<string>)).toThrow(ConfigurationError)
    expect(() => decode(undefined as unknown as Decoder<string>)).toThrow(ConfigurationError)
    for (const concurrency of [0, 1.5, Number.NaN]) {
      expect(() => decode(text, { concurrency })).toThrow(ConfigurationError)
    }
  })
})

describe('decode, asynchronously', () => {
  it('starts all at once and emits them in order of arrival', async () => {
    const { decoder, started, resolve } = deferred()
    const emitted: unknown[] = []
    from(['a', 'b', 'c'])
      .pipe(
        map(name => record(name)),
        decode(decoder),
      )
      .subscribe({ next: ({ value }) => emitted.push(value), complete: () => emitted.push('|') })
    expect(started()).toEqual(['a', 'b', 'c'])
    await resolve('b')
    expect(emitted).toEqual([])
    await resolve('a')
    expect(emitted).toEqual(['A', 'B'])
    await resolve('c')
    expect(emitted).toEqual(['A', 'B', 'C', '|'])
  })

  it('starts no more than concurrency allows', async () => {
    const { decoder, started, resolve } = deferred()
    from(['a', 'b', 'c', 'd'])
      .pipe(
        map(name => record(name)),
        decode(decoder, { concurrency: 2 }),
      )
      .subscribe()
    expect(started()).toEqual(['a', 'b'])
    await resolve('b')
    expect(started()).toEqual(['a', 'b', 'c'])
    await resolve('a')
    expect(started()).toEqual(['a', 'b', 'c', 'd'])
  })

  it('fails a record whose decoder rejects at once, with retries, and passes the others in order', async () => {
    const { decoder, reject, resolve } = deferred()
    const owner = new FakeOwner()
    const emitted: unknown[] = []
    from([record('a'), record('b', owner), record(null), record('c')])
      .pipe(decode(decoder))
      .subscribe(({ value }) => emitted.push(value))
    await reject('b')
    expect(owner.settlements).toEqual([{ offset: 0, how: 'failed', retry: true, reason: new Error('no letter') }])
    expect(emitted).toEqual([])
    await resolve('a')
    expect(emitted).toEqual(['A', null])
    await resolve('c')
    expect(emitted).toEqual(['A', null, 'C'])
  })

  it('fails without retries if its decoder rejects with a DecodeError, even of another copy of the package', async () => {
    const foreign = Object.assign(new Error('bad bytes'), {
      code: 'RXMIKA_DECODE',
      [Symbol.for('rxmika.error')]: true,
    })
    for (const reason of [new DecodeError('bad bytes'), foreign]) {
      const owner = new FakeOwner()
      of(record('a', owner))
        .pipe(decode(() => Promise.reject(reason)))
        .subscribe()
      await turn()
      expect(owner.settlements).toEqual([{ offset: 0, how: 'failed', retry: false, reason }])
    }
  })

  it('fails without retries if `json` refuses the value within an async decoder', async () => {
    const schema = z.string().refine(async name => name !== 'x')
    const decoders: Decoder<unknown>[] = [
      async bytes => json()(Buffer.from(bytes.toString().slice(1))),
      async (bytes, one) => json(z.number())(bytes, one),
      schema,
    ]
    for (const decoder of decoders) {
      const owner = new FakeOwner()
      of(record('"x"', owner)).pipe(decode(decoder)).subscribe()
      await turn()
      expect(owner.settlements).toMatchObject([
        {
          how: 'failed',
          retry: false,
          reason: { code: 'RXMIKA_DECODE', message: expect.stringMatching(/^the record at orders-0@0 does not/) },
        },
      ])
    }
  })

  it("retries if a schema's own async check rejects", async () => {
    const owner = new FakeOwner()
    const away = new Error('the database is away')
    const schema = { '~standard': { version: 1 as const, vendor: 'test', validate: () => Promise.reject(away) } }
    of(record('"a"', owner)).pipe(decode(schema)).subscribe()
    await turn()
    expect(owner.settlements).toEqual([{ offset: 0, how: 'failed', retry: true, reason: away }])
  })

  it('keeps synchronously decoded records behind earlier ones', async () => {
    const emitted: unknown[] = []
    const decoder = (bytes: Buffer) => (bytes.toString() === 'a' ? Promise.resolve('later') : 'now')
    from([record('a'), record('b')])
      .pipe(decode(decoder))
      .subscribe(({ value }) => emitted.push(value))
    await turn()
    expect(emitted).toEqual(['later', 'now'])
  })

  it('ignores values decoded after it was unsubscribed', async () => {
    const { decoder, resolve, reject } = deferred()
    const owner = new FakeOwner()
    const emitted: unknown[] = []
    const subscription = concat(from([record('a'), record('b', owner)]), NEVER)
      .pipe(decode(decoder))
      .subscribe(({ value }) => emitted.push(value))
    subscription.unsubscribe()
    await resolve('a')
    await reject('b')
    expect(emitted).toEqual([])
    expect(owner.settlements).toEqual([])
  })
})

describe('json', () => {
  const decodeAll = (decoder: Decoder<unknown>, bytes: Buffer) => {
    const owner = new FakeOwner()
    const delivered = fakeRecord({ owner, value: bytes })
    return new Promise<unknown>(resolve => {
      owner.onSettled = () => {
        const [settlement] = owner.settlements
        resolve(settlement?.how === 'failed' ? String(settlement.reason) : settlement)
      }
      of(delivered)
        .pipe(decode(decoder))
        .subscribe(({ value }) => resolve(value))
    })
  }

  it('parses JSON', async () => {
    expect(await decodeAll(json(), Buffer.from('{"id":"ä"}'))).toEqual({ id: 'ä' })
    expect(await decodeAll(json(), Buffer.from('null'))).toBeNull()
  })

  it('refuses values that are not JSON or not UTF-8', async () => {
    expect(await decodeAll(json(), Buffer.from('{'))).toContain('does not decode')
    expect(await decodeAll(json(), Buffer.alloc(0))).toContain('does not decode')
    expect(await decodeAll(json(), Buffer.from([0x22, 0xff, 0x22]))).toContain('not UTF-8')
  })

  it('validates with a schema, and reports what is wrong and where', async () => {
    const schema = z.object({ id: z.string(), amount: z.number().transform(cents => cents / 100) })
    for (const decoder of [schema, json(schema)]) {
      expect(await decodeAll(decoder, Buffer.from('{"id":"x","amount":250}'))).toEqual({ id: 'x', amount: 2.5 })
      expect(await decodeAll(decoder, Buffer.from('{"id":7,"amount":1}'))).toMatch(/does not decode: id: .*string/)
      expect(await decodeAll(decoder, Buffer.from('nonsense'))).toContain('does not decode')
    }
  })

  it('accepts schemas that validate asynchronously', async () => {
    const schema = z.string().refine(async name => name !== 'x')
    expect(await decodeAll(schema, Buffer.from('"a"'))).toBe('a')
    expect(await decodeAll(json(schema), Buffer.from('"x"'))).toContain('does not decode')
  })

  it('accepts schemas that are functions, like those of arktype', async () => {
    const schema = Object.assign(() => {}, {
      '~standard': { version: 1 as const, vendor: 'test', validate: (value: unknown) => ({ value: [value] }) },
    })
    expect(await decodeAll(schema, Buffer.from('1'))).toEqual([1])
  })
})
