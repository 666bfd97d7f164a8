import { setImmediate } from 'node:timers/promises'
import { map, of, range, Subject, take, tap } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { ConfigurationError } from '../../src/errors.js'
import { keep } from '../../src/operators/keep.js'
import type { ConsumeRecord, DeliveredRecord } from '../../src/record.js'
import { FakeOwner, fakeRecord } from './fake-record.js'
import { testScheduler } from './stub-routing.js'

const owner = () => new FakeOwner()
const record = (value: string, by = owner()): DeliveredRecord =>
  fakeRecord({ owner: by, value, offset: value.charCodeAt(0) - 97 })
const isVowel = ({ value }: ConsumeRecord) => /[aeiou]/.test(String(value))
const letters = map(({ value }: ConsumeRecord) => String(value))

describe('keep', () => {
  it('emits records for which the predicate is true, and acks the rest at once', () => {
    testScheduler().run(({ hot, expectObservable, flush }) => {
      const by = owner()
      const input = hot('   -a-b-c-e-|', Object.fromEntries([...'abce'].map(name => [name, record(name, by)])))
      const expected = '    -a-----e-|'
      expectObservable(input.pipe(keep(isVowel), letters)).toBe(expected)
      flush()
      expect(by.settlements).toEqual([
        { offset: 1, how: 'acked' },
        { offset: 2, how: 'acked' },
      ])
    })
  })

  it('ends as its source does', () => {
    testScheduler().run(({ cold, expectObservable }) => {
      expectObservable(cold<ConsumeRecord>('-').pipe(keep(isVowel))).toBe('-')
      expectObservable(cold<ConsumeRecord>('|').pipe(keep(isVowel))).toBe('|')
      expectObservable(cold<ConsumeRecord>('a-#', { a: record('a') }).pipe(keep(isVowel), letters)).toBe('a-#')
    })
  })

  it('unsubscribes from its source when it is unsubscribed, and settles nothing more', () => {
    testScheduler().run(({ hot, expectObservable, expectSubscriptions, flush }) => {
      const by = owner()
      const input = hot('   -a-b--', { a: record('a', by), b: record('b', by) })
      const unsubscribed = '--!'
      expectObservable(input.pipe(keep(isVowel), letters), unsubscribed).toBe('-a')
      expectSubscriptions(input.subscriptions).toBe('^-!')
      flush()
      expect(by.settlements).toEqual([])
    })
  })

  it('unsubscribes from a synchronous source as soon as it is unsubscribed', () => {
    const seen: number[] = []
    range(0, 100)
      .pipe(
        tap(n => seen.push(n)),
        map(() => record('a')),
        keep(isVowel),
        take(3),
      )
      .subscribe()
    expect(seen).toEqual([0, 1, 2])
  })

  it('fails the record for which the predicate throws, and continues', () => {
    testScheduler().run(({ hot, expectObservable, flush }) => {
      const by = owner()
      const input = hot('   -x-a-|', { x: record('x', by), a: record('a', by) })
      const expected = '    ---a-|'
      const strict = (one: ConsumeRecord) => {
        if (String(one.value) === 'x') throw 'no letter'
        return isVowel(one)
      }
      expectObservable(input.pipe(keep(strict), letters)).toBe(expected)
      flush()
      expect(by.settlements).toEqual([{ offset: 23, how: 'failed', reason: 'no letter', retry: true }])
    })
  })

  it.each([
    ['a promise that resolves', async () => false, 'a promise'],
    ['a promise that rejects', () => Promise.reject(new Error('nobody handles this')), 'a promise'],
    ['an Observable', () => of(false), 'an Observable'],
  ])('fails a record whose predicate returns %s, which would be truthy', async (_, answer, kind) => {
    const by = owner()
    const emitted: unknown[] = []
    const predicate = answer as unknown as () => boolean
    of(record('a', by))
      .pipe(keep(predicate))
      .subscribe(one => emitted.push(one))
    expect(emitted).toEqual([])
    expect(by.settlements).toMatchObject([
      {
        how: 'failed',
        reason: { name: 'TypeError', message: `keep: the predicate must return a boolean (got ${kind})` },
      },
    ])
    // An unhandled rejection would fail this test.
    await setImmediate()
  })

  it('counts the records of each subscription from 0', () => {
    const indexes: number[] = []
    const odd = of(record('a'), record('b'), record('c')).pipe(
      keep((_, index) => {
        indexes.push(index)
        return index === 1
      }),
      letters,
    )
    for (const seen of [[] as string[], [] as string[]]) {
      odd.subscribe(letter => seen.push(letter))
      expect(seen).toEqual(['b'])
    }
    expect(indexes).toEqual([0, 1, 2, 0, 1, 2])
  })

  it('emits in order when an ack makes its source emit', () => {
    const by = owner()
    const input = new Subject<ConsumeRecord>()
    const seen: string[] = []
    by.onSettled = () => input.next(record('e', by))
    input.pipe(keep(isVowel), letters).subscribe(letter => seen.push(letter))
    input.next(record('b', by))
    input.next(record('a', by))
    expect(seen).toEqual(['e', 'a'])
  })

  it('accepts only a function', () => {
    expect(() => keep(undefined as never)).toThrow(ConfigurationError)
    expect(() => keep(undefined as never)).toThrow('keep: predicate')
  })
})
