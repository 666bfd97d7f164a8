import {
  EMPTY,
  from,
  map,
  NEVER,
  Observable,
  of,
  range,
  Subject,
  take,
  tap,
  throwError,
  toArray,
  VirtualTimeScheduler,
} from 'rxjs'
import { describe, expect, it } from 'vitest'
import { ConfigurationError } from '../../src/errors.js'
import { handle, type Outcome } from '../../src/operators/handle/handle.js'
import { Lanes, type LaneUser } from '../../src/operators/handle/lanes.js'
import { type ConsumeRecord, type DeliveredRecord, deliveryOf } from '../../src/record.js'
import { FakeOwner, fakeRecord } from './fake-record.js'
import { testScheduler } from './stub-routing.js'

/** A record that is known by its value; its key and its partition are what a test is about. */
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
  it('handles one record of a partition at a time and partitions side by side', () => {
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

  it('handles one record of a partition at a time also when the partition was assigned anew', () => {
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

  it('handles one record of a key at a time and keys side by side', () => {
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

  it('keeps records without a key in no order, while an empty key is a key', () => {
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

  it('handles no more at once than concurrency allows, and starts in the order of arrival', () => {
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

  it('lets nothing go any more that stood behind a failed record when it was unsubscribed', () => {
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
    // By now the next subscription may have it behind another.
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
        standsFor: () => false,
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

  it('starts everything in order, one at a time, when a stream of keys of one partition is generated', async () => {
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

  it('waits for handlers under way and waiting when the source completes', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const owner = new FakeOwner()
      const input = hot('   ab|', { a: record('a', { owner }), b: record('b', { owner }) })
      const work = '        ---|'
      const expected = '    ---A--(B|)'
      const outcomes = input.pipe(handle(() => cold(work)))
      expectObservable(outcomes.pipe(map(inWords))).toBe(expected, words)
    })
  })

  it('begins nothing that its handler returns when the handler has unsubscribed', () => {
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

  it('leaves neither a rejection nor a timer of a handler that has unsubscribed', async () => {
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

  it('passes an error of the source on at once, and cancels what runs', () => {
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

  it('cancels what runs when it is unsubscribed, and leaves the records unsettled', () => {
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

  it('leaves a source that emits synchronously as soon as it is unsubscribed', () => {
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

  it('ignores the result of a promise that comes after it was unsubscribed', async () => {
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

  it('takes a throw of the handler for a failure', () => {
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

  it('takes values, promises, Observables and iterables of all kinds', async () => {
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

describe('handle: timeout', () => {
  it('fails a record whose handler takes too long, stops the handler, and goes on', () => {
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

  it('ignores the result of a promise that comes after the timeout', async () => {
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

  it('gives no place to the next record when a promise that timed out is done at last', async () => {
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
      expect(outcome).toMatchObject({ status: 'failed', reason: { cause: { message: /cannot stop/ } } })
    })
  })
})

describe('handle: records that are settled elsewhere', () => {
  it('calls no handler for a record that was taken away or settled while it waited', () => {
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

  it('calls the handler with what is left of an array', () => {
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

  it('has no outcome for a record that the handler settled itself', () => {
    const emitted: unknown[] = []
    of(record('a'))
      .pipe(handle(one => one.fail('by hand')))
      .subscribe(outcome => emitted.push(outcome))
    expect(emitted).toEqual([])
  })

  it('goes on behind records that are skipped, to the end', async () => {
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
  it('takes a record that is delivered while another is being acked, and keeps the order of outcomes', () => {
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

  it('does not pile up on the stack when many that waited are done at once', () => {
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
  it('refuses options that cannot work when it is made', () => {
    for (const concurrency of [0, -1, 1.5, Number.NaN]) {
      expect(() => handle(() => NEVER, { concurrency })).toThrow(ConfigurationError)
    }
    for (const timeout of [0, -1, Number.NaN, 2 ** 31]) {
      expect(() => handle(() => NEVER, { timeout })).toThrow(ConfigurationError)
    }
    expect(() => handle(() => NEVER, { order: 'offset' as 'none' })).toThrow("(got 'offset')")
  })
})
