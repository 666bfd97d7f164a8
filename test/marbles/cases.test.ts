import { map, type OperatorFunction, of, Subject, take, tap } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { decode } from '../../src/operators/decode.js'
import { fork } from '../../src/operators/fork/fork.js'
import { handle } from '../../src/operators/handle/handle.js'
import { keep } from '../../src/operators/keep.js'
import { latest } from '../../src/operators/latest.js'
import type { ConsumeRecord, DeliveredRecord } from '../../src/record.js'
import { FakeOwner, fakeRecord } from './fake-record.js'
import { testScheduler } from './stub-routing.js'

/** An operator that calls `user` for every record, if it takes a function at all. */
type Operator = (user?: () => void) => OperatorFunction<ConsumeRecord, unknown>

/** RxJS's list of cases, for every operator of records. Each operator has further tests of its own. */
const operators: Readonly<Record<string, Operator>> = {
  keep: user => keep(() => yes(user)),
  // Records without a key pass.
  latest: user => latest(1, { by: () => (yes(user) ? null : 'a') }),
  fork: () => fork(source => source),
  decode: user => decode(bytes => yes(user) && String(bytes)),
  handle: user => handle(() => user?.()),
}

function yes(user: (() => void) | undefined): true {
  user?.()
  return true
}

const offsets = { a: 0, b: 1, c: 2 }
const recordOf = (emitted: unknown) => (emitted as { record?: ConsumeRecord }).record ?? (emitted as ConsumeRecord)
const letter = (emitted: unknown) => 'abc'[Number(recordOf(emitted).offset)]!

function recordsOf(owner: FakeOwner): Record<'a' | 'b' | 'c', DeliveredRecord> {
  const of = (name: 'a' | 'b' | 'c') => fakeRecord({ owner, value: name, offset: offsets[name] })
  return { a: of('a'), b: of('b'), c: of('c') }
}

describe.each(Object.entries(operators))('RxJS’s cases: %s', (name, operator) => {
  /** What a diagram results in, by letters. */
  function run(marbles: string, expected: string, unsubscribed?: string, subscriptions?: string): FakeOwner {
    const owner = new FakeOwner()
    testScheduler().run(({ hot, expectObservable, expectSubscriptions, flush }) => {
      const input = hot(marbles, recordsOf(owner), new Error('of the source'))
      const names = { a: 'a', b: 'b', c: 'c' }
      expectObservable(input.pipe(operator(), map(letter)), unsubscribed).toBe(
        expected,
        names,
        new Error('of the source'),
      )
      if (subscriptions !== undefined) expectSubscriptions(input.subscriptions).toBe(subscriptions)
      flush()
    })
    return owner
  }

  it('never', () => void run('---', '---'))
  it('empty', () => void run('--|', '--|'))
  it('one', () => void run('-a--|', '-a--|'))
  it('many', () => void run('a-b-c-|', 'a-b-c-|'))
  it('source error', () => void run('a-#', 'a-#'))
  it('early unsubscribe', () => void run('a-b-c-|', 'a-b', '---!', '^--!'))

  it('unsubscribes from a synchronous source when its subscriber has unsubscribed', () => {
    const owner = new FakeOwner()
    const records = recordsOf(owner)
    const given: string[] = []
    const seen: string[] = []
    of(records.a, records.b, records.c)
      .pipe(
        tap(record => given.push(String(record.value))),
        operator(),
        take(1),
      )
      .subscribe(emitted => seen.push(letter(emitted)))
    expect([given, seen]).toEqual([['a'], ['a']])
  })

  // `fork` is left out: its own tests have a branch that throws.
  if (name !== 'fork')
    it('a user’s function that throws fails only its record, and the stream continues', () => {
      const owner = new FakeOwner()
      const source = new Subject<ConsumeRecord>()
      const seen: string[] = []
      let error: unknown
      let calls = 0
      source
        .pipe(
          operator(() => {
            if (++calls === 2) throw new Error('of the user')
          }),
        )
        .subscribe({ next: emitted => seen.push(letter(emitted)), error: reason => (error = reason) })
      const { a, b, c } = recordsOf(owner)
      for (const record of [a, b, c]) source.next(record)
      expect(error).toBeUndefined()
      expect(owner.settlements.filter(({ how }) => how === 'failed')).toMatchObject([{ offset: 1 }])
      expect(seen.filter(name => name !== 'b')).toEqual(['a', 'c'])
      expect(b.settled).toBe(true)
    })

  it('keeps its order when an emission makes its source emit', () => {
    const owner = new FakeOwner()
    const source = new Subject<ConsumeRecord>()
    const { a, b, c } = recordsOf(owner)
    const seen: string[] = []
    source.pipe(operator()).subscribe(emitted => {
      seen.push(letter(emitted))
      if (letter(emitted) === 'a') {
        source.next(b)
        source.next(c)
      }
    })
    source.next(a)
    expect(seen).toEqual(['a', 'b', 'c'])
  })

  it('subscribes once for each subscriber, with separate state', () => {
    const owner = new FakeOwner()
    const source = new Subject<ConsumeRecord>()
    const output = source.pipe(operator())
    const seen: string[][] = [[], []]
    const subscriptions = seen.map(one => output.subscribe(emitted => one.push(letter(emitted))))
    subscriptions[0]!.unsubscribe()
    source.next(recordsOf(owner).a)
    expect(seen).toEqual([[], ['a']])
    subscriptions[1]!.unsubscribe()
    expect(source.observed).toBe(false)
  })
})
