import { map, type Observable, of, Subject } from 'rxjs'
import type { RunHelpers, TestScheduler } from 'rxjs/testing'
import { describe, expect, it } from 'vitest'
import type { Rebalances } from '../../src/delivery.js'
import { ConfigurationError } from '../../src/errors.js'
import { type LatestOptions, latest } from '../../src/operators/latest.js'
import type { ConsumeRecord, DeliveredRecord, DeliveryPhase } from '../../src/record.js'
import { FakeOwner, fakeRecord } from './fake-record.js'
import { testScheduler } from './stub-routing.js'

/** `a`, `b` and `c` are records of one key each at offset 0; `A`, `B` and `C` are their successors; `n` has no key. */
function records(owner: FakeOwner, marks: string): Record<string, DeliveredRecord> {
  return Object.fromEntries(
    [...new Set(marks)].map(mark => {
      const key = mark === 'n' ? null : mark.toLowerCase()
      return [mark, fakeRecord({ owner, key, value: mark, offset: mark === key ? 0 : 1 + mark.charCodeAt(0) })]
    }),
  )
}
const marks = map(({ value }: ConsumeRecord) => String(value))
const ackedOffsets = ({ settlements }: FakeOwner) => settlements.map(({ offset, how }) => `${offset} ${how}`)

/** In virtual time, over one assignment. */
function run(test: (helpers: Helpers) => void): void {
  const scheduler = testScheduler()
  const owner = new FakeOwner()
  scheduler.run(({ hot, expectObservable, expectSubscriptions, flush }) => {
    test({
      scheduler,
      owner,
      flush,
      input: (diagram, named) => hot(diagram, { ...records(owner, diagram.replace(/[^a-zA-Z]/g, '')), ...named }),
      expect: (source, expected, unsubscribed) => expectObservable(source.pipe(marks), unsubscribed).toBe(expected),
      expectSubscriptions: (source, expected) => expectSubscriptions(source.subscriptions).toBe(expected),
    })
  })
}
interface Helpers {
  scheduler: TestScheduler
  owner: FakeOwner
  flush(): void
  input(diagram: string, named?: Record<string, DeliveredRecord>): HotRecords
  expect(source: Observable<ConsumeRecord>, expected: string, unsubscribed?: string): void
  expectSubscriptions(source: HotRecords, expected: string): void
}
type HotRecords = ReturnType<typeof hotRecords>
declare function hotRecords(helpers: RunHelpers): ReturnType<typeof helpers.hot<DeliveredRecord>>

describe('latest', () => {
  it('emits the newest record of each key `ms` after the first waiting one, and acks those that it supersedes', () => {
    run(({ input, owner, flush, expect: expectMarks }) => {
      const source = input('-a-A-b------|')
      const expected = '    -----A---b--|'
      expectMarks(source.pipe(latest(4)), expected)
      flush()
      expect(ackedOffsets(owner)).toEqual(['0 acked'])
    })
  })

  it('starves no key that gets records all the time', () => {
    run(({ input, owner, flush, expect: expectMarks }) => {
      const at = (value: string, offset: number) => fakeRecord({ owner, key: 'k', value, offset })
      const named = Object.fromEntries([...'pqrstuv'].map((name, offset) => [name, at(name, offset)]))
      const source = input('-p-q-r-s-t-u-v-|', named)
      const expected = '    ----q---s---u--(v|)'
      expectMarks(source.pipe(latest(3)), expected)
      flush()
      expect(ackedOffsets(owner)).toEqual(['0 acked', '2 acked', '4 acked'])
    })
  })

  it('lets records without a key pass at once', () => {
    run(({ input, expect: expectMarks }) => {
      const source = input('-a-n------|')
      const expected = '    ---n-a----|'
      expectMarks(source.pipe(latest(4)), expected)
    })
  })

  it('emits waiting records when the source completes, in the order in which they were due', () => {
    run(({ input, expect: expectMarks }) => {
      const source = input('-a-bA|')
      const expected = '    -----(Ab|)'
      expectMarks(source.pipe(latest(9)), expected)
    })
  })

  it('ends as its source does: never, empty, and with an error, which leaves waiting records unsettled', () => {
    run(({ input, owner, flush, expect: expectMarks }) => {
      expectMarks(input('-').pipe(latest(2)), '-')
      expectMarks(input('|').pipe(latest(2)), '|')
      expectMarks(input('-a-#').pipe(latest(4)), '---#')
      flush()
      expect(owner.settlements).toEqual([])
    })
  })

  it('leaves waiting records unsettled when it is unsubscribed, and no timer', () => {
    run(({ input, owner, flush, scheduler, expect: expectMarks, expectSubscriptions }) => {
      const source = input('-a-b----')
      const unsubscribed = '----!'
      expectMarks(source.pipe(latest(50)), '-', unsubscribed)
      expectSubscriptions(source, '^---!')
      flush()
      expect(owner.settlements).toEqual([])
      expect(scheduler.frame).toBeLessThan(50)
    })
  })

  it('acks an older record that arrives late, such as a retry, and not the newer one that waits', () => {
    run(({ input, owner, flush, expect: expectMarks }) => {
      const source = input('-A-a----|')
      const expected = '    -----A--|'
      expectMarks(source.pipe(latest(4)), expected)
      flush()
      expect(ackedOffsets(owner)).toEqual(['0 acked'])
    })
  })

  it('replaces a waiting record by its redelivery', () => {
    run(({ input, owner, flush, expect: expectMarks }) => {
      const lost = new FakeOwner()
      const before = fakeRecord({ owner: lost, key: 'a', value: 'lost', offset: 0 })
      const source = input('-xa-----|', { x: before })
      const expected = '    -----a--|'
      expectMarks(source.pipe(latest(4)), expected)
      lost.end()
      flush()
      expect(lost.settlements).toEqual([])
      expect(owner.settlements).toEqual([])
    })
  })

  it('does not emit a record that was revoked or settled while it waited', () => {
    run(({ input, owner, flush, expect: expectMarks }) => {
      const [gone, mine] = [new FakeOwner(), fakeRecord({ owner, key: 'y', value: 'y' })]
      const source = input('-xyz----|', {
        x: fakeRecord({ owner: gone, key: 'x', value: 'x' }),
        y: mine,
        z: fakeRecord({ owner, key: 'z', value: 'z' }),
      })
      const expected = '    -------z|'
      gone.end()
      mine.ack()
      expectMarks(source.pipe(latest(4)), expected)
      flush()
      expect(gone.settlements).toEqual([])
    })
  })

  it('groups by the result of `by`, compares buffers by their bytes, and lets null pass', () => {
    run(({ input, owner, flush, expect: expectMarks }) => {
      const b = fakeRecord({ owner, key: 'b', value: 'b', offset: 1 })
      const source = input('-abcn----|', { b })
      const expected = '    ---cn-b--|'
      const group: Record<string, unknown> = { a: Buffer.from('one'), b: Buffer.from('one'), c: null, n: undefined }
      expectMarks(source.pipe(latest(5, { by: ({ value }) => group[String(value)] })), expected)
      flush()
      expect(owner.settlements).toHaveLength(1)
    })
  })

  it('separates groups whose buffers differ', () => {
    run(({ input, owner, flush, expect: expectMarks }) => {
      const source = input('-ab-----|')
      const expected = '    ----ab--|'
      expectMarks(source.pipe(latest(3, { by: ({ value }) => Buffer.from(String(value)) })), expected)
      flush()
      expect(owner.settlements).toEqual([])
    })
  })

  it.each([
    ['of other partitions, by its time', 'orders', 1, 5, 900, 'a'],
    ['of other partitions, the later of equal times', 'orders', 1, 5, 1_000, 'x'],
    ['of other topics, by its time', 'refunds', 0, 5, 2_000, 'x'],
    ['of the same partition, by its offset', 'orders', 0, 5, 900, 'x'],
  ] as const)(
    'decides which record is the newest among records %s',
    (_, topic, partition, offset, timestamp, newest) => {
      run(({ input, owner, flush, expect: expectMarks }) => {
        const a = fakeRecord({ owner, key: 'a', value: 'a', offset: 3, timestamp: 1_000 })
        const elsewhere = topic === 'orders' && partition === 0 ? owner : new FakeOwner(topic, partition)
        const x = fakeRecord({ owner: elsewhere, key: 'a', value: 'x', offset, timestamp })
        const source = input('-a-x-----|', { a, x })
        expectMarks(source.pipe(latest(5, { by: () => 1 })), `------${newest}--|`)
        flush()
        expect([...owner.settlements, ...elsewhere.settlements]).toContainEqual({
          offset: newest === 'a' ? offset : 3,
          how: 'acked',
        })
      })
    },
  )

  it('leaves no timer in its scheduler when it is unsubscribed', () => {
    const scheduler = testScheduler()
    const owner = new FakeOwner()
    const input = new Subject<ConsumeRecord>()
    const subscription = input.pipe(latest(50, { scheduler })).subscribe()
    input.next(records(owner, 'a').a!)
    expect(scheduler.actions).toHaveLength(1)
    subscription.unsubscribe()
    expect(scheduler.actions).toEqual([])
    expect(input.observed).toBe(false)
  })

  it('fails a record for which `by` throws, and continues', () => {
    run(({ input, owner, flush, expect: expectMarks }) => {
      const source = input('-ab---|')
      const expected = '    ----b-|'
      const by = ({ value }: ConsumeRecord) => {
        if (String(value) === 'a') throw 'no group'
        return 1
      }
      expectMarks(source.pipe(latest(2, { by })), expected)
      flush()
      expect(owner.settlements).toEqual([{ offset: 0, how: 'failed', reason: 'no group', retry: true }])
    })
  })

  it.each([
    ['a promise', () => Promise.resolve(1)],
    ['an Observable', () => of(1)],
  ])('fails a record for which `by` returns %s, because each would be a different key', (kind, by) => {
    run(({ input, owner, flush, expect: expectMarks }) => {
      expectMarks(input('-a-|').pipe(latest(2, { by })), '---|')
      flush()
      const reason = new TypeError(`latest: by must return a value (got ${kind})`)
      expect(owner.settlements).toEqual([{ offset: 0, how: 'failed', reason, retry: true }])
    })
  })

  it('does not let one topic supersede the records of another', () => {
    run(({ input, owner, flush, expect: expectMarks }) => {
      const other = fakeRecord({ owner: new FakeOwner('refunds'), key: 'a', value: 'x' })
      const source = input('-ax-----|', { x: other })
      const expected = '    ----ax--|'
      expectMarks(source.pipe(latest(3)), expected)
      flush()
      expect(owner.settlements).toEqual([])
    })
  })

  it('keeps its order when an ack makes its source emit', () => {
    const scheduler = testScheduler()
    const owner = new FakeOwner()
    const named = records(owner, 'aAb')
    const input = new Subject<ConsumeRecord>()
    const seen: string[] = []
    owner.onSettled = () => input.next(named.b!)
    input.pipe(latest(2, { scheduler }), marks).subscribe(mark => seen.push(mark))
    scheduler.schedule(() => {
      input.next(named.a!)
      input.next(named.A!)
    })
    scheduler.flush()
    expect(seen).toEqual(['A', 'b'])
    expect(ackedOffsets(owner)).toEqual(['0 acked'])
  })

  it('does not delay a rebalance: waiting records stay, and continue afterwards', () => {
    const changes = new Subject<void>()
    const rebalances = { underWay: false as boolean, changes } satisfies Rebalances
    const held: (DeliveryPhase | 'released')[] = []
    class Owner extends FakeOwner {
      override readonly rebalances: Rebalances = rebalances
      override hold(_: DeliveredRecord, phase: DeliveryPhase): void {
        held.push(phase)
      }
      override release(): boolean {
        held.push('released')
        return !this.ended
      }
    }
    const [stays, leaves] = [new Owner(), new Owner('orders', 1)]
    const scheduler = testScheduler()
    const input = new Subject<ConsumeRecord>()
    const seen: string[] = []
    input.pipe(latest(4, { scheduler }), marks).subscribe(mark => seen.push(`${scheduler.now()} ${mark}`))
    const rebalance = (underWay: boolean) => {
      rebalances.underWay = underWay
      changes.next()
    }
    scheduler.schedule(() => {
      input.next(fakeRecord({ owner: stays, key: 'a', value: 'a' }))
      input.next(fakeRecord({ owner: leaves, key: 'b', value: 'b' }))
    })
    scheduler.schedule(() => rebalance(true), 2)
    scheduler.schedule(() => {
      expect(seen).toEqual([])
      expect(held).toEqual(['resting', 'resting'])
      leaves.end()
      rebalance(false)
    }, 8)
    scheduler.flush()
    expect(seen).toEqual(['8 a'])
    expect(held).toEqual(['resting', 'resting', 'released', 'released'])
  })

  it('emits a record that supersedes one whose time ended during a rebalance', () => {
    const changes = new Subject<void>()
    const rebalances = { underWay: false as boolean, changes } satisfies Rebalances
    class Owner extends FakeOwner {
      override readonly rebalances: Rebalances = rebalances
      gives = true
      override get givingUp(): boolean {
        return rebalances.underWay && this.gives
      }
    }
    const [leaves, comes, other] = [new Owner(), new Owner(), new Owner('orders', 1)]
    comes.gives = false
    other.gives = false
    const scheduler = testScheduler()
    const input = new Subject<ConsumeRecord>()
    const seen: string[] = []
    const by = ({ key }: ConsumeRecord) => String(key)
    input.pipe(latest(4, { by, scheduler }), marks).subscribe(mark => seen.push(`${scheduler.now()} ${mark}`))
    const rebalance = (underWay: boolean) => {
      rebalances.underWay = underWay
      changes.next()
    }
    scheduler.schedule(() => {
      input.next(fakeRecord({ owner: leaves, key: 'a', value: 'a' }))
      input.next(fakeRecord({ owner: leaves, key: 'b', value: 'b', offset: 1 }))
    })
    scheduler.schedule(() => rebalance(true), 2)
    scheduler.schedule(() => {
      expect(seen).toEqual([])
      // A newer record from a partition that stays, and the same record again, from the next assignment of its partition.
      input.next(fakeRecord({ owner: other, key: 'a', value: 'A', timestamp: 2_000 }))
      leaves.end()
      input.next(fakeRecord({ owner: comes, key: 'b', value: 'B', offset: 1 }))
      rebalance(false)
    }, 8)
    scheduler.flush()
    expect(seen).toEqual(['8 A', '8 B'])
    expect(ackedOffsets(leaves)).toEqual(['0 acked'])
  })

  it('waits for its time after an ended rebalance, and not for a rebalance of other partitions', () => {
    const changes = new Subject<void>()
    const rebalances = { underWay: false as boolean, changes } satisfies Rebalances
    const held: string[] = []
    class Owner extends FakeOwner {
      override readonly rebalances: Rebalances = rebalances
      gives = true
      override get givingUp(): boolean {
        return rebalances.underWay && this.gives
      }
      override hold(record: DeliveredRecord, phase: DeliveryPhase): void {
        held.push(`${record.value} ${phase}`)
      }
      override release(record: DeliveredRecord): boolean {
        held.push(`${record.value} released`)
        return true
      }
    }
    const [goes, stays] = [new Owner(), new Owner('orders', 1)]
    stays.gives = false
    const scheduler = testScheduler()
    const input = new Subject<ConsumeRecord>()
    const seen: string[] = []
    input.pipe(latest(10, { scheduler }), marks).subscribe({
      next: mark => seen.push(`${scheduler.now()} ${mark}`),
      complete: () => seen.push(`${scheduler.now()} |`),
    })
    const rebalance = (underWay: boolean) => {
      rebalances.underWay = underWay
      changes.next()
    }
    scheduler.schedule(() => {
      input.next(fakeRecord({ owner: goes, key: 'a', value: 'a' }))
      input.next(fakeRecord({ owner: stays, key: 'b', value: 'b' }))
    })
    scheduler.schedule(() => rebalance(true), 2)
    scheduler.schedule(() => {
      expect(held).toEqual(['a resting'])
      rebalance(false)
      expect(held).toEqual(['a resting', 'a released'])
    }, 4)
    // A second rebalance begins, and the source completes during it.
    scheduler.schedule(() => rebalance(true), 12)
    scheduler.schedule(() => input.next(fakeRecord({ owner: goes, key: 'c', value: 'c' })), 13)
    scheduler.schedule(() => {
      expect(held.slice(2)).toEqual(['c resting'])
      input.complete()
      expect(held.slice(3)).toEqual(['c released'])
    }, 14)
    scheduler.flush()
    expect(seen).toEqual(['10 a', '10 b', '14 c', '14 |'])
  })

  it('refuses invalid options when it is created', () => {
    for (const ms of [-1, Number.NaN, 2 ** 31, '5' as never]) expect(() => latest(ms)).toThrow(ConfigurationError)
    expect(() => latest(5, { by: 'key' as never })).toThrow('latest: by must be a function')
    expect(() => latest(5, { key: () => 1 } as LatestOptions)).toThrow('latest: unknown option')
    expect(() => of().pipe(latest(0))).not.toThrow()
  })
})
