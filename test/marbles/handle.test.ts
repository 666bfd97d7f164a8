import { Readable } from 'node:stream'
import {
  BehaviorSubject,
  bufferCount,
  bufferTime,
  concatMap,
  EMPTY,
  from,
  lastValueFrom,
  map,
  NEVER,
  Observable,
  of,
  pipe,
  range,
  Subject,
  startWith,
  take,
  tap,
  throwError,
  toArray,
  VirtualTimeScheduler,
  windowTime,
} from 'rxjs'
import { describe, expect, it, vi } from 'vitest'
import type { Rebalances } from '../../src/delivery.js'
import { ConfigurationError, HandlerTimeoutError } from '../../src/errors.js'
import { BatchFailure } from '../../src/operators/handle/batch-failure.js'
import { type HandleOptions, handle, type Outcome } from '../../src/operators/handle/handle.js'
import type { HandlerContext } from '../../src/operators/handle/handling.js'
import { Lanes, type LaneUser } from '../../src/operators/handle/lanes.js'
import { type ConsumeRecord, type DeliveredRecord, type DeliveryPhase, deliveryOf } from '../../src/record.js'
import { FakeOwner, fakeRecord } from './fake-record.js'
import { testScheduler } from './stub-routing.js'

/** A record that is identified by its value. Tests choose its key and partition. */
function record(name: string, { key = name as string | null, owner = new FakeOwner() } = {}): DeliveredRecord {
  return fakeRecord({ owner, key, value: name })
}

function nameOf(one: ConsumeRecord<unknown>): string {
  return String(deliveryOf(one)!.value)
}

function inWords(outcome: Outcome<ConsumeRecord<unknown>>): string {
  const detail = outcome.status === 'acked' ? outcome.value : outcome.reason
  return `${nameOf(outcome.record)} ${outcome.status}${detail === undefined ? '' : ` ${String(detail)}`}`
}

const words = { A: 'a acked', B: 'b acked', C: 'c acked', D: 'd acked', x: 'a failed x', y: 'b failed y' }

function outcomesOf(outcomes: Observable<Outcome<ConsumeRecord<unknown>>>): Promise<string[]> {
  return new Promise((resolve, reject) => {
    outcomes.pipe(map(inWords), toArray()).subscribe({ next: resolve, error: reject })
  })
}

describe('handle: order', () => {
  it('handles one record of a partition at a time, and partitions in parallel', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const [first, second] = [new FakeOwner('orders', 0), new FakeOwner('orders', 1)]
      const input = hot('   abcd-------|', {
        a: record('a', { owner: first }),
        b: record('b', { owner: first }),
        c: record('c', { owner: second }),
        d: record('d', { owner: second }),
      })
      const work = '        ----|'
      const expected = '    ----A-C-B-D|'
      const outcomes = input.pipe(handle(() => cold(work)))
      expectObservable(outcomes.pipe(map(inWords))).toBe(expected, words)
    })
  })

  it('handles one record of a partition at a time even after a new assignment of the partition', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const input = hot('   ab------|', {
        a: record('a', { owner: new FakeOwner('orders', 0) }),
        b: record('b', { owner: new FakeOwner('orders', 0) }),
      })
      const work = '        ---|'
      const expected = '    ---A--B-|'
      const outcomes = input.pipe(handle(() => cold(work)))
      expectObservable(outcomes.pipe(map(inWords))).toBe(expected, words)
    })
  })

  it('handles one record of a key at a time, and keys in parallel', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const input = hot('   abc-------|', {
        a: record('a', { key: 'k' }),
        b: record('b', { key: 'k', owner: new FakeOwner('orders', 1) }),
        c: record('c', { key: 'l' }),
      })
      const work = '        ----|'
      const expected = '    ----A-C-B-|'
      const outcomes = input.pipe(handle(() => cold(work), { order: 'key' }))
      expectObservable(outcomes.pipe(map(inWords))).toBe(expected, words)
    })
  })

  it('keeps no order of records without a key, but an empty key is a key', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const input = hot('   abcd-------|', {
        a: record('a', { key: null }),
        b: record('b', { key: null }),
        c: record('c', { key: '' }),
        d: record('d', { key: '' }),
      })
      const work = '        ---|'
      const expected = '    ---ABC--D--|'
      const outcomes = input.pipe(handle(() => cold(work), { order: 'key' }))
      expectObservable(outcomes.pipe(map(inWords))).toBe(expected, words)
    })
  })

  it.each([
    ['none', 64],
    ['key', 64],
    ['partition', 100],
  ] as const)('handles by order %s %i of 100 records at a time, unless `concurrency` says otherwise', (order, most) => {
    let begun = 0
    const records = range(0, 100).pipe(
      map(partition => record(`${partition}`, { owner: new FakeOwner('orders', partition) })),
    )
    const handling = records.pipe(
      handle(
        () => {
          begun++
          return NEVER
        },
        { order },
      ),
    )
    handling.subscribe().unsubscribe()
    expect(begun).toBe(most)
  })

  it('handles at most `concurrency` records at a time, and starts them in the order of arrival', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const records = { a: record('a'), b: record('b'), c: record('c'), d: record('d') }
      const work = '        ----|'
      const expected = '    ----AB--CD-|'
      for (const order of ['key', 'none'] as const) {
        const input = hot(' abcd-------|', records)
        const again = input.pipe(map(({ key, value }) => fakeRecord({ key, value })))
        const outcomes = again.pipe(handle(() => cold(work), { order, concurrency: 2 }))
        expectObservable(outcomes.pipe(map(inWords))).toBe(expected, words)
      }
    })
  })

  it('starts an array once it is first in all of its partitions', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const [first, second] = [new FakeOwner('orders', 0), new FakeOwner('orders', 1)]
      const input = hot('   (abc)-----------|', {
        a: [record('a', { owner: first })],
        b: [record('b', { owner: first }), record('c', { owner: second })],
        c: [record('d', { owner: second })],
      })
      const work = '        -----|'
      const expected = '    -----A----(BC)-D|'
      const outcomes = input.pipe(handle(() => cold(work)))
      expectObservable(outcomes.pipe(map(inWords))).toBe(expected, words)
    })
  })

  it('starts an array that waits for two partitions after the later of them', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const [first, second] = [new FakeOwner('orders', 0), new FakeOwner('orders', 1)]
      const input = hot('   abc---------|', {
        a: [record('a', { owner: first })],
        b: [record('b', { owner: second })],
        c: [record('c', { owner: first }), record('d', { owner: second })],
      })
      const expected = '    --A--B-(CD)-|'
      const work: Record<string, string> = { a: '--|', b: '----|', c: '--|' }
      const outcomes = input.pipe(handle(([one]) => cold(work[nameOf(one!)]!)))
      expectObservable(outcomes.pipe(map(inWords))).toBe(expected, words)
    })
  })

  it('releases nothing behind a failed record after it was unsubscribed', () => {
    const routed: (() => void)[] = []
    const phases: string[] = []
    class Owner extends FakeOwner {
      override whenDone(_: DeliveredRecord, done: () => void): void {
        routed.push(done)
      }
      override hold(): void {
        phases.push('held')
      }
      override release(): boolean {
        phases.push('released')
        return true
      }
    }
    const owner = new Owner()
    const input = new Subject<DeliveredRecord>()
    const handled = input.pipe(handle(() => throwError(() => 'x'), { order: 'key' })).subscribe()
    input.next(fakeRecord({ owner, key: 'k', offset: 0 }))
    input.next(fakeRecord({ owner, key: 'k', offset: 1 }))
    handled.unsubscribe()
    // By now the next subscription may have queued it behind another record.
    for (const done of routed) done()
    expect(phases).toEqual(['held'])
  })

  it('forgets a key when its last record is done', () => {
    interface User extends LaneUser<User> {}
    const lanes = new Lanes<User>('key')
    const users = ['k', 'k', 'l', 'm'].map(key => {
      const user: User = {
        places: undefined,
        waitsFor: 0,
        blockedIn: 0,
        hasDeliveryOf: () => false,
        follows: () => false,
        blocked() {},
        unblocked() {},
      }
      lanes.enter(user, record('r', { key }))
      return user
    })
    expect(lanes.keys).toBe(3)
    for (const { places } of users) lanes.leave(places!, () => {})
    expect(lanes.keys).toBe(0)
  })

  it('starts the records of a generated stream of one partition in order, one at a time', async () => {
    const owner = new FakeOwner()
    const started: string[] = []
    const names = Array.from({ length: 200 }, (_, at) => String(at))
    const outcomes = await outcomesOf(
      from(names.map(name => record(name, { owner }))).pipe(
        handle(async one => {
          started.push(nameOf(one))
          await Promise.resolve()
        }),
      ),
    )
    expect(started).toEqual(names)
    expect(outcomes).toEqual(names.map(name => `${name} acked`))
  })
})

describe('handle: ends', () => {
  it('emits nothing for a source without records, and ends as it does', () => {
    testScheduler().run(({ cold, expectObservable }) => {
      expectObservable(cold<ConsumeRecord>('-').pipe(handle(() => 1))).toBe('-')
      expectObservable(cold<ConsumeRecord>('|').pipe(handle(() => 1))).toBe('|')
      expectObservable(cold<ConsumeRecord>('--#').pipe(handle(() => 1))).toBe('--#')
    })
  })

  it('waits for running and waiting handlers when the source completes', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const owner = new FakeOwner()
      const input = hot('   ab|', { a: record('a', { owner }), b: record('b', { owner }) })
      const work = '        ---|'
      const expected = '    ---A--(B|)'
      const outcomes = input.pipe(handle(() => cold(work)))
      expectObservable(outcomes.pipe(map(inWords))).toBe(expected, words)
    })
  })

  it('does not subscribe to the result of a handler that has unsubscribed', () => {
    const owner = new FakeOwner()
    const input = new Subject<ConsumeRecord>()
    let begun = false
    const handled = input
      .pipe(
        handle(() => {
          handled.unsubscribe()
          return new Observable<void>(() => {
            begun = true
          })
        }),
      )
      .subscribe()
    input.next(record('a', { owner }))
    expect(begun).toBe(false)
    expect(owner.settlements).toEqual([])
  })

  it('leaves neither an unhandled rejection nor a timer if the handler unsubscribes', async () => {
    const scheduler = new VirtualTimeScheduler()
    const unhandled: unknown[] = []
    const listen = (reason: unknown) => unhandled.push(reason)
    process.on('unhandledRejection', listen)
    const input = new Subject<ConsumeRecord>()
    const handled = input
      .pipe(
        handle(
          () => {
            handled.unsubscribe()
            return Promise.reject(new Error('too late'))
          },
          { timeout: 60_000, scheduler },
        ),
      )
      .subscribe()
    input.next(record('a'))
    await new Promise(resolve => setImmediate(resolve))
    process.off('unhandledRejection', listen)
    expect(unhandled).toEqual([])
    expect(scheduler.actions).toEqual([])
  })

  it('passes an error of the source on at once, and cancels running handlers', () => {
    testScheduler().run(({ hot, cold, expectObservable, expectSubscriptions, flush }) => {
      const owner = new FakeOwner()
      const work = cold('   -----|')
      const input = hot('   -a-#', { a: record('a', { owner }) })
      const handled = '     -^-!'
      const expected = '    ---#'
      expectObservable(input.pipe(handle(() => work))).toBe(expected)
      expectSubscriptions(work.subscriptions).toBe(handled)
      flush()
      expect(owner.settlements).toEqual([])
    })
  })

  it('cancels running handlers when it is unsubscribed, and leaves their records unsettled', () => {
    testScheduler().run(({ hot, cold, expectObservable, expectSubscriptions, flush }) => {
      const owner = new FakeOwner()
      const work = cold('    -----|')
      const input = hot('    -ab----', { a: record('a', { owner }), b: record('b', { owner }) })
      const handled = '      -^-!'
      const unsubscribed = ' ---!'
      expectObservable(input.pipe(handle(() => work)), unsubscribed).toBe('-')
      expectSubscriptions(work.subscriptions).toBe(handled)
      expectSubscriptions(input.subscriptions).toBe('^--!')
      flush()
      expect(owner.settlements).toEqual([])
    })
  })

  it('unsubscribes from a synchronous source as soon as it is unsubscribed', () => {
    const seen: number[] = []
    range(0, 100)
      .pipe(
        tap(n => seen.push(n)),
        map(n => record(String(n))),
        handle(() => 1),
        take(3),
      )
      .subscribe()
    expect(seen).toEqual([0, 1, 2])
  })

  it('ignores a promise that resolves after it was unsubscribed', async () => {
    const owner = new FakeOwner()
    const input = new Subject<ConsumeRecord>()
    const subscription = input.pipe(handle(async () => 1)).subscribe()
    input.next(record('a', { owner }))
    subscription.unsubscribe()
    await Promise.resolve()
    await Promise.resolve()
    expect(owner.settlements).toEqual([])
  })
})

describe('handle: results', () => {
  it('acks at completion, and emits the last value', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const input = hot('   a---------|', { a: record('a') })
      const work = '        -1-2--|'
      const expected = '    ------A---|'
      const outcomes = input.pipe(handle(() => cold(work)))
      expectObservable(outcomes.pipe(map(inWords))).toBe(expected, { A: 'a acked 2' })
    })
  })

  it('fails the record, never the pipeline, when the handler fails', () => {
    testScheduler().run(({ hot, cold, expectObservable, flush }) => {
      const owner = new FakeOwner()
      const input = hot('   ab------|', { a: record('a', { owner }), b: record('b', { owner }) })
      const expected = '    --x--B--|'
      const outcomes = input.pipe(handle(one => (nameOf(one) === 'a' ? cold('--#', {}, 'x') : cold('---|'))))
      expectObservable(outcomes.pipe(map(inWords))).toBe(expected, words)
      flush()
      expect(owner.settlements).toEqual([
        { offset: 0, how: 'failed', reason: 'x', retry: true },
        { offset: 0, how: 'acked' },
      ])
    })
  })

  it('treats an exception of the handler as a failure', () => {
    testScheduler().run(({ hot, expectObservable }) => {
      const input = hot('   a-b-|', { a: record('a'), b: record('b') })
      const expected = '    x-B-|'
      const outcomes = input.pipe(
        handle(one => {
          if (nameOf(one) === 'a') throw 'x'
        }),
      )
      expectObservable(outcomes.pipe(map(inWords))).toBe(expected, words)
    })
  })

  it('accepts values, promises, Observables and iterables of all kinds', async () => {
    const thenable = { then: (resolve: (value: string) => void) => resolve('thenable') }
    const rejecting = {
      get then(): never {
        throw 'broken thenable'
      },
    }
    const results: Record<string, () => unknown> = {
      nothing: () => undefined,
      null: () => null,
      text: () => 'text is a value',
      array: () => [1, 2],
      promise: async () => 'promised',
      rejection: () => Promise.reject('rejected'),
      thenable: () => thenable,
      rejecting: () => rejecting,
      nested: () => ({ then: (resolve: (value: unknown) => void) => resolve(Promise.resolve('nested')) }),
      observable: () => of(1, 2, 3),
      empty: () => EMPTY,
      error: () => throwError(() => 'errored'),
      generator: function* () {
        yield 'first'
        yield 'last'
      },
      asyncGenerator: async function* () {
        yield 'first'
        yield 'later'
      },
      interop: () => ({ [Symbol.observable ?? '@@observable']: () => of('foreign') }),
    }
    const outcomes = await outcomesOf(
      from(Object.keys(results)).pipe(
        map(name => record(name)),
        handle(one => results[nameOf(one)]!()),
      ),
    )
    expect(outcomes.sort()).toEqual([
      'array acked 1,2',
      'asyncGenerator acked later',
      'empty acked',
      'error failed errored',
      'generator acked last',
      'interop acked foreign',
      'nested acked nested',
      'nothing acked',
      'null acked null',
      'observable acked 3',
      'promise acked promised',
      'rejecting failed broken thenable',
      'rejection failed rejected',
      'text acked text is a value',
      'thenable acked thenable',
    ])
  })

  describe('that still has to be done', () => {
    const kinds: Record<string, (did: () => void) => unknown> = {
      observable: did =>
        new Observable(subscriber => {
          did()
          subscriber.next('done')
          subscriber.complete()
        }),
      'foreign observable': did => ({
        [Symbol.observable ?? '@@observable']: () => of('done').pipe(tap(did)),
      }),
      'async generator': did =>
        (async function* () {
          did()
          yield 'done'
        })(),
      generator: did =>
        (function* () {
          did()
          yield 'done'
        })(),
    }

    it.each(Object.entries(kinds))('is done before the ack if a promise resolves with it: %s', async (_, kind) => {
      const owner = new FakeOwner()
      const did: number[] = []
      const outcomes = await outcomesOf(
        of(record('a', { owner })).pipe(handle(async () => kind(() => did.push(owner.settlements.length)))),
      )
      expect(outcomes).toEqual(['a acked done'])
      expect(did).toEqual([0])
    })

    it('fails the record if it errors, takes too long or cannot be subscribed to, and holds up nobody else', async () => {
      const torn = new Error('cannot be subscribed to')
      const broken = {
        [Symbol.observable ?? '@@observable']: () => {
          throw torn
        },
      }
      let stopped = 0
      const results: Record<string, () => Promise<unknown>> = {
        a: async () => throwError(() => 'errored'),
        b: async () => new Observable(() => () => stopped++),
        c: async () => broken,
        d: async () => of('fine'),
      }
      const outcomes = await outcomesOf(
        from(Object.keys(results)).pipe(
          map(name => record(name)),
          handle(one => results[nameOf(one)]!(), { order: 'none', timeout: 20 }),
        ),
      )
      expect(outcomes.sort()).toEqual([
        'a failed errored',
        expect.stringMatching(/^b failed HandlerTimeoutError/),
        'c failed Error: cannot be subscribed to',
        'd acked fine',
      ])
      expect(stopped).toBe(1)
    })

    it('does not begin once the call has timed out or is unsubscribed', async () => {
      let begun = 0
      let resolve = (_: Observable<never>) => {}
      const work = new Observable<never>(() => {
        begun++
      })
      const late = () =>
        new Promise<Observable<never>>(later => {
          resolve = later
        })
      await outcomesOf(of(record('a')).pipe(handle(late, { timeout: 1 })))
      resolve(work)
      of(record('b')).pipe(handle(late)).subscribe().unsubscribe()
      resolve(work)
      await new Promise(done => setImmediate(done))
      expect(begun).toBe(0)
    })

    it('is unsubscribed with the stream', async () => {
      let stopped = 0
      const handling = NEVER.pipe(
        startWith(record('a')),
        handle(async () => new Observable<never>(() => () => stopped++)),
      ).subscribe()
      await new Promise(done => setImmediate(done))
      expect(stopped).toBe(0)
      handling.unsubscribe()
      expect(stopped).toBe(1)
    })

    it('fails the record if it is the last value of an Observable, where nothing would subscribe to it', async () => {
      const outcomes = await outcomesOf(of(record('a')).pipe(handle(() => of(1).pipe(map(() => of('never'))))))
      expect(outcomes).toEqual([expect.stringMatching(/^a failed TypeError: handle: .* with mergeMap in place of map/)])
    })

    it('fails the record if it is in an array, like a promise there: nothing would wait for it', async () => {
      const results: Record<string, () => unknown> = {
        a: () => [1, Promise.resolve(2)],
        b: async () => [Promise.reject(new Error('lost'))],
        c: () => [of('never')],
        d: () => of([of('never')]),
        e: () => Promise.all([Promise.resolve('all')]),
        f: () => ['plain', null, { then: 'no promise' }],
      }
      const outcomes = await outcomesOf(
        from(Object.keys(results)).pipe(
          map(name => record(name)),
          handle(one => results[nameOf(one)]!(), { order: 'none' }),
        ),
      )
      const failed = (name: string) =>
        expect.stringMatching(new RegExp(`^${name} failed TypeError: handle: .* return Promise.all`))
      expect(outcomes.sort()).toEqual([
        ...['a', 'b', 'c', 'd'].map(failed),
        'e acked all',
        expect.stringMatching(/^f acked/),
      ])
    })

    it('is a value if it has begun already: the body of a response, for one', async () => {
      const body = Readable.from(['a', 'b'])
      const outcomes: unknown[] = []
      await lastValueFrom(
        of(record('a')).pipe(
          handle(async () => body),
          tap(outcome => outcomes.push(outcome)),
        ),
      )
      expect(outcomes).toMatchObject([{ status: 'acked', value: body }])
      expect(body.readableDidRead).toBe(false)
    })
  })

  it('settles the records of an array together', () => {
    testScheduler().run(({ hot, cold, expectObservable, flush }) => {
      const owner = new FakeOwner()
      const array = (...names: string[]) => names.map(name => record(name, { owner }))
      const input = hot('   a--b-------|', { a: array('a', 'b'), b: array('c', 'd') })
      const expected = '    --(AB)-(xy)|'
      const seen: string[][] = []
      const outcomes = input.pipe(
        handle(records => {
          seen.push(records.map(nameOf))
          return seen.length === 1 ? cold('--|') : cold('----#', {}, 'lost')
        }),
      )
      expectObservable(outcomes.pipe(map(inWords))).toBe(expected, { ...words, x: 'c failed lost', y: 'd failed lost' })
      flush()
      expect(seen).toEqual([
        ['a', 'b'],
        ['c', 'd'],
      ])
      expect(owner.settlements.map(({ how }) => how)).toEqual(['acked', 'acked', 'failed', 'failed'])
    })
  })

  it('calls no handler for an empty array', () => {
    testScheduler().run(({ hot, expectObservable }) => {
      const input = hot<ConsumeRecord[]>('-e-|', { e: [] })
      const expected = '                  ---|'
      const project = () => {
        throw new Error('called')
      }
      expectObservable(input.pipe(handle(project))).toBe(expected)
    })
  })
})

describe('handle: batches that fail in part', () => {
  const batch = (owner: FakeOwner, names: string) =>
    [...names].map((name, offset) => fakeRecord({ owner, key: name, value: name, offset }))
  const told = ({ settlements }: FakeOwner) =>
    settlements.map(one => `${one.offset} ${one.how}${'reason' in one ? ` ${one.reason}` : ''}`)

  it('fails the records that it names, each with its reason, and acks the others', async () => {
    const owner = new FakeOwner()
    const outcomes = await outcomesOf(
      of(batch(owner, 'abcd')).pipe(
        handle(async ([, b, , d]) => {
          throw BatchFailure.of([d!, 'bad d'], [b!.map(() => 1), 'bad b'], [b!, 'and again'])
        }),
      ),
    )
    expect(outcomes).toEqual(['a acked', 'b failed bad b', 'c acked', 'd failed bad d'])
    expect(told(owner)).toEqual(['0 acked', '1 failed bad b', '2 acked', '3 failed bad d'])
  })

  it.each([
    [
      'throws',
      (failure: BatchFailure) => {
        throw failure
      },
    ],
    ['rejects', (failure: BatchFailure) => Promise.reject(failure)],
    ['errors', (failure: BatchFailure) => throwError(() => failure)],
    ['returns', (failure: BatchFailure) => failure],
    ['resolves', (failure: BatchFailure) => Promise.resolve(failure)],
    ['emits', (failure: BatchFailure) => of(failure)],
  ] as const)('counts it for a handler that %s', async (_, fail) => {
    const owner = new FakeOwner()
    await outcomesOf(of(batch(owner, 'ab')).pipe(handle(([a]) => fail(BatchFailure.of([a!, 'bad'])) as unknown)))
    expect(told(owner)).toEqual(['0 failed bad', '1 acked'])
  })

  it('accepts one of another copy of the package', async () => {
    const owner = new FakeOwner()
    const foreign = (record: ConsumeRecord<unknown>) => ({
      [Symbol.for('rxmika.batch-failure')]: true,
      failures: [[record, 'bad']],
    })
    await outcomesOf(of(batch(owner, 'ab')).pipe(handle(([a]) => Promise.reject(foreign(a!)))))
    expect(told(owner)).toEqual(['0 failed bad', '1 acked'])
  })

  it.each([
    ['names a record of another batch', (other: ConsumeRecord) => BatchFailure.of([other, 'no']), /not of the batch/],
    ['names none', () => BatchFailure.of(), /at least one \[record, reason\]/],
    ['has something else than pairs', () => BatchFailure.of('a' as never), /pairs \[record, reason\]/],
    ['has pairs without a record', () => BatchFailure.of(['a', 'no'] as never), /pairs \[record, reason\]/],
  ])('fails the whole batch with a TypeError if it %s', async (_, fail, message) => {
    const [owner, other] = [new FakeOwner(), record('x')]
    await outcomesOf(of(batch(owner, 'ab')).pipe(handle(() => Promise.reject(fail(other)))))
    expect(owner.settlements).toHaveLength(2)
    for (const settlement of owner.settlements) {
      expect(settlement).toMatchObject({ how: 'failed', reason: expect.any(TypeError) })
      expect((settlement as { reason: TypeError }).reason.message).toMatch(message)
    }
    expect(other.settled).toBe(false)
  })

  it('fails a single record with the reason given for it', async () => {
    const outcomes = await outcomesOf(
      of(record('a')).pipe(handle(one => Promise.reject(BatchFailure.of([one, 'bad'])))),
    )
    expect(outcomes).toEqual(['a failed bad'])
  })

  it('accepts arrays however they are created', async () => {
    const owner = new FakeOwner()
    const made = [
      bufferCount<ConsumeRecord>(2),
      bufferTime<ConsumeRecord>(5),
      pipe(
        windowTime<ConsumeRecord>(5),
        concatMap(window => window.pipe(toArray())),
      ),
    ]
    for (const make of made) {
      await outcomesOf(
        from(batch(owner, 'ab')).pipe(
          make,
          handle(async ([, b]) => {
            throw BatchFailure.of([b!, 'bad'])
          }),
        ),
      )
    }
    expect(told(owner)).toEqual(['0 acked', '1 failed bad', '0 acked', '1 failed bad', '0 acked', '1 failed bad'])
  })

  it('begins the next record of a key after the acked records of a batch, and after a failed one once its route has ended', () => {
    const done: (() => void)[] = []
    class Owner extends FakeOwner {
      override whenDone(one: DeliveredRecord, tell: () => void): void {
        if (nameOf(one) === 'b') done.push(tell)
        else tell()
      }
    }
    const owner = new Owner()
    const input = new Subject<DeliveredRecord[]>()
    const begun: string[] = []
    input
      .pipe(
        handle(
          records => {
            begun.push(records.map(nameOf).join(''))
            if (begun.length === 1) throw BatchFailure.of([records[1]!, 'bad'])
          },
          { order: 'key' },
        ),
      )
      .subscribe()
    input.next(batch(owner, 'ab'))
    input.next([fakeRecord({ owner, key: 'b', value: 'B', offset: 3 })])
    input.next([fakeRecord({ owner, key: 'a', value: 'A', offset: 4 })])
    expect(begun).toEqual(['ab', 'A'])
    for (const tell of done) tell()
    expect(begun).toEqual(['ab', 'A', 'B'])
  })
})

describe('handle: batches one by one', () => {
  const batch = (owner: FakeOwner, names: string) =>
    [...names].map((name, offset) => fakeRecord({ owner, key: name, value: name, offset }))

  it('calls again with arrays of one, in order and one at a time, when a batch fails as a whole', () => {
    testScheduler().run(({ hot, cold, expectObservable, flush }) => {
      const owner = new FakeOwner()
      const begun: string[] = []
      const input = hot('   -b------------|', { b: batch(owner, 'abc') })
      const expected = '    -----A--y--C--|'
      const outcomes = input.pipe(
        handle(
          records => {
            begun.push(records.map(nameOf).join(''))
            if (records.length > 1) return cold('-#', {}, 'all')
            return nameOf(records[0]!) === 'b' ? cold('---#', {}, 'y') : cold('---|')
          },
          { onBatchFailure: 'one-by-one' },
        ),
      )
      expectObservable(outcomes.pipe(map(inWords))).toBe(expected, words)
      flush()
      expect(begun).toEqual(['abc', 'a', 'b', 'c'])
    })
  })

  it('settles each record by its own result, acks records that a BatchFailure does not name, and does not repeat a batch of one', async () => {
    const owner = new FakeOwner()
    const begun: string[] = []
    const outcomes = await outcomesOf(
      of(batch(owner, 'ab'), batch(owner, 'c'), batch(owner, 'de')).pipe(
        handle(
          records => {
            begun.push(records.map(nameOf).join(''))
            if (nameOf(records[0]!) === 'd') throw BatchFailure.of([records[1]!, 'bad'])
            throw `no ${records.map(nameOf).join('')}`
          },
          { onBatchFailure: 'one-by-one' },
        ),
      ),
    )
    expect(begun).toEqual(['ab', 'a', 'b', 'c', 'de'])
    expect(outcomes).toEqual(['a failed no a', 'b failed no b', 'c failed no c', 'd acked', 'e failed bad'])
  })

  it('skips records that are settled or revoked by then, and gives every call its own time-out', () => {
    const scheduler = testScheduler()
    scheduler.run(({ hot, expectObservable, flush }) => {
      const owner = new FakeOwner()
      const [a, b, c] = batch(owner, 'abc') as [DeliveredRecord, DeliveredRecord, DeliveredRecord]
      const input = hot('   -b----------|', { b: [a, b, c] })
      const expected = '    -----a-c----|'
      const outcomes = input.pipe(
        handle(
          records => {
            if (records.length > 1) b.fail('by hand')
            return NEVER
          },
          { onBatchFailure: 'one-by-one', timeout: 2, scheduler },
        ),
        map(({ record: one }) => nameOf(one)),
      )
      expectObservable(outcomes).toBe(expected)
      flush()
      expect(owner.settlements.map(({ how }) => how)).toEqual(['failed', 'failed', 'failed'])
    })
  })

  it('does not grow the stack, and uses one place of the concurrency', () => {
    const owner = new FakeOwner()
    const many = Array.from({ length: 20_000 }, (_, offset) => fakeRecord({ owner, value: 'n', offset }))
    let [running, most, calls] = [0, 0, 0]
    from([many, batch(owner, 'ab')])
      .pipe(
        handle(
          records => {
            calls++
            most = Math.max(most, ++running)
            running--
            if (records.length > 1) throw 'no'
          },
          { onBatchFailure: 'one-by-one', concurrency: 1 },
        ),
      )
      .subscribe()
    expect([calls, most, owner.settlements.length]).toEqual([20_004, 1, 20_002])
  })

  it('stops when it is unsubscribed, and leaves the rest unsettled', () => {
    const owner = new FakeOwner()
    const begun: string[] = []
    of(batch(owner, 'abc'))
      .pipe(
        handle(
          records => {
            begun.push(records.map(nameOf).join(''))
            if (records.length > 1) throw 'no'
          },
          { onBatchFailure: 'one-by-one' },
        ),
        take(1),
      )
      .subscribe()
    expect(begun).toEqual(['abc', 'a'])
    expect(owner.settlements).toEqual([{ offset: 0, how: 'acked' }])
  })

  it('begins none of the rest while partitions are revoked, and continues afterwards', () => {
    const changes = new Subject<void>()
    const rebalances = { underWay: false as boolean, changes } satisfies Rebalances
    const held: string[] = []
    class Owner extends FakeOwner {
      override readonly rebalances: Rebalances = rebalances
      override hold(one: DeliveredRecord, phase: DeliveryPhase): void {
        one.phase = phase
        held.push(`${nameOf(one)} ${phase}`)
      }
      override release(one: DeliveredRecord): boolean {
        one.phase = 'unsettled'
        held.push(`${nameOf(one)} released`)
        return true
      }
    }
    const owner = new Owner()
    const work = new Map<string, Subject<never>>()
    const emitted: string[] = []
    of(batch(owner, 'abc'))
      .pipe(
        handle(
          records => {
            if (records.length > 1) throw 'no'
            const subject = new Subject<never>()
            work.set(nameOf(records[0]!), subject)
            return subject
          },
          { onBatchFailure: 'one-by-one' },
        ),
      )
      .subscribe({ next: outcome => emitted.push(inWords(outcome)), complete: () => emitted.push('completed') })
    rebalances.underWay = true
    changes.next()
    expect(held).toEqual([])
    work.get('a')!.complete()
    expect(held.splice(0)).toEqual(['b resting', 'c resting'])
    expect([...work.keys()]).toEqual(['a'])
    rebalances.underWay = false
    changes.next()
    expect(held).toEqual(['b released', 'c released'])
    work.get('b')!.complete()
    work.get('c')!.complete()
    expect(emitted).toEqual(['a acked', 'b acked', 'c acked', 'completed'])
  })
})

describe('handle: the signal of a call', () => {
  /** Handlers that never end by themselves, and the signals that they got. */
  function run(
    options: HandleOptions = {},
    records: ConsumeRecord<unknown>[] | ConsumeRecord<unknown>[][] = [record('a')],
  ) {
    const scheduler = new VirtualTimeScheduler()
    const signals: AbortSignal[] = []
    const contexts: HandlerContext[] = []
    const input = new Subject<ConsumeRecord<unknown> | ConsumeRecord<unknown>[]>()
    const emitted: string[] = []
    const subscription = input
      .pipe(
        handle(
          (_, context) => {
            contexts.push(context)
            signals.push(context.signal)
            return NEVER
          },
          { order: 'none', scheduler, ...options },
        ),
      )
      .subscribe(outcome => emitted.push(inWords(outcome)))
    for (const one of records) input.next(one)
    return { scheduler, signals, contexts, input, emitted, subscription }
  }

  it('is aborted at the time-out, with the error that the record fails with', () => {
    const { scheduler, signals, emitted } = run({ timeout: 5 })
    expect(signals[0]!.aborted).toBe(false)
    scheduler.flush()
    expect(signals[0]!.reason).toBeInstanceOf(HandlerTimeoutError)
    expect(emitted).toEqual([`a failed ${signals[0]!.reason}`])
  })

  it('is aborted when the partition is revoked or lost, and for a batch when all its partitions are', () => {
    const [first, second] = [new FakeOwner(), new FakeOwner('orders', 1)]
    const { signals } = run({}, [[record('a', { owner: first }), record('b', { owner: second })]])
    const single = run({}, [record('c', { owner: first })]).signals
    first.end()
    expect([signals[0]!.aborted, single[0]!.aborted]).toEqual([false, true])
    second.end()
    expect(signals[0]!.aborted).toBe(true)
    expect(single[0]!.reason).toMatchObject({ name: 'AbortError' })
  })

  it('is aborted on unsubscribing, even if it is read only then', () => {
    const { signals, contexts, subscription } = run()
    const late = run()
    subscription.unsubscribe()
    late.subscription.unsubscribe()
    expect(signals[0]!.reason).toMatchObject({ name: 'AbortError' })
    expect(contexts[0]!.signal).toBe(signals[0])
    let asked: HandlerContext | undefined
    const lazy = new Subject<ConsumeRecord>()
    const lazily = lazy
      .pipe(
        handle((_, context) => {
          asked = context
          return NEVER
        }),
      )
      .subscribe()
    lazy.next(record('a'))
    lazily.unsubscribe()
    expect(asked!.signal.aborted).toBe(true)
  })

  it('is separate for each call, and not aborted when its call or another one ends', () => {
    const { signals, input } = run({}, [record('a'), record('b')])
    const ended: AbortSignal[] = []
    const owner = new FakeOwner()
    of(record('c', { owner }))
      .pipe(handle((_, { signal }) => void ended.push(signal)))
      .subscribe()
    owner.end()
    expect(new Set([...signals, ...ended]).size).toBe(3)
    expect(ended[0]!.aborted).toBe(false)
    input.complete()
    expect(signals.map(({ aborted }) => aborted)).toEqual([false, false])
  })

  it('is not created for a handler that does not read it', () => {
    class Owner extends FakeOwner {
      override get signal(): AbortSignal {
        throw new Error('made a signal')
      }
    }
    const owner = new Owner()
    of(record('a', { owner }))
      .pipe(handle(() => of(1)))
      .subscribe()
    expect(owner.settlements).toEqual([{ offset: 0, how: 'acked' }])
  })

  it('leaves no listener at the signal of its partition', () => {
    const owner = new FakeOwner()
    const added = vi.spyOn(owner.signal, 'addEventListener')
    const removed = vi.spyOn(owner.signal, 'removeEventListener')
    const records = Array.from({ length: 100 }, () => record('a', { owner }))
    from(records)
      .pipe(handle((_, { signal }) => of(signal.aborted)))
      .subscribe()
    expect(added.mock.calls).toHaveLength(100)
    expect(removed.mock.calls.map(([, listener]) => listener)).toEqual(added.mock.calls.map(([, listener]) => listener))
  })
})

describe('handle: a concurrency that changes', () => {
  it('begins nothing before the first number, pauses at 0, and keeps the last when it completes', () => {
    testScheduler().run(({ hot, cold, expectObservable, expectSubscriptions }) => {
      const input = hot('      abcd---------------|', {
        a: record('a'),
        b: record('b'),
        c: record('c'),
        d: record('d'),
      })
      const concurrency = hot('--1---0-----2|', { 0: 0, 1: 1, 2: 2 })
      const work = cold('        ---|')
      const expected = '       -----A--B------(CD)|'
      const outcomes = input.pipe(handle(() => work, { order: 'none', concurrency }))
      expectObservable(outcomes.pipe(map(inWords))).toBe(expected, words)
      expectSubscriptions(work.subscriptions).toBe(['--^--!', '-----^--!', '------------^--!', '------------^--!'])
    })
  })

  it('does not cancel running handlers above a lower limit', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const input = hot('      abcd----------|', { a: record('a'), b: record('b'), c: record('c'), d: record('d') })
      const concurrency = hot('3---1', { 1: 1, 3: 3 })
      const expected = '       -----ABC----D-|'
      const outcomes = input.pipe(handle(() => cold('-----|'), { order: 'none', concurrency }))
      expectObservable(outcomes.pipe(map(inWords))).toBe(expected, words)
    })
  })

  it('errors the stream if it errors, emits an invalid limit, or completes without one', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const source = () => hot<ConsumeRecord>('---')
      const error = expect.objectContaining({ code: 'RXMIKA_CONFIGURATION' })
      const failing = (concurrency: Observable<unknown>) =>
        source().pipe(handle(() => 1, { concurrency: concurrency as Observable<number> }))
      expectObservable(failing(cold('-#', {}, 'broken'))).toBe('-#', {}, 'broken')
      for (const wrong of [-1, 1.5, Number.NaN, '2', null]) {
        expectObservable(failing(cold('-w', { w: wrong }))).toBe('-#', {}, error)
      }
      expectObservable(failing(cold('-|'))).toBe('-#', {}, error)
      expectObservable(failing(of(Number.POSITIVE_INFINITY))).toBe('---')
    })
  })

  it('pauses a batch that is handled one by one, and continues with it first', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const owner = new FakeOwner()
      const input = hot('      -bc---------------|', {
        b: [record('a', { owner }), record('b', { owner })],
        c: [record('c')],
      })
      const concurrency = hot('1--0------1', { 0: 0, 1: 1 })
      const expected = '       -----A-------B--C-|'
      const outcomes = input.pipe(
        handle(records => (records.length > 1 ? cold('-#') : cold('---|')), {
          order: 'none',
          onBatchFailure: 'one-by-one',
          concurrency,
        }),
      )
      expectObservable(outcomes.pipe(map(inWords))).toBe(expected, words)
    })
  })

  it('is unsubscribed when the stream ends', () => {
    testScheduler().run(({ cold, hot, expectObservable, expectSubscriptions }) => {
      const concurrency = hot('1----', { 1: 1 })
      expectObservable(cold<ConsumeRecord>('--|').pipe(handle(() => 1, { concurrency }))).toBe('--|')
      expectSubscriptions(concurrency.subscriptions).toBe('^-!')
    })
  })

  it('accepts a number that a handler emits', () => {
    const limit = new BehaviorSubject(1)
    const begun: string[] = []
    from(['a', 'b', 'c'].map(name => record(name)))
      .pipe(
        handle(
          one => {
            begun.push(nameOf(one))
            limit.next(begun.length + 1)
            return NEVER
          },
          { order: 'none', concurrency: limit },
        ),
      )
      .subscribe()
    expect(begun).toEqual(['a', 'b', 'c'])
  })
})

describe('handle: timeout', () => {
  it('fails a record whose handler takes too long, stops the handler, and continues', () => {
    const scheduler = testScheduler()
    scheduler.run(({ hot, cold, expectObservable, expectSubscriptions }) => {
      const owner = new FakeOwner()
      const slow = cold('      ---------')
      const input = hot('      -a-b---------|', { a: record('a', { owner }), b: record('b', { owner }) })
      const handled = '        -^---!'
      const expected = '       -----a-B-----|'
      const outcomes = input.pipe(handle(one => (nameOf(one) === 'a' ? slow : cold('--|')), { timeout: 4, scheduler }))
      expectObservable(outcomes.pipe(map(inWords))).toBe(expected, {
        a: 'a failed HandlerTimeoutError: the record at orders-0@0 was not handled within 4 ms',
        B: 'b acked',
      })
      expectSubscriptions(slow.subscriptions).toBe(handled)
    })
  })

  it('leaves no timer behind', () => {
    const scheduler = testScheduler()
    scheduler.run(({ cold, flush }) => {
      of(record('a'), record('b'), record('c'))
        .pipe(
          handle(() => cold('--|'), { timeout: 50, scheduler }),
          take(2),
        )
        .subscribe()
      flush()
      expect(scheduler.frame).toBeLessThan(50)
    })
  })

  it('ignores a promise that resolves after the timeout', async () => {
    const owner = new FakeOwner()
    let resolve = (_: string) => {}
    const outcomes = await outcomesOf(
      of(record('a', { owner })).pipe(
        handle(
          () =>
            new Promise<string>(later => {
              resolve = later
            }),
          { timeout: 1 },
        ),
        tap(() => resolve('late')),
      ),
    )
    await Promise.resolve()
    expect(outcomes).toEqual([expect.stringContaining('a failed HandlerTimeoutError')])
    expect(owner.settlements).toHaveLength(1)
  })

  it('frees no second place when a promise resolves after its time-out', async () => {
    const owner = new FakeOwner()
    const started: string[] = []
    let late = () => {}
    const scheduler = new VirtualTimeScheduler()
    from(['a', 'b', 'c'].map(name => record(name, { owner })))
      .pipe(
        handle(
          one => {
            started.push(nameOf(one))
            return nameOf(one) === 'a' ? new Promise<void>(resolve => (late = resolve)) : NEVER
          },
          { timeout: 10, scheduler },
        ),
      )
      .subscribe()
    scheduler.maxFrames = 10
    scheduler.flush()
    late()
    await new Promise(resolve => setImmediate(resolve))
    expect(started).toEqual(['a', 'b'])
  })

  it('names the error of a teardown that throws as the cause', () => {
    const scheduler = testScheduler()
    scheduler.run(({ flush }) => {
      const outcomes: Outcome<ConsumeRecord<unknown>>[] = []
      const work = new Observable<never>(() => () => {
        throw new Error('cannot stop')
      })
      of(record('a'))
        .pipe(handle(() => work, { timeout: 4, scheduler }))
        .subscribe(outcome => outcomes.push(outcome))
      flush()
      const [outcome] = outcomes
      expect(outcome).toMatchObject({
        status: 'failed',
        reason: { cause: { message: expect.stringMatching(/cannot stop/) } },
      })
    })
  })
})

describe('handle: records that are settled elsewhere', () => {
  it('calls no handler for a record that was revoked or settled while it waited', () => {
    const owner = new FakeOwner()
    const input = new Subject<ConsumeRecord>()
    const first = new Subject<void>()
    const called: string[] = []
    const emitted: string[] = []
    const waiting = record('b', { owner })
    input
      .pipe(
        handle(one => {
          called.push(nameOf(one))
          return first
        }),
      )
      .subscribe(outcome => emitted.push(inWords(outcome)))
    input.next(record('a', { owner }))
    input.next(waiting)
    waiting.ack()
    input.next(record('c', { owner }))
    owner.end()
    first.complete()
    expect(called).toEqual(['a'])
    expect(emitted).toEqual([])
    expect(owner.settlements.map(({ how }) => how)).toEqual(['acked', 'late'])
  })

  it('calls the handler with the remaining records of an array', () => {
    const owner = new FakeOwner()
    const [gone, left] = [record('a', { owner }), record('b')]
    owner.end()
    const called: string[][] = []
    const emitted: string[] = []
    of([gone, left])
      .pipe(
        handle(records => {
          called.push(records.map(nameOf))
        }),
      )
      .subscribe(outcome => emitted.push(inWords(outcome)))
    expect(called).toEqual([['b']])
    expect(emitted).toEqual(['b acked'])
    expect(owner.settlements).toEqual([])
  })

  it('emits no outcome for a record that the handler settled itself', () => {
    const emitted: unknown[] = []
    of(record('a'))
      .pipe(handle(one => one.fail('by hand')))
      .subscribe(outcome => emitted.push(outcome))
    expect(emitted).toEqual([])
  })

  it('continues after skipped records, to the end', async () => {
    const owner = new FakeOwner()
    const records = ['a', 'b', 'c'].map(name => record(name, { owner }))
    const called: string[] = []
    const outcomes = await outcomesOf(
      from(records).pipe(
        handle(async one => {
          called.push(nameOf(one))
          records[1]!.ack()
        }),
      ),
    )
    expect(called).toEqual(['a', 'c'])
    expect(outcomes).toEqual(['a acked', 'c acked'])
  })
})

describe('handle: re-entrancy', () => {
  it('accepts a record that is delivered while another is being acked, and keeps the order of outcomes', () => {
    const owner = new FakeOwner()
    const input = new Subject<ConsumeRecord>()
    const emitted: string[] = []
    owner.onSettled = () => {
      if (owner.settlements.length === 1) input.next(record('b', { owner }))
    }
    input.pipe(handle(() => 1)).subscribe(outcome => emitted.push(inWords(outcome)))
    input.next(record('a', { owner }))
    expect(emitted).toEqual(['a acked 1', 'b acked 1'])
  })

  it('completes when the source completes while the last record is being acked', () => {
    const owner = new FakeOwner()
    const input = new Subject<ConsumeRecord>()
    const emitted: string[] = []
    owner.onSettled = () => input.complete()
    input
      .pipe(handle(() => 1))
      .subscribe({ next: outcome => emitted.push(inWords(outcome)), complete: () => emitted.push('completed') })
    input.next(record('a', { owner }))
    expect(emitted).toEqual(['a acked 1', 'completed'])
  })

  it('does not grow the stack when many waiting records end at once', () => {
    const owner = new FakeOwner()
    const input = new Subject<ConsumeRecord>()
    const first = new Subject<void>()
    let outcomes = 0
    input.pipe(handle(one => (nameOf(one) === 'first' ? first : undefined))).subscribe(() => outcomes++)
    input.next(record('first', { owner }))
    for (let n = 0; n < 50_000; n++) input.next(record('next', { owner }))
    first.complete()
    expect(outcomes).toBe(50_001)
  })
})

describe('handle: options', () => {
  it('refuses invalid options when it is created', () => {
    for (const concurrency of [0, -1, 1.5, Number.NaN]) {
      expect(() => handle(() => NEVER, { concurrency })).toThrow(ConfigurationError)
    }
    for (const timeout of [0, -1, Number.NaN, 2 ** 31]) {
      expect(() => handle(() => NEVER, { timeout })).toThrow(ConfigurationError)
    }
    expect(() => handle(() => NEVER, { order: 'offset' as 'none' })).toThrow("(got 'offset')")
  })
})
