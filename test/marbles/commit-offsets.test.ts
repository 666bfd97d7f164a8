import {
  EMPTY,
  from,
  map,
  merge,
  NEVER,
  Observable,
  of,
  type SchedulerLike,
  Subject,
  Subscription,
  take,
  tap,
  throwError,
  VirtualTimeScheduler,
} from 'rxjs'
import { describe, expect, it } from 'vitest'
import type { CommitPoint, Committed } from '../../src/commit-point.js'
import { CommitError } from '../../src/errors.js'
import { commitOffsets, completionBarrier } from '../../src/operators/index.js'
import { otherCopy } from '../other-copy.js'
import { FakeOwner } from './fake-record.js'
import { pointsOf, run } from './signals.js'

// Diagrams of points. A digit is a position of partition 0. A letter is a position of partition 1: a is 1, b is 2.

const away = new CommitError('the broker is away', { retriable: true })
const refused = new CommitError('not authorised', { retriable: false })

const at = (offset: number, more: Partial<CommitPoint> = {}): CommitPoint => ({
  ...{ topic: 'orders', partition: 0, offset: BigInt(offset) },
  ...more,
})

/** A driver that answers at once and records its requests. */
function instantDriver() {
  const asked: CommitPoint[][] = []
  const commit = (points: readonly CommitPoint[]): Observable<never> => {
    asked.push([...points])
    return EMPTY
  }
  return { asked, commit }
}

describe('commitOffsets: one in flight, the newest wins', () => {
  it('emits a position when the broker has confirmed it', () =>
    run(({ points, driver, expectPoints, expectRequests }) => {
      const input = points('--1-------2---|')
      const commits = driver('---|')
      const requests = '    --1-------2----'
      const expected = '    -----1-------2|'
      expectPoints(input.pipe(commitOffsets(commits))).toBe(expected)
      expectRequests(commits).toBe(requests)
    }))

  it('commits the newest position that came meanwhile, never two at a time', () =>
    run(({ points, driver, expectPoints, expectRequests, expectInFlight }) => {
      const commits = driver('-----|')
      const input = points('--1-2-3---4---|')
      const requests = '    --1----3----4---'
      const expected = '    -------1----3----(4|)'
      expectPoints(input.pipe(commitOffsets(commits))).toBe(expected)
      expectRequests(commits).toBe(requests)
      expectInFlight(commits).toBe([
        '                   --^----!---------------',
        '                   -------^----!----------',
        '                   ------------^----!-----',
      ])
    }))

  it('commits the newest position of all partitions in one request', () =>
    run(({ points, driver, expectPoints, expectRequests }) => {
      const commits = driver('-----|')
      const input = points('-1-a2b---------|')
      const requests = '    -1----x---------'
      const expected = '    ------1----(2b)|'
      expectPoints(input.pipe(commitOffsets(commits))).toBe(expected)
      expectRequests(commits).toBe(requests, { x: '2b' })
    }))

  it('never commits a lower position, or the same one twice', () =>
    run(({ points, driver, expectPoints, expectRequests }) => {
      const commits = driver('--|')
      const input = points('-3--3-2-1-4-3-4--5-|')
      const requests = '    -3--------4------5--'
      const expected = '    ---3--------4------(5|)'
      expectPoints(input.pipe(commitOffsets(commits))).toBe(expected)
      expectRequests(commits).toBe(requests)
    }))

  it('never commits a lower position, or the same one twice, that came while another was in flight', () =>
    run(({ points, driver, expectPoints, expectRequests }) => {
      const commits = driver('-----|')
      const input = points('-3-5-4-3-5------|')
      const requests = '    -3----5----------'
      const expected = '    ------3----5----|'
      expectPoints(input.pipe(commitOffsets(commits))).toBe(expected)
      expectRequests(commits).toBe(requests)
    }))

  it('commits the same position with other metadata, but not with the same metadata', () => {
    const points = new Subject<CommitPoint>()
    const answers: Subject<never>[] = []
    const asked: (string | undefined)[] = []
    const commit = (request: readonly CommitPoint[]) => {
      asked.push(...request.map(({ metadata }) => metadata))
      answers.push(new Subject())
      return answers.at(-1)!
    }
    const committed: Committed[] = []
    points.pipe(commitOffsets({ commit })).subscribe(point => committed.push(point))
    for (const metadata of ['x', 'y', 'x']) points.next(at(5, { metadata }))
    answers[0]!.complete()
    expect(asked).toEqual(['x'])
    points.next(at(5, { metadata: 'y' }))
    answers[1]!.complete()
    expect(asked).toEqual(['x', 'y'])
    expect(committed).toEqual([at(5, { metadata: 'x' }), at(5, { metadata: 'y' })])
  })

  it('commits metadata again if the broker may have accepted another one that it refused', () =>
    run(({ hot, cold, expectObservable }) => {
      const answers = ['-|', '-#', '-|']
      const asked: string[] = []
      const commit = ([point]: readonly CommitPoint[]) => {
        asked.push(point!.metadata!)
        return cold<never>(answers.shift()!, undefined, away)
      }
      const values = { x: at(5, { metadata: 'x' }), y: at(5, { metadata: 'y' }) }
      const input = hot('   x--y--x---|', values)
      const expected = '    -x 103ms (x|)'
      expectObservable(input.pipe(commitOffsets({ commit }))).toBe(expected, values)
    }))

  it('distinguishes topics and partitions whose names look alike', () => {
    const driver = instantDriver()
    from([at(1, { topic: 'a/1', partition: 1 }), at(1, { topic: 'a', partition: 1 }), at(1, { topic: 'a/1/1' })])
      .pipe(commitOffsets(driver))
      .subscribe()
    expect(driver.asked).toHaveLength(3)
  })
})

describe('commitOffsets: assignments', () => {
  it('drops a point whose assignment had ended before it came', () =>
    run(({ points, driver, endsAt, expectPoints, expectRequests }) => {
      const commits = driver('-|')
      const owner = endsAt('---x')
      const input = points('-1---2-3-|', owner)
      const requests = '    -1---------'
      const expected = '    --1------|'
      expectPoints(input.pipe(commitOffsets(commits))).toBe(expected)
      expectRequests(commits).toBe(requests)
    }))

  it('drops a point whose assignment ends while it waits, and commits those of other assignments', () =>
    run(({ points, driver, endsAt, expectPoints, expectRequests }) => {
      const commits = driver('-----|')
      const owner = endsAt('----x')
      const ended = points('-1-2------|', owner)
      const other = points('--a-------|')
      const requests = '    -1----a-------'
      const expected = '    -----------(a|)'
      expectPoints(merge(ended, other).pipe(commitOffsets(commits))).toBe(expected)
      expectRequests(commits).toBe(requests)
    }))

  it('emits nothing for a commit in flight when its assignment ended: it may not have been sent', () =>
    run(({ points, driver, endsAt, expectPoints }) => {
      const commits = driver('-----|')
      const owner = endsAt('---x')
      const input = points('-1-------|', owner)
      const expected = '    ---------|'
      expectPoints(input.pipe(commitOffsets(commits))).toBe(expected)
    }))

  it('drops a point whose assignment ends while a refused commit waits', () =>
    run(({ points, driver, endsAt, expectPoints, expectRequests }) => {
      const commits = driver(['--#', '--|'], away)
      const owner = endsAt('--- 50ms x--')
      const input = points('-1-|', owner)
      const requests = '    -1-'
      const expected = '    --- 100ms |'
      expectPoints(input.pipe(commitOffsets(commits))).toBe(expected)
      expectRequests(commits).toBe(requests)
    }))

  it('allows a new assignment to begin below the position of the last one', () =>
    run(({ points, driver, endsAt, expectPoints, expectRequests }) => {
      const commits = driver('-|')
      const first = endsAt('----x')
      const second = endsAt('-')
      const early = points('-5---6------|', first)
      const later = points('------2-1-3-|', second)
      const requests = '    -5----2---3--'
      const expected = '    --5----2---3|'
      expectPoints(merge(early, later).pipe(commitOffsets(commits))).toBe(expected)
      expectRequests(commits).toBe(requests)
    }))

  it('emits nothing more for an assignment that ends while another position is emitted', () => {
    const [first, second] = [{ ended: false }, { ended: false }]
    const points = new Subject<CommitPoint>()
    const answer = new Subject<never>()
    const committed: Committed[] = []
    points.pipe(commitOffsets({ commit: () => answer })).subscribe(point => {
      committed.push(point)
      second.ended = true
    })
    from([at(1), at(2, { assignment: first }), at(2, { partition: 1, assignment: second })]).subscribe(points)
    expect(committed).toEqual([])
    answer.complete()
    expect(committed).toEqual([at(1), at(2, { assignment: first })])
  })
})

describe('commitOffsets: refusals', () => {
  it('retries a temporary refusal after 100 ms, with the newest position', () =>
    run(({ points, driver, expectPoints, expectRequests }) => {
      const commits = driver(['--#', '--|'], away)
      const input = points('-1---2---4-----|')
      const requests = '    -1- 100ms 4--'
      const expected = '    --- 100ms --(4|)'
      expectPoints(input.pipe(commitOffsets(commits))).toBe(expected)
      expectRequests(commits).toBe(requests)
    }))

  it('doubles the delay after every further refusal, up to 2 s, and starts at 100 ms again after a success', () =>
    run(({ points, driver, expectPoints, expectRequests }) => {
      const refusals = Array.from({ length: 7 }, () => '#')
      const commits = driver([...refusals, '|', '#', '|'], away)
      const input = points('1 7999ms 2')
      const requests = '    1 99ms 1 199ms 1 399ms 1 799ms 1 1599ms 1 1999ms 1 1999ms 1 899ms 2 99ms 2'
      const expected = '    7100ms 1 999ms 2'
      expectPoints(input.pipe(commitOffsets(commits))).toBe(expected)
      expectRequests(commits).toBe(requests)
    }))

  it('holds the points of other partitions back meanwhile, and commits them together', () =>
    run(({ points, driver, expectPoints, expectRequests }) => {
      const commits = driver(['--#', '--|'], away)
      const input = points('-1---a-----|')
      const requests = '    -1- 100ms x--'
      const expected = '    --- 100ms --(1a|)'
      expectPoints(input.pipe(commitOffsets(commits))).toBe(expected)
      expectRequests(commits).toBe(requests, { x: '1a' })
    }))

  it('errors with a permanent refusal', () =>
    run(({ points, driver, expectPoints, expectRequests }) => {
      const commits = driver('--#', refused)
      const input = points('-1-2-3-')
      const requests = '    -1-----'
      const expected = '    ---#---'
      expectPoints(input.pipe(commitOffsets(commits))).toBe(expected, refused)
      expectRequests(commits).toBe(requests)
    }))

  it('commits again after an error that no driver should give, and reports the positions', () => {
    const cause = new Error('out of tune')
    const throwing = () => {
      throw cause
    }
    for (const fail of [throwing, () => throwError(() => cause)]) {
      const errors: CommitError[] = []
      const clock = new VirtualTimeScheduler()
      let asked = 0
      const commit = () => (asked++ === 0 ? fail() : EMPTY)
      const committed: unknown[] = []
      of(at(5))
        .pipe(commitOffsets({ commit, scheduler: clock }, { onError: error => errors.push(error) }))
        .subscribe(point => committed.push(point))
      expect(errors).toHaveLength(1)
      expect(errors[0]).toBeInstanceOf(CommitError)
      expect(errors[0]).toMatchObject({ retriable: true, cause })
      expect(errors[0]!.message).toBe('the driver failed to commit orders-0@5: out of tune')
      clock.flush()
      expect(committed).toEqual([at(5)])
    }
  })

  it('errors with the refusal of a driver that uses another copy of the package', () => {
    const refusal = otherCopy('RXMIKA_COMMIT', { retriable: false })
    const errors: unknown[] = []
    of(at(5))
      .pipe(commitOffsets({ commit: () => throwError(() => refusal) }))
      .subscribe({ error: error => errors.push(error) })
    expect(errors).toEqual([refusal])
  })

  it.each([Symbol('odd'), undefined, null, Object.create(null), 'text'])('accepts any value as a cause', cause => {
    const errors: CommitError[] = []
    of(at(5))
      .pipe(commitOffsets({ commit: () => throwError(() => cause) }, { onError: error => errors.push(error) }))
      .subscribe()
      .unsubscribe()
    expect(errors[0]!.message).toBe('the driver failed to commit orders-0@5')
  })

  it('reports every refusal, and errors with the error that the listener throws', () =>
    run(({ points, driver, expectPoints }) => {
      const told: CommitError[] = []
      const commits = driver(['#', '#', '|'], away)
      const onError = (error: CommitError) => {
        told.push(error)
        if (told.length === 2) throw 'thrown'
      }
      expectPoints(points('1').pipe(commitOffsets(commits, { onError }))).toBe('100ms #', 'thrown')
    }))

  it('does not retry once its listener has unsubscribed', () => {
    let waits = 0
    const scheduler: SchedulerLike = {
      now: () => 0,
      schedule: () => {
        waits++
        return Subscription.EMPTY
      },
    }
    const points = new Subject<CommitPoint>()
    const driver = { scheduler, commit: () => throwError(() => away) }
    const subscription = points.pipe(commitOffsets(driver, { onError: () => subscription.unsubscribe() })).subscribe()
    points.next(at(1))
    expect({ waits, observed: points.observed }).toEqual({ waits: 0, observed: false })
  })
})

describe('commitOffsets: ends', () => {
  it('ends as its source does if there are no points', () =>
    run(({ driver, expectPoints }) => {
      const commits = driver('|')
      expectPoints(EMPTY.pipe(commitOffsets(commits))).toBe('|')
      expectPoints(NEVER.pipe(commitOffsets(commits))).toBe('-')
      expectPoints(throwError(() => 'error').pipe(commitOffsets(commits))).toBe('#')
    }))

  it('completes once the last pending position is committed', () =>
    run(({ points, driver, expectPoints, expectRequests }) => {
      const commits = driver('-----|')
      const input = points('-1-2-|')
      const requests = '    -1----2-----'
      const expected = '    ------1----(2|)'
      expectPoints(input.pipe(commitOffsets(commits))).toBe(expected)
      expectRequests(commits).toBe(requests)
    }))

  it('completes only after a refused commit has passed', () =>
    run(({ points, driver, expectPoints }) => {
      const commits = driver(['--#', '--|'], away)
      const input = points('-1|')
      const expected = '    --- 100ms --(1|)'
      expectPoints(input.pipe(commitOffsets(commits))).toBe(expected)
    }))

  it('passes an error of the source on at once, and cancels what is in flight', () =>
    run(({ points, driver, expectPoints, expectRequests, expectInFlight }) => {
      const commits = driver('-----|')
      const input = points('-1-2-#')
      const requests = '    -1----'
      const inFlight = '    -^---!'
      const expected = '    -----#'
      expectPoints(input.pipe(commitOffsets(commits))).toBe(expected)
      expectRequests(commits).toBe(requests)
      expectInFlight(commits).toBe([inFlight])
    }))

  it('cancels what is in flight, and unsubscribes from the source, when it is unsubscribed', () =>
    run(({ hot, driver, expectPoints, expectRequests, expectInFlight, expectSubscriptions }) => {
      const commits = driver('   -----|')
      const input = hot('        -1-2---', pointsOf('12'))
      const unsubscribed = '     ----!'
      const requests = '         -1-----'
      const inFlight = '         -^--!'
      expectPoints(input.pipe(commitOffsets(commits)), unsubscribed).toBe('-')
      expectSubscriptions(input.subscriptions).toBe('^---!')
      expectRequests(commits).toBe(requests)
      expectInFlight(commits).toBe([inFlight])
    }))

  it('does not retry after it was unsubscribed', () =>
    run(({ points, driver, expectPoints, expectRequests }) => {
      const commits = driver('-#', away)
      const input = points('     -1-2-----')
      const unsubscribed = '     -----!'
      const requests = '         -1-------'
      expectPoints(input.pipe(commitOffsets(commits)), unsubscribed).toBe('-')
      expectRequests(commits).toBe(requests)
    }))

  it('does not commit pending positions once it is unsubscribed', () =>
    run(({ points, driver, expectPoints, expectRequests }) => {
      const commits = driver('-----|')
      const input = points('-1-2------')
      const requests = '    -1--------'
      const expected = '    ------(1|)'
      expectPoints(input.pipe(commitOffsets(commits), take(1))).toBe(expected)
      expectRequests(commits).toBe(requests)
    }))

  it('unsubscribes from a synchronous source as soon as its subscriber has unsubscribed', () => {
    const driver = instantDriver()
    const seen: bigint[] = []
    from([1, 2, 3])
      .pipe(
        map(offset => at(offset)),
        tap(({ offset }) => seen.push(offset)),
        commitOffsets(driver),
        take(1),
      )
      .subscribe()
    expect(seen).toEqual([1n])
    expect(driver.asked).toEqual([[at(1)]])
  })

  it('cancels a commit whose beginning unsubscribes it', () => {
    const points = new Subject<CommitPoint>()
    let cancelled = false
    const commit = () =>
      new Observable<never>(() => {
        subscription.unsubscribe()
        return () => {
          cancelled = true
        }
      })
    const subscription = points.pipe(commitOffsets({ commit })).subscribe()
    points.next(at(1))
    expect(cancelled).toBe(true)
  })
})

describe('commitOffsets: drivers that answer at once, and re-entrancy', () => {
  it('commits every point of a driver that answers at once', () =>
    run(({ points, driver, expectPoints, expectRequests }) => {
      const commits = driver('|')
      const input = points('-1-2-a-(3b)|')
      const requests = '    -1-2-a-(3b)-'
      const expected = '    -1-2-a-(3b)|'
      expectPoints(input.pipe(commitOffsets(commits))).toBe(expected)
      expectRequests(commits).toBe(requests)
    }))

  it('commits positions pushed by a listener of a commit after that commit, in one request', () =>
    run(({ hot, driver, expectPoints, expectRequests }) => {
      const commits = driver('---|')
      const input = new Subject<CommitPoint>()
      const points = pointsOf('1234ab')
      hot('               -1', points).subscribe(point => input.next(point))
      const requests = '  -1--x---'
      const expected = '  ----1--(3b)'
      const pushing = input.pipe(
        commitOffsets(commits),
        tap(({ offset, partition }) => {
          if (offset === 1n && partition === 0) for (const mark of '2ab3') input.next(points[mark]!)
        }),
      )
      expectPoints(pushing).toBe(expected)
      expectRequests(commits).toBe(requests, { x: '3b' })
    }))

  it('emits all positions of a commit before it commits those pushed meanwhile', () => {
    const driver = instantDriver()
    const input = new Subject<CommitPoint>()
    const log: string[] = []
    const commit = (points: readonly CommitPoint[]) => {
      log.push(`commit ${points.map(({ offset }) => offset).join()}`)
      return driver.commit(points)
    }
    input.pipe(commitOffsets({ commit })).subscribe(({ offset }) => {
      log.push(`committed ${offset}`)
      if (offset < 3n) input.next(at(Number(offset) + 1))
      log.push(`heard ${offset}`)
    })
    input.next(at(1))
    expect(log).toEqual([1, 2, 3].flatMap(n => [`commit ${n}`, `committed ${n}`, `heard ${n}`]))
  })

  it('continues while each commit synchronously causes the next point', () => {
    const input = new Subject<CommitPoint>()
    let last = 0n
    input.pipe(commitOffsets(instantDriver())).subscribe(({ offset }) => {
      last = offset
      if (offset < 100_000n) input.next(at(Number(offset) + 1))
    })
    input.next(at(1))
    expect(last).toBe(100_000n)
  })

  it('completes when the source completes while a commit is emitted', () => {
    const input = new Subject<CommitPoint>()
    const log: string[] = []
    input.pipe(commitOffsets(instantDriver())).subscribe({
      next: ({ offset }) => {
        log.push(String(offset))
        if (offset === 1n) {
          input.next(at(2))
          input.complete()
        }
      },
      complete: () => log.push('complete'),
    })
    input.next(at(1))
    expect(log).toEqual(['1', '2', 'complete'])
  })
})

describe('completionBarrier into commitOffsets', () => {
  it('commits two interleaved partitions, neither past a record that is not completed', () =>
    run(({ signals, driver, expectPoints, expectRequests }) => {
      const commits = driver('---|')
      const zero = signals(' ab-B---A---c---C----|')
      const one = signals('  --ab--A--B-----------|', { owner: new FakeOwner('orders', 1) })
      const requests = '    ------a--x-----3------'
      const expected = '    ---------a--(b2)--3--|'
      const points = merge(zero.pipe(completionBarrier()), one.pipe(completionBarrier()))
      expectPoints(points.pipe(commitOffsets(commits))).toBe(expected)
      expectRequests(commits).toBe(requests, { x: 'b2' })
    }))
})
