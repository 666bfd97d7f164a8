import { inspect } from 'node:util'
import {
  catchError,
  EMPTY,
  ignoreElements,
  map,
  merge,
  NEVER,
  type OperatorFunction,
  of,
  pipe,
  range,
  Subject,
  take,
  tap,
  throwError,
} from 'rxjs'
import { describe, expect, it } from 'vitest'
import { deliveryBehind, type Outrun } from '../../src/delivery.js'
import { ConfigurationError } from '../../src/errors.js'
import { fork } from '../../src/operators/fork/fork.js'
import { handle } from '../../src/operators/handle/handle.js'
import { keep } from '../../src/operators/keep.js'
import type { ConsumeRecord, DeliveredRecord, DeliveryPhase } from '../../src/record.js'
import { FakeOwner, fakeRecord } from './fake-record.js'
import { testScheduler } from './stub-routing.js'

type Branch = OperatorFunction<ConsumeRecord, unknown>

function record(name: string, owner = new FakeOwner()): DeliveredRecord {
  return fakeRecord({ owner, key: name, value: name, offset: name.charCodeAt(0) - 97 })
}
function recordsOf(owner: FakeOwner, names: string): Record<string, DeliveredRecord> {
  return Object.fromEntries([...names].map(name => [name, record(name, owner)]))
}
const nameOf = ({ value }: { readonly value: unknown }) => String(value)
/** Acks what it gets, and emits its name. */
const acking: OperatorFunction<ConsumeRecord, string> = source =>
  source.pipe(
    tap(one => one.ack()),
    map(nameOf),
  )
const collecting =
  (into: ConsumeRecord[]): Branch =>
  source =>
    source.pipe(tap(one => into.push(one)))

/** Records of two branches that do nothing with them. */
function forked(...records: DeliveredRecord[]): [ConsumeRecord[], ConsumeRecord[]] {
  const parts: [ConsumeRecord[], ConsumeRecord[]] = [[], []]
  merge(of(...records), NEVER)
    .pipe(fork(collecting(parts[0]), collecting(parts[1])))
    .subscribe()
  return parts
}

describe('fork: settlements', () => {
  it('acks a record once every branch has acked it', () => {
    const owner = new FakeOwner()
    const [[first], [second]] = forked(record('a', owner))
    expect(first!.ack()).toBe(true)
    expect([first!.settled, second!.settled]).toEqual([true, false])
    expect(owner.settlements).toEqual([])
    expect(second!.ack()).toBe(true)
    expect(owner.settlements).toEqual([{ offset: 0, how: 'acked' }])
  })

  it('fails it with the reason of the branch that failed, when all branches are done', () => {
    const owner = new FakeOwner()
    const [[first], [second]] = forked(record('a', owner))
    expect(first!.fail('no', { retry: false })).toBe(true)
    expect(owner.settlements).toEqual([])
    expect(second!.ack()).toBe(true)
    expect(owner.settlements).toEqual([{ offset: 0, how: 'failed', reason: 'no', retry: false }])
  })

  it('fails it with an AggregateError of several reasons in the order of the branches, and retries if one is retryable', () => {
    const owner = new FakeOwner()
    const [[first], [second]] = forked(record('a', owner))
    second!.fail('later', { retry: false })
    first!.fail('sooner')
    expect(owner.settlements).toMatchObject([
      { how: 'failed', retry: true, reason: { name: 'AggregateError', errors: ['sooner', 'later'] } },
    ])
    const other = new FakeOwner()
    for (const [part] of forked(record('a', other))) part!.fail('never', { retry: false })
    expect(other.settlements).toMatchObject([{ how: 'failed', retry: false }])
  })

  it('counts the first settlement of each branch', () => {
    const owner = new FakeOwner()
    const [[first], [second]] = forked(record('a', owner))
    expect([first!.ack(), first!.fail('no'), first!.ack()]).toEqual([true, false, false])
    expect([second!.fail('yes'), second!.ack()]).toEqual([true, false])
    const settled = owner.settlements.filter(({ how }) => how !== 'outrun')
    expect(settled).toMatchObject([{ how: 'failed', reason: 'yes' }])
  })

  it('reports a contrary second settlement within a branch', () => {
    const outruns: Outrun[] = []
    class Owner extends FakeOwner {
      override outrun(_: DeliveredRecord, outrun: Outrun): void {
        outruns.push(outrun)
      }
    }
    const [[first], [second]] = forked(record('a', new Owner()))
    first!.ack()
    first!.ack()
    first!.fail('too late')
    second!.fail('no')
    second!.fail('no, again')
    second!.ack()
    expect(outruns).toEqual([
      { first: 'ack', then: 'fail', reason: 'too late' },
      { first: 'fail', then: 'ack', reason: 'no' },
    ])
  })

  it('is logged like the record itself', () => {
    const one = record('a')
    const [[part]] = forked(one)
    expect(JSON.stringify(part)).toEqual(JSON.stringify(one))
    expect(inspect(part)).toEqual(inspect(one))
  })

  it('settles in a branch a record that the branch has mapped, and nothing else', () => {
    const owner = new FakeOwner()
    const [[first], [second]] = forked(record('a', owner))
    const mapped = first!.map(() => 1).map(one => one + 1)
    expect([mapped.value, mapped.ack(), first!.settled, mapped.settled, second!.settled]).toEqual([
      2,
      true,
      true,
      true,
      false,
    ])
  })

  it('has the fields of the record, with its own signal', () => {
    const owner = new FakeOwner()
    const one = record('a', owner)
    const [[part]] = forked(one)
    const { topic, partition, offset, timestamp, key, value, headers, source, attempt, signal } = one
    expect(part).toMatchObject({ topic, partition, offset, timestamp, key, value, headers, source, attempt })
    expect(part!.signal).toBe(signal)
    expect(part!.header('x')).toBe(undefined)
  })

  it('is settled in all branches once the record is settled elsewhere', () => {
    const one = record('a')
    const [[first], [second]] = forked(one)
    one.ack()
    expect([first!.settled, second!.settled, first!.ack(), second!.fail('no')]).toEqual([true, true, false, false])
  })

  it('settles nothing after the partition was lost', () => {
    const owner = new FakeOwner()
    const [[first], [second]] = forked(record('a', owner))
    first!.ack()
    owner.end()
    expect([second!.ack(), first!.ack()]).toEqual([false, false])
    expect(owner.settlements).toEqual([{ offset: 0, how: 'late' }])
  })

  it('forks again within a branch', () => {
    const owner = new FakeOwner()
    const inner: ConsumeRecord[] = []
    const outer: ConsumeRecord[] = []
    merge(of(record('a', owner)), NEVER)
      .pipe(fork(fork(acking, collecting(inner)), collecting(outer)))
      .subscribe()
    outer[0]!.ack()
    expect(owner.settlements).toEqual([])
    inner[0]!.fail('deep')
    expect(owner.settlements).toMatchObject([{ how: 'failed', reason: 'deep' }])
  })
})

describe('fork: streams', () => {
  it('gives every record to every branch in order, and merges the emissions', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const input = hot('   -a---b----|', recordsOf(new FakeOwner(), 'ab'))
      const work = '        ---|'
      const expected = '    -a--xb--y-|'
      const slow = pipe(
        handle(() => cold(work)),
        map(({ record: one }) => ({ a: 'x', b: 'y' })[nameOf(one)]!),
      )
      expectObservable(input.pipe(fork(acking, slow))).toBe(expected)
    })
  })

  it('ends as its source does: never, empty, by an error', () => {
    testScheduler().run(({ cold, expectObservable }) => {
      expectObservable(cold<ConsumeRecord>('-').pipe(fork(acking, acking))).toBe('-')
      expectObservable(cold<ConsumeRecord>('|').pipe(fork(acking, acking))).toBe('|')
      expectObservable(cold<ConsumeRecord>('--#').pipe(fork(acking, acking))).toBe('--#')
    })
  })

  it('unsubscribes from its source and its branches when it is unsubscribed, and settles nothing', () => {
    testScheduler().run(({ hot, cold, expectObservable, expectSubscriptions, flush }) => {
      const owner = new FakeOwner()
      const work = cold('    -----|')
      const input = hot('    -ab---', recordsOf(owner, 'ab'))
      const unsubscribed = ' ---!'
      const working = '      -^-!'
      expectObservable(
        input.pipe(
          fork(
            handle(() => work),
            ignoreElements(),
          ),
        ),
        unsubscribed,
      ).toBe('-')
      expectSubscriptions(input.subscriptions).toBe('^--!')
      expectSubscriptions(work.subscriptions).toBe(working)
      flush()
      expect(owner.settlements).toEqual([])
    })
  })

  it('unsubscribes from a synchronous source as soon as it is unsubscribed', () => {
    const seen: number[] = []
    range(0, 100)
      .pipe(
        tap(n => seen.push(n)),
        map(() => record('a')),
        fork(acking, ignoreElements()),
        take(3),
      )
      .subscribe()
    expect(seen).toEqual([0, 1, 2])
  })

  it('keeps the order of records in all branches when an ack makes its source emit', () => {
    const owner = new FakeOwner()
    const input = new Subject<ConsumeRecord>()
    const seen: string[] = []
    const noting =
      (branch: number): Branch =>
      source =>
        source.pipe(
          tap(one => seen.push(`${branch} ${nameOf(one)}`)),
          tap(one => one.ack()),
        )
    owner.onSettled = () => owner.settlements.length === 1 && input.next(record('b', owner))
    input.pipe(fork(noting(1), noting(2))).subscribe()
    input.next(record('a', owner))
    expect(seen).toEqual(['1 a', '2 a', '1 b', '2 b'])
    expect(owner.settlements).toHaveLength(2)
  })
})

describe('fork: a branch that errors', () => {
  it('fails its open records, while other branches finish theirs, and then errors', () => {
    testScheduler().run(({ hot, cold, expectObservable, expectSubscriptions, flush }) => {
      const owner = new FakeOwner()
      const input = hot('   -a-b-c-', recordsOf(owner, 'abc'))
      const broken: Branch = source =>
        source.pipe(
          tap(one => {
            if (nameOf(one) === 'b') throw 'broken'
          }),
          ignoreElements(),
        )
      const slow = pipe(
        handle(() => cold('----|')),
        map(({ record: one }) => nameOf(one)),
      )
      const expected = '    -----a---(b#)'
      const taken = '       ^--!'
      expectObservable(input.pipe(fork(broken, slow))).toBe(expected, undefined, 'broken')
      expectSubscriptions(input.subscriptions).toBe(taken)
      flush()
      expect(owner.settlements).toEqual([
        { offset: 0, how: 'failed', reason: 'broken', retry: true },
        { offset: 1, how: 'failed', reason: 'broken', retry: true },
      ])
    })
  })

  it('passes the record at which it errored to the later branches too', () => {
    const owner = new FakeOwner()
    const seen: string[] = []
    const errors: unknown[] = []
    of(record('a', owner), record('b', owner))
      .pipe(
        fork(
          source =>
            source.pipe(
              tap(() => {
                throw 'broken'
              }),
            ),
          source =>
            source.pipe(
              acking,
              tap(name => seen.push(name)),
            ),
        ),
      )
      .subscribe({ error: error => errors.push(error) })
    expect(seen).toEqual(['a'])
    expect(errors).toEqual(['broken'])
    expect(owner.settlements).toMatchObject([{ offset: 0, how: 'failed', reason: 'broken' }])
  })

  it('errors when a branch cannot be subscribed to, and takes no records', () => {
    const owner = new FakeOwner()
    const errors: unknown[] = []
    const broken = () => {
      throw 'no pipeline'
    }
    of(record('a', owner))
      .pipe(fork(acking, broken))
      .subscribe({ error: error => errors.push(error) })
    expect(errors).toEqual(['no pipeline'])
    expect(owner.settlements).toEqual([])
  })

  it('keeps existing settlements, and adds its error to the open records', () => {
    const owner = new FakeOwner()
    const input = new Subject<ConsumeRecord>()
    const stop = new Subject<never>()
    const mine: ConsumeRecord[] = []
    const others: ConsumeRecord[] = []
    input
      .pipe(fork(source => merge(source.pipe(collecting(mine)), stop), collecting(others)))
      .pipe(catchError(() => EMPTY))
      .subscribe()
    input.next(record('a', owner))
    input.next(record('b', owner))
    mine[0]!.ack()
    stop.error('stopped')
    others[0]!.ack()
    others[1]!.fail('mine, too')
    expect(owner.settlements).toMatchObject([
      { offset: 0, how: 'acked' },
      { offset: 1, how: 'failed', reason: { errors: ['stopped', 'mine, too'] } },
    ])
  })
})

describe('fork: a branch that completes', () => {
  it('leaves unsettled records and all later ones open', () => {
    testScheduler().run(({ hot, expectObservable, flush }) => {
      const owner = new FakeOwner()
      const input = hot('   -a-b-c-|', recordsOf(owner, 'abc'))
      const expected = '    -a-b-c-|'
      const one: Branch = source => source.pipe(take(1), ignoreElements())
      expectObservable(input.pipe(fork(one, acking))).toBe(expected)
      flush()
      expect(owner.settlements).toEqual([])
    })
  })

  it('completes, and unsubscribes from its source, when all branches have completed', () => {
    testScheduler().run(({ hot, expectObservable, expectSubscriptions }) => {
      const input = hot('   -a-b-c-|', recordsOf(new FakeOwner(), 'abc'))
      const expected = '    -(aa|)'
      expectObservable(input.pipe(fork(pipe(acking, take(1)), pipe(acking, take(1))))).toBe(expected)
      expectSubscriptions(input.subscriptions).toBe('^!')
    })
  })
})

describe('fork: operators on records of a branch', () => {
  it('settles with handle and keep in its branches', () => {
    const owner = new FakeOwner()
    of(record('a', owner), record('b', owner))
      .pipe(
        fork(
          pipe(
            keep(one => nameOf(one) === 'a'),
            handle(() => throwError(() => 'first')),
          ),
          handle(() => 1, { order: 'key' }),
        ),
      )
      .subscribe()
    expect(owner.settlements).toMatchObject([
      { offset: 0, how: 'failed', reason: 'first' },
      { offset: 1, how: 'acked' },
    ])
  })

  it('begins the next record of a key in one branch when the previous one is completed in all branches', () => {
    const owner = new DoneOwner()
    const input = new Subject<ConsumeRecord>()
    const begun: string[] = []
    const others: ConsumeRecord[] = []
    input
      .pipe(
        fork(
          handle(one => void begun.push(nameOf(one)), { order: 'key' }),
          collecting(others),
        ),
      )
      .subscribe()
    input.next(fakeRecord({ owner, key: 'k', value: 'a', offset: 0 }))
    input.next(fakeRecord({ owner, key: 'k', value: 'b', offset: 1 }))
    expect(begun).toEqual(['a'])
    others[0]!.ack()
    expect(begun).toEqual(['a', 'b'])
  })

  it('is held as long as all branches with an open part hold it', () => {
    const held: string[] = []
    class Owner extends FakeOwner {
      override hold(_: DeliveredRecord, phase: DeliveryPhase): void {
        held.push(phase)
      }
      override release(): boolean {
        held.push('released')
        return true
      }
    }
    const one = record('a', new Owner())
    one.phase = 'unsettled'
    const [[first], [second]] = forked(one)
    const [a, b] = [deliveryBehind(first)!, deliveryBehind(second)!]
    a.hold('behind')
    expect(held.splice(0)).toEqual([])
    expect([a.phase, b.phase]).toEqual(['behind', 'unsettled'])
    b.hold('resting')
    expect(held.splice(0)).toEqual(['resting'])
    b.release()
    expect(held.splice(0)).toEqual(['released'])
    second!.ack()
    expect(held.splice(0)).toEqual(['behind'])
    a.release()
    expect(held.splice(0)).toEqual(['released'])
  })

  it('stays held when a branch that held it errors', () => {
    const phases: string[] = []
    class Owner extends FakeOwner {
      override hold(_: DeliveredRecord, phase: DeliveryPhase): void {
        phases.push(phase)
      }
    }
    const input = new Subject<ConsumeRecord>()
    const stop = new Subject<never>()
    const [mine, others]: [ConsumeRecord[], ConsumeRecord[]] = [[], []]
    input
      .pipe(
        fork(source => merge(source.pipe(collecting(mine)), stop), collecting(others), acking),
        catchError(() => EMPTY),
      )
      .subscribe()
    input.next(record('a', new Owner()))
    deliveryBehind(mine[0])!.hold('behind')
    stop.error('stopped')
    expect(phases).toEqual([])
    deliveryBehind(others[0])!.hold('resting')
    expect(phases).toEqual(['resting'])
  })

  it('works with records that no client has created', () => {
    const plain = { ...recordLike(), ack: () => true }
    const parts: ConsumeRecord[] = []
    merge(of(plain as unknown as ConsumeRecord), NEVER)
      .pipe(fork(collecting(parts)))
      .subscribe()
    expect(deliveryBehind(parts[0])).toBe(undefined)
    expect(parts[0]!.ack()).toBe(true)
  })
})

describe('fork: options', () => {
  it('requires branches, each an operator', () => {
    expect(() => (fork as unknown as () => void)()).toThrow(ConfigurationError)
    expect(() => fork(acking, 'audit' as never)).toThrow('fork: branch 2 must be an operator')
  })
})

/** Reports when a record is completed, as an assignment does. */
class DoneOwner extends FakeOwner {
  readonly #waiting = new Map<number, (() => void)[]>()
  override whenDone(one: DeliveredRecord, done: () => void): void {
    const offset = Number(one.offset)
    if (one.settled) done()
    else this.#waiting.set(offset, [...(this.#waiting.get(offset) ?? []), done])
  }
  override onSettled = (one: DeliveredRecord): void => {
    for (const done of this.#waiting.get(Number(one.offset)) ?? []) done()
  }
}

function recordLike(): object {
  return { topic: 'orders', partition: 0, offset: 0n, settled: false, signal: new AbortController().signal }
}
