import { EMPTY, from, groupBy, map, merge, mergeMap, NEVER, Observable, Subject, take, tap, throwError } from 'rxjs'
import { describe, expect, it } from 'vitest'
import type { CommitPoint } from '../../src/commit-point.js'
import { type BarrierRecord, type BarrierSignal, completionBarrier } from '../../src/operators/index.js'
import type { DeliveredRecord } from '../../src/record.js'
import { FakeOwner, fakeRecord } from './fake-record.js'
import { deliveredRecord, kinds, recordOf, run, signalsOf } from './signals.js'

// Diagrams of signals: a lower-case letter delivers a record, the upper-case letter completes it, a digit passes a
// position. Record a has offset 0, b has 1 and so on, unless a test says otherwise: the position after b is 2.

const delivered = (record: BarrierRecord): BarrierSignal => ({ type: 'delivered', record })
const completed = (record: BarrierRecord): BarrierSignal => ({ type: 'completed', record })

const permutations = (letters: string): string[] =>
  letters.length < 2
    ? [letters]
    : [...letters].flatMap((first, at) =>
        permutations(letters.slice(0, at) + letters.slice(at + 1)).map(rest => first + rest),
      )

/** The emissions of a barrier of 1: the position after the completed prefix, whenever it has grown. */
const modelOf = (diagram: string): string => {
  let position = 0
  return [...diagram]
    .map((mark, at) => {
      const completed = diagram.slice(0, at + 1)
      const before = position
      while (completed.includes(String.fromCharCode('A'.charCodeAt(0) + position))) position++
      return mark === '|' ? '|' : position > before ? String(position) : '-'
    })
    .join('')
}

describe('completionBarrier: all orders in which up to 5 records are completed', () => {
  for (const letters of ['a', 'ab', 'abc', 'abcd', 'abcde']) {
    for (const order of permutations(letters.toUpperCase())) {
      const input = `${letters}${order}|`
      const expected = modelOf(input)
      it(`${input}  ${expected}`, () => {
        for (const kind of kinds) {
          run(({ signals, expectPoints }) => {
            expectPoints(signals(input, { kind }).pipe(completionBarrier())).toBe(expected)
          })
        }
      })
    }
  }

  it('covers each of them, with a position that a reader can check', () => {
    expect(['a', 'ab', 'abc', 'abcd', 'abcde'].map(letters => permutations(letters).length)).toEqual([1, 2, 6, 24, 120])
    expect(modelOf('abcdeABCDE|')).toBe('-----12345|')
    expect(modelOf('abcdeEDCBA|')).toBe('---------5|')
    expect(modelOf('abcdeBADEC|')).toBe('------2--5|')
  })
})

describe.each(kinds)('completionBarrier: order, records %s', kind => {
  it('moves past b only once a, delivered before it, is completed', () =>
    run(({ signals, expectPoints }) => {
      const input = signals('a-b--B--A--|', { kind })
      const expected = '     --------2--|'
      expectPoints(input.pipe(completionBarrier())).toBe(expected)
    }))

  it('emits only the newest position if one completion frees several', () =>
    run(({ signals, expectPoints }) => {
      const input = signals('abcd-D-C-B-A-|', { kind })
      const expected = '     -----------4-|'
      expectPoints(input.pipe(completionBarrier())).toBe(expected)
    }))

  it('moves with each completion if they come in order, with deliveries in between', () =>
    run(({ signals, expectPoints }) => {
      const input = signals('aA-bB-c-d-C-D|', { kind })
      const expected = '     -1--2-----3-4|'
      expectPoints(input.pipe(completionBarrier())).toBe(expected)
    }))

  it('waits for a record that is delivered after later ones were completed', () =>
    run(({ signals, expectPoints }) => {
      const input = signals('ab-B-c-A-d-D-C-|', { kind })
      const expected = '     -------2-----4-|'
      expectPoints(input.pipe(completionBarrier())).toBe(expected)
    }))

  it('counts a record that is completed twice as completed', () =>
    run(({ signals, expectPoints }) => {
      const input = signals('abc-BB-A-ABA-C-C|', { kind })
      const expected = '     -------2-----3--|'
      expectPoints(input.pipe(completionBarrier())).toBe(expected)
    }))

  it('ignores the completion of a record that was never delivered', () =>
    run(({ signals, expectPoints }) => {
      const input = signals('D-ab-D-A-E-B-D-c-C-|', { kind })
      const expected = '     -------1---2-----3-|'
      expectPoints(input.pipe(completionBarrier())).toBe(expected)
    }))

  it('waits once for a record that is delivered twice, whether or not it was completed in between', () =>
    run(({ signals, expectPoints }) => {
      const input = signals('abc-a-B-b-A-a-C-c-d-D|', { kind })
      const expected = '     ----------2---3-----4|'
      expectPoints(input.pipe(completionBarrier())).toBe(expected)
    }))

  it('continues after everything was completed as from the start', () =>
    run(({ signals, expectPoints }) => {
      const input = signals('ab-B-A---cd-D-C---e-E-|', { kind })
      const expected = '     -----2--------4-----5-|'
      expectPoints(input.pipe(completionBarrier())).toBe(expected)
    }))

  it('keeps its order through hundreds of deliveries in flight', () => {
    const owner = new FakeOwner()
    const signals = new Subject<BarrierSignal>()
    const positions: bigint[] = []
    signals.pipe(completionBarrier()).subscribe(({ offset }) => positions.push(offset))
    const records = Array.from({ length: 1_000 }, (_, slot) => recordOf(kind, owner, slot * 3, slot))
    const deliver = (from: number, to: number) => {
      for (const record of records.slice(from, to)) signals.next({ type: 'delivered', record })
    }
    const complete = (from: number, to: number) => {
      for (const record of records.slice(from, to).reverse()) signals.next({ type: 'completed', record })
    }
    deliver(0, 40)
    complete(1, 40)
    deliver(40, 1_000)
    expect(positions).toEqual([])
    complete(0, 1)
    expect(positions).toEqual([118n])
    complete(41, 1_000)
    expect(positions).toEqual([118n])
    complete(40, 41)
    expect(positions).toEqual([118n, 2_998n])
  })

  it('never confuses a record with an earlier or later one', () => {
    const owner = new FakeOwner()
    const signals = new Subject<BarrierSignal>()
    const positions: bigint[] = []
    signals.pipe(completionBarrier()).subscribe(({ offset }) => positions.push(offset))
    const records = Array.from({ length: 1_000 }, (_, slot) => recordOf(kind, owner, slot, slot))
    const tell = (type: 'delivered' | 'completed', which: readonly BarrierRecord[]) => {
      for (const record of which) signals.next({ type, record })
    }
    tell('delivered', records.slice(0, 60))
    tell('completed', records.slice(0, 60))
    tell('completed', records.slice(60))
    expect(positions.splice(0)).toHaveLength(60)
    tell('delivered', records.slice(60, 110))
    tell('completed', [...records.slice(0, 60), ...records.slice(110)])
    expect(positions).toEqual([])
    tell('completed', records.slice(60, 64))
    expect(positions).toEqual([61n, 62n, 63n, 64n])
  })
})

describe('completionBarrier: gaps and passed positions', () => {
  const offsets = { a: 1, b: 4, c: 5, d: 8 }

  it.each(kinds)('counts deliveries, because offsets have gaps (records %s)', kind =>
    run(({ signals, expectPoints }) => {
      const input = signals('abcd-B-A-D-C-|', { offsets, kind })
      const expected = '     -------5---9-|'
      expectPoints(input.pipe(completionBarrier())).toBe(expected)
    }),
  )

  it.each(kinds)('moves past a gap at the end once everything before it is completed (records %s)', kind =>
    run(({ signals, expectPoints }) => {
      const input = signals('ab3--B-A-c-7-C-|', { kind, offsets: { a: 0, b: 1, c: 4 } })
      const expected = '     -------3-----7-|'
      expectPoints(input.pipe(completionBarrier())).toBe(expected)
    }),
  )

  it('moves past a gap at once if nothing is in flight', () =>
    run(({ signals, expectPoints }) => {
      const input = signals('2-a3-A---5-6-|', { offsets: { a: 2 } })
      const expected = '     2----3---5-6-|'
      expectPoints(input.pipe(completionBarrier())).toBe(expected)
    }))

  it('does not move past an uncompleted record, whatever is passed after it', () =>
    run(({ signals, expectPoints }) => {
      const input = signals('ab-3-B-4-5-A-|')
      const expected = '     -----------5-|'
      expectPoints(input.pipe(completionBarrier())).toBe(expected)
    }))

  it('never goes back to an earlier position, and emits none twice', () =>
    run(({ signals, expectPoints }) => {
      const input = signals('ab-AB-2-1-0-5-5-3-6-|')
      const expected = '     ---12-------5-----6-|'
      expectPoints(input.pipe(completionBarrier())).toBe(expected)
    }))

  it('counts a record below a passed position as completed', () =>
    run(({ signals, expectPoints }) => {
      const input = signals('5-a-f-A-F-|')
      const expected = '     5-------6-|'
      expectPoints(input.pipe(completionBarrier())).toBe(expected)
    }))

  it('completes no record for an offset in a gap', () =>
    run(({ signals, expectPoints }) => {
      // c and d are offsets 2 and 3, which are markers and were not delivered.
      const input = signals('ab4-C-D-B-A-|')
      const expected = '     ----------4-|'
      expectPoints(input.pipe(completionBarrier())).toBe(expected)
    }))

  it('emits a position once, as a number and as a bigint', () => {
    const positions: bigint[] = []
    const { a, A } = signalsOf('aA')
    const passed = { type: 'passed', topic: 'orders', partition: 0 } as const
    const signals = [a!, A!, { ...passed, offset: 1 }, { ...passed, offset: 1n }, { ...passed, offset: 2n }]
    from(signals)
      .pipe(completionBarrier())
      .subscribe(({ offset }) => positions.push(offset))
    expect(positions).toEqual([1n, 2n])
  })

  it('is exact for every offset Kafka has', () => {
    const positions: bigint[] = []
    const record = (offset: bigint): BarrierRecord => ({ topic: 'orders', partition: 0, offset })
    for (const first of [0n, 2n ** 53n - 2n, 2n ** 63n - 4n]) {
      const signals = new Subject<BarrierSignal>()
      signals.pipe(completionBarrier()).subscribe(({ offset }) => positions.push(offset - first))
      for (const at of [0n, 1n, 2n]) signals.next({ type: 'delivered', record: record(first + at) })
      for (const at of [1n, 0n, 2n]) signals.next({ type: 'completed', record: record(first + at) })
    }
    expect(positions).toEqual([2n, 3n, 2n, 3n, 2n, 3n])
  })
})

describe('completionBarrier: groups', () => {
  it('emits when the next `count` records in delivery order are completed', () =>
    run(({ signals, expectPoints }) => {
      const input = signals('abcdef-B-D-A-C-F-E-|')
      const expected = '     -----------2-4---6-|'
      expectPoints(input.pipe(completionBarrier(2))).toBe(expected)
    }))

  it('emits the newest position if one completion completes several groups', () =>
    run(({ signals, expectPoints }) => {
      const input = signals('abcde-B-C-D-E-A----|')
      const expected = '     --------------4----(5|)'
      expectPoints(input.pipe(completionBarrier(2))).toBe(expected)
    }))

  it('keeps the rest of a group for the next, and emits it on completion', () =>
    run(({ signals, expectPoints }) => {
      const input = signals('abcde-A-B-C-D-|')
      const expected = '     ----------3---(4|)'
      expectPoints(input.pipe(completionBarrier(3))).toBe(expected)
    }))

  it('moves past a gap after a complete group, and within a group waits for the rest', () =>
    run(({ signals, expectPoints }) => {
      const input = signals('ab-AB-4-e-E-6-g-G-8-|', { offsets: { a: 0, b: 1, e: 4, g: 6 } })
      const expected = '     ----2-4---------7-8-|'
      expectPoints(input.pipe(completionBarrier(2))).toBe(expected)
    }))

  it('emits only on flush and completion for groups without end', () =>
    run(({ signals, hot, expectPoints }) => {
      const input = signals('2-cd-C-D-5-f-F-7-|', { offsets: { c: 2, d: 3, f: 5 } })
      const flush = hot('    -1-----------1----')
      const expected = '     -2-----------6---(7|)'
      expectPoints(input.pipe(completionBarrier(Number.POSITIVE_INFINITY, { flush }))).toBe(expected)
    }))

  it.each([0, -1, 1.5, Number.NaN, Number.NEGATIVE_INFINITY])('refuses a count of %s', count => {
    expect(() => completionBarrier(count)).toThrow(`(got ${count})`)
  })
})

describe('completionBarrier: flush', () => {
  it('emits the completed prefix', () =>
    run(({ signals, hot, expectPoints }) => {
      const input = signals('abcd-A-C-B---D-|')
      const flush = hot('    ------1---1----')
      const expected = '     ------1---3----(4|)'
      expectPoints(input.pipe(completionBarrier(5, { flush }))).toBe(expected)
    }))

  it('emits nothing if nothing is complete, or nothing new', () =>
    run(({ signals, hot, expectPoints }) => {
      const input = signals('ab---B---A-----|')
      const flush = hot('    --1----1---1-1-')
      const expected = '     -----------2---|'
      expectPoints(input.pipe(completionBarrier(5, { flush }))).toBe(expected)
    }))

  it('begins a new group', () =>
    run(({ signals, hot, expectPoints }) => {
      const input = signals('abcdefg-A-B---C-D-E-|')
      const flush = hot('    ------------1--------')
      const expected = '     ------------2-----5-|'
      expectPoints(input.pipe(completionBarrier(3, { flush }))).toBe(expected)
    }))

  it('may end before the source, which continues', () =>
    run(({ signals, hot, expectPoints }) => {
      const input = signals('ab-A----B-c-C-|')
      const flush = hot('    -----1-|')
      const expected = '     -----1------3-|'
      expectPoints(input.pipe(completionBarrier(2, { flush }))).toBe(expected)
    }))

  it('passes its error on, and unsubscribes from the source', () =>
    run(({ hot, expectPoints, expectSubscriptions }) => {
      const input = hot('    a-A--a-', signalsOf('aA'))
      const flush = hot('    ----#')
      const expected = '     ----#'
      expectPoints(input.pipe(completionBarrier(2, { flush }))).toBe(expected)
      expectSubscriptions(input.subscriptions).toBe('^---!')
    }))

  it('does not subscribe to the source if it errors at once', () => {
    let subscribed = false
    const source = new Observable<BarrierSignal>(() => {
      subscribed = true
    })
    const errors: unknown[] = []
    const flush = throwError(() => 'broken')
    source.pipe(completionBarrier(1, { flush })).subscribe({ error: error => errors.push(error) })
    expect({ errors, subscribed }).toEqual({ errors: ['broken'], subscribed: false })
  })

  it('is unsubscribed when the source ends', () =>
    run(({ signals, hot, expectPoints, expectSubscriptions }) => {
      const input = signals('aA-|')
      const flush = hot('    ------')
      expectPoints(input.pipe(completionBarrier(1, { flush }))).toBe('-1-|')
      expectSubscriptions(flush.subscriptions).toBe('^--!')
    }))
})

describe('completionBarrier: ends', () => {
  it('ends as its source does if there are no signals', () =>
    run(({ expectPoints }) => {
      expectPoints(EMPTY.pipe(completionBarrier())).toBe('|')
      expectPoints(NEVER.pipe(completionBarrier())).toBe('-')
      expectPoints(throwError(() => 'error').pipe(completionBarrier())).toBe('#')
    }))

  it('emits the completed prefix when the source completes, and nothing for the rest', () =>
    run(({ signals, expectPoints }) => {
      const input = signals('abcd-A-B-D-|')
      const expected = '     -----------(2|)'
      expectPoints(input.pipe(completionBarrier(5))).toBe(expected)
    }))

  it('passes an error of the source on without a position', () =>
    run(({ signals, expectPoints }) => {
      const input = signals('ab-A-#')
      const expected = '     -----#'
      expectPoints(input.pipe(completionBarrier(2))).toBe(expected)
    }))

  it('unsubscribes from source and flush when it is unsubscribed', () =>
    run(({ hot, expectPoints, expectSubscriptions }) => {
      const input = hot('       abA---B--', signalsOf('abAB'))
      const flush = hot('       -----1---')
      const unsubscribed = '    ----!'
      const subscriptions = '   ^---!'
      const expected = '        --1--'
      expectPoints(input.pipe(completionBarrier(1, { flush })), unsubscribed).toBe(expected)
      expectSubscriptions(input.subscriptions).toBe(subscriptions)
      expectSubscriptions(flush.subscriptions).toBe(subscriptions)
    }))

  it('unsubscribes from a synchronous source as soon as its subscriber has unsubscribed', () => {
    const seen: string[] = []
    from([...'abcABC'])
      .pipe(
        tap(letter => seen.push(letter)),
        map(letter => signalsOf('abc')[letter]!),
        completionBarrier(),
        take(1),
      )
      .subscribe()
    expect(seen).toEqual([...'abcA'])
  })

  it('starts anew for each subscriber', () =>
    run(({ signals, expectPoints }) => {
      const input = signals('ab-A-B-|').pipe(completionBarrier())
      expectPoints(input).toBe('---1-2-|')
      expectPoints(input).toBe('---1-2-|')
    }))
})

describe('completionBarrier: re-entrancy', () => {
  it('takes a record that is acked while it is delivered', () => {
    const owner = new FakeOwner()
    const signals = new Subject<BarrierSignal>()
    const positions: bigint[] = []
    signals.pipe(completionBarrier()).subscribe(({ offset }) => positions.push(offset))
    owner.onSettled = record => signals.next({ type: 'completed', record })
    signals.subscribe(signal => {
      if (signal.type === 'delivered') (signal.record as DeliveredRecord).ack()
    })
    for (const slot of [0, 1, 2]) signals.next({ type: 'delivered', record: deliveredRecord(owner, slot, slot) })
    expect(positions).toEqual([1n, 2n, 3n])
  })

  it('accepts signals that a subscriber sends while a position is emitted', () => {
    const letters = [...'bBcC']
    const all = signalsOf('abcABC')
    const signals = new Subject<BarrierSignal>()
    const positions: bigint[] = []
    signals.pipe(completionBarrier()).subscribe(({ offset }) => {
      positions.push(offset)
      for (const letter of letters.splice(0, 2)) signals.next(all[letter]!)
    })
    signals.next(all.a!)
    signals.next(all.A!)
    expect(positions).toEqual([1n, 2n, 3n])
  })

  it('allows a subscriber to flush while a position is emitted, and emits it once', () => {
    const all = signalsOf('abcABC')
    const [signals, flush] = [new Subject<BarrierSignal>(), new Subject<void>()]
    const positions: bigint[] = []
    signals.pipe(completionBarrier(2, { flush })).subscribe(({ offset }) => {
      positions.push(offset)
      flush.next()
    })
    for (const letter of 'abcACB') signals.next(all[letter]!)
    expect(positions).toEqual([2n, 3n])
  })
})

describe('completionBarrier: partitions', () => {
  const partitions = { a: 0, b: 1, c: 0, d: 1 } as const
  const records = Object.entries(partitions).map(([name, partition], at) => {
    const record: BarrierRecord = { topic: 'orders', partition, offset: BigInt(at >> 1) }
    return [name, record] as const
  })
  const values = Object.fromEntries(
    records.flatMap(([name, record]) => [
      [name, delivered(record)],
      [name.toUpperCase(), completed(record)],
    ]),
  )
  const partitionOf = (signal: BarrierSignal) => (signal.type === 'passed' ? signal.partition : signal.record.partition)

  it('separates two interleaved partitions: neither waits for the other', () =>
    run(({ hot, expectPoints }) => {
      // a and c belong to partition 0, with positions 1 and 2. b and d belong to partition 1, with positions a and b.
      const input = hot('abcd-C-B-D-A-|', values)
      const expected = ' -------a-b-2-|'
      expectPoints(input.pipe(groupBy(partitionOf), mergeMap(completionBarrier()))).toBe(expected)
    }))

  it('accepts signals of one partition, and errors for a second one', () =>
    run(({ hot, expectObservable }) => {
      const input = hot('ab-A', values)
      const error = new RangeError(
        'completionBarrier takes the signals of one partition, here orders-0 (got orders-1@0); ' +
          'group them by where they were read (record.source)',
      )
      expectObservable(input.pipe(completionBarrier())).toBe('-#', undefined, error)
    }))

  it('errors for a position of another partition', () => {
    const errors: Error[] = []
    const passed: BarrierSignal = { type: 'passed', topic: 'orders', partition: 1, offset: 7 }
    from([values.a!, passed])
      .pipe(completionBarrier())
      .subscribe({ error: error => errors.push(error) })
    expect(errors[0]).toBeInstanceOf(RangeError)
  })

  it('ignores a completion in another partition or topic', () =>
    run(({ hot, expectPoints }) => {
      const elsewhere: BarrierRecord = { topic: 'refunds', partition: 0, offset: 0n }
      const input = hot('ac-B-D-x-A-|', { ...values, x: completed(elsewhere) })
      const expected = ' ---------1-|'
      expectPoints(input.pipe(completionBarrier())).toBe(expected)
    }))
})

describe('completionBarrier: records', () => {
  const pointsOf = (signals: readonly BarrierSignal[]) => {
    const points: CommitPoint[] = []
    const errors: Error[] = []
    from(signals)
      .pipe(completionBarrier())
      .subscribe({ next: point => points.push(point), error: error => errors.push(error) })
    return { points, errors }
  }

  it('commits a copy where it was read, even one without a client', () => {
    const owner = new FakeOwner('billing-retry', 2)
    const origin = { kind: 'retry', topic: 'orders', partition: 7, offset: 90, timestamp: 0, retries: 1 } as const
    const copy = fakeRecord({ owner, offset: 3, origin })
    const { topic, partition, offset, source } = copy
    expect({ topic, partition, offset }).toEqual({ topic: 'orders', partition: 7, offset: 90n })
    for (const record of [copy, copy.map(String), { topic, partition, offset, source }]) {
      const { points } = pointsOf([delivered(record), completed(record)])
      expect(points).toEqual([{ topic: 'billing-retry', partition: 2, offset: 4n }])
    }
  })

  it('identifies a record by its delivery, whatever it was mapped to', () => {
    const record = deliveredRecord(new FakeOwner(), 0, 0)
    const mapped = record.map(() => 1).map(one => one + 1)
    expect(pointsOf([delivered(record), completed(mapped)]).points).toHaveLength(1)
    expect(pointsOf([delivered(mapped), completed(record)]).points).toHaveLength(1)
  })

  it("finds records by their offsets if only some of a client's records reach it", () => {
    const owner = new FakeOwner()
    const [a, c, d, f] = [0, 2, 3, 5].map(slot => deliveredRecord(owner, slot * 10, slot))
    const between = deliveredRecord(owner, 10, 1)
    const signals = [...[a!, c!, d!, f!].map(delivered), ...[between, d!, c!, a!, f!].map(completed)]
    expect(pointsOf(signals).points.map(({ offset }) => offset)).toEqual([31n, 51n])
  })

  it('finds a redelivered record by its offset although it has a new slot', () => {
    const owner = new FakeOwner()
    const [a, b, again, c] = [
      deliveredRecord(owner, 0, 0),
      deliveredRecord(owner, 1, 1),
      deliveredRecord(owner, 1, 2),
      deliveredRecord(owner, 2, 3),
    ]
    const signals = [...[a, b, again].map(delivered), completed(again), delivered(c), ...[a, c].map(completed)]
    expect(pointsOf(signals).points.map(({ offset }) => offset)).toEqual([2n, 3n])
  })

  it('starts the next assignment with the records left by the last one, and ignores later signals of the last one', () => {
    const [first, second] = [new FakeOwner(), new FakeOwner()]
    const [a, b, c] = [0, 1, 2].map(slot => deliveredRecord(first, slot, slot))
    const signals = new Subject<BarrierSignal>()
    const positions: bigint[] = []
    signals.pipe(completionBarrier()).subscribe(({ offset }) => positions.push(offset))
    for (const signal of [...[a!, b!, c!].map(delivered), completed(a!), completed(c!)]) signals.next(signal)
    expect(positions).toEqual([1n])
    first.end()
    // Begins at the first offset again, because the commit of 1 came too late.
    const again = [0, 1, 2, 3].map(slot => deliveredRecord(second, slot, slot))
    for (const record of again) signals.next(delivered(record))
    for (const record of [b!, ...again.slice(2)]) signals.next(completed(record))
    expect(positions).toEqual([1n])
    signals.next(completed(again[1]!))
    expect(positions).toEqual([1n, 4n])
  })

  it('does not wait for records that another member completed meanwhile', () => {
    const [first, second] = [new FakeOwner(), new FakeOwner()]
    const left = deliveredRecord(first, 0, 0)
    const later = deliveredRecord(second, 100, 0)
    first.ended = true
    expect(pointsOf([delivered(left), delivered(later), completed(later)]).points).toMatchObject([{ offset: 101n }])
  })

  it('waits for all records of two assignments that both continue', () => {
    const [first, second] = [new FakeOwner(), new FakeOwner()]
    const [a, b] = [deliveredRecord(first, 0, 0), deliveredRecord(first, 1, 1)]
    const [again, c] = [deliveredRecord(second, 1, 0), deliveredRecord(second, 2, 1)]
    const signals = [...[a, b, again, c].map(delivered), ...[again, c, a].map(completed)]
    expect(pointsOf(signals).points).toMatchObject([{ offset: 3n }])
  })

  it('refuses a delivery that comes after later ones, because positions have passed it', () => {
    const signals = signalsOf('abc')
    const { points, errors } = pointsOf([signals.a!, signals.c!, signals.b!])
    expect(points).toEqual([])
    expect(errors).toEqual([
      new RangeError('completionBarrier takes deliveries in the order of the log: orders-0@1 came after offset 2'),
    ])
  })

  it('waits for the records of an ended assignment while another one continues', () => {
    const [first, second] = [new FakeOwner(), new FakeOwner()]
    const [a, b, c] = [deliveredRecord(first, 0, 0), deliveredRecord(second, 1, 0), deliveredRecord(second, 2, 1)]
    const signals = new Subject<BarrierSignal>()
    const positions: bigint[] = []
    signals.pipe(completionBarrier()).subscribe(({ offset }) => positions.push(offset))
    for (const record of [a, b]) signals.next(delivered(record))
    first.end()
    for (const signal of [delivered(c), completed(c)]) signals.next(signal)
    expect(positions).toEqual([])
  })

  it('merges with the barriers of other partitions', () => {
    const owners = [new FakeOwner('orders', 0), new FakeOwner('orders', 1)]
    const points: CommitPoint[] = []
    merge(
      ...owners.map(owner => {
        const record = deliveredRecord(owner, 4, 0)
        return from([delivered(record), completed(record)]).pipe(completionBarrier())
      }),
    ).subscribe(point => points.push(point))
    expect(points).toEqual([
      { topic: 'orders', partition: 0, offset: 5n },
      { topic: 'orders', partition: 1, offset: 5n },
    ])
  })
})
