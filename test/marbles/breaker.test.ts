import { map, of, pipe, Subject } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { ConfigurationError, FloodError } from '../../src/errors.js'
import { completed, type Failed } from '../../src/failure.js'
import { breaker } from '../../src/retry/breaker.js'
import { deadLetter } from '../../src/retry/dead-letter.js'
import { failure, inWords, place, StubClient, testScheduler } from './stub-routing.js'

const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
const failures = Object.fromEntries(names.map(name => [name, failure(name)]))
const words = {
  ...Object.fromEntries(names.map(name => [name, `${name} failed`])),
  ...Object.fromEntries(names.map(name => [name.toUpperCase(), `${name} dead-lettered`])),
  p: 'p retried',
}

describe('breaker', () => {
  it('lets failures pass while there are no more within that time than it allows', () => {
    const scheduler = testScheduler()
    scheduler.run(({ hot, expectObservable, flush }) => {
      const client = new StubClient({ scheduler })
      const input = hot('   a-b--c-d--e-f|', failures)
      const expected = '    a-b--c-d--e-f|'
      const route = breaker(client, { failures: 2, within: 5 })
      expectObservable(input.pipe(route, map(inWords))).toBe(expected, words)
      flush()
      expect(client.floods).toEqual([])
    })
  })

  it('holds the first failure beyond the limit, and all later ones', () => {
    const scheduler = testScheduler()
    scheduler.run(({ hot, expectObservable, flush }) => {
      const client = new StubClient({ scheduler })
      const input = hot('   a-b-c---------d---', failures)
      const expected = '    a-b---------------'
      const route = breaker(client, { failures: 2, within: 5 })
      expectObservable(input.pipe(route, map(inWords))).toBe(expected, words)
      flush()
      expect(client.held).toEqual(['c', 'd'])
      expect(client.floods).toHaveLength(1)
      expect(client.floods[0]).toBeInstanceOf(FloodError)
      expect(client.floods[0]).toMatchObject({ code: 'RXMIKA_FLOOD', topic: 'orders', failures: 2, within: 5 })
      expect(client.floods[0]!.cause).toBe(failures.c!.reason)
    })
  })

  it('does not count a failure that is exactly as old as `within`', () => {
    const scheduler = testScheduler()
    scheduler.run(({ hot, expectObservable, flush }) => {
      const client = new StubClient({ scheduler })
      const input = hot('   ab---cd---ef--g', failures)
      const expected = '    ab---cd---ef---'
      const route = breaker(client, { failures: 2, within: 5 })
      expectObservable(input.pipe(route, map(inWords))).toBe(expected, words)
      flush()
      expect(client.held).toEqual(['g'])
    })
  })

  it('passes on the failures it holds, in order, when the topic is resumed', () => {
    const scheduler = testScheduler()
    scheduler.run(({ hot, expectObservable, flush }) => {
      const resumed = hot(' -------r', { r: undefined })
      const client = new StubClient({ scheduler, resumed })
      const input = hot('   ab-c-d--------', failures)
      const expected = '    ab-----(cd)---'
      const route = breaker(client, { failures: 2, within: 100 })
      expectObservable(input.pipe(route, map(inWords))).toBe(expected, words)
      flush()
      expect(client.held).toEqual([])
    })
  })

  it('starts its count again after a resume: held and earlier failures do not count', () => {
    const scheduler = testScheduler()
    scheduler.run(({ hot, expectObservable, flush }) => {
      const resumed = hot(' ---r', { r: undefined })
      const client = new StubClient({ scheduler, resumed })
      const input = hot('   abc----def-g', failures)
      const expected = '    ab-c---de----'
      const route = breaker(client, { failures: 2, within: 100 })
      expectObservable(input.pipe(route, map(inWords))).toBe(expected, words)
      flush()
      expect(client.floods).toHaveLength(2)
      expect(client.held).toEqual(['f', 'g'])
    })
  })

  it('does not pass held failures to the next step', () => {
    const scheduler = testScheduler()
    scheduler.run(({ hot, cold, expectObservable, flush }) => {
      const resumed = hot(' ------r', { r: undefined })
      const client = new StubClient({ scheduler, resumed, publish: () => cold('--m|', { m: place }) })
      const input = hot('   abc-d--------', failures)
      const expected = '    --A-----(BCD)'
      const route = pipe(breaker(client, { failures: 1, within: 100 }), deadLetter(client))
      expectObservable(input.pipe(route, map(inWords))).toBe(expected, words)
      flush()
      expect(client.copies).toHaveLength(4)
    })
  })

  it('lets completed records pass at any time, and does not count them', () => {
    const scheduler = testScheduler()
    scheduler.run(({ hot, expectObservable, flush }) => {
      const client = new StubClient({ scheduler })
      const p = completed(failure('p'), 'retried')
      const input = hot('   pppapbp|', { ...failures, p })
      const expected = '    pppap-p-'
      const route = breaker(client, { failures: 1, within: 100 })
      expectObservable(input.pipe(route, map(inWords))).toBe(expected, words)
      flush()
      expect(client.held).toEqual(['b'])
    })
  })

  it('drops failures of ended assignments when the topic is resumed', () => {
    const scheduler = testScheduler()
    scheduler.run(({ hot, expectObservable, flush }) => {
      const resumed = hot(' -----r', { r: undefined })
      const client = new StubClient({ scheduler, resumed })
      client.lost.add('b')
      const input = hot('   abc-', failures)
      const expected = '    a----c'
      const route = breaker(client, { failures: 1, within: 100 })
      expectObservable(input.pipe(route, map(inWords))).toBe(expected, words)
      flush()
      expect(client.held).toEqual([])
    })
  })

  it('completes with its source, or once the held failures have passed', () => {
    const scheduler = testScheduler()
    scheduler.run(({ hot, cold, expectObservable }) => {
      const resumed = hot(' -----r', { r: undefined })
      const client = new StubClient({ scheduler, resumed })
      const route = breaker(client, { failures: 1, within: 100 })
      expectObservable(hot('a-b|', failures).pipe(route, map(inWords))).toBe('a----(b|)', words)
      expectObservable(cold<Failed>('|').pipe(route)).toBe('|')
      expectObservable(cold<Failed>('-').pipe(route)).toBe('-')
    })
  })

  it('passes an error of its source on at once', () => {
    const scheduler = testScheduler()
    scheduler.run(({ hot, expectObservable }) => {
      const client = new StubClient({ scheduler })
      const input = hot('   abc#', failures)
      const expected = '    a--#'
      const route = breaker(client, { failures: 1, within: 100 })
      expectObservable(input.pipe(route, map(inWords))).toBe(expected, words)
    })
  })

  it('unsubscribes from its source, and does not wait for a resume, when it is unsubscribed', () => {
    const scheduler = testScheduler()
    scheduler.run(({ hot, expectObservable, expectSubscriptions }) => {
      const resumed = hot<undefined>('------r')
      const client = new StubClient({ scheduler, resumed })
      const input = hot('       ab-----c', failures)
      const unsubscribed = '    ---!'
      const expected = '        a-------'
      const route = breaker(client, { failures: 1, within: 100 })
      expectObservable(input.pipe(route, map(inWords)), unsubscribed).toBe(expected, words)
      expectSubscriptions(input.subscriptions).toBe('   ^--!')
      expectSubscriptions(resumed.subscriptions).toBe(' -^-!')
    })
  })

  it('trips at the first failure if none is allowed', () => {
    const client = new StubClient()
    of(failure('a'), failure('b'))
      .pipe(breaker(client, { failures: 0, within: 1 }))
      .subscribe()
    expect(client.held).toEqual(['a', 'b'])
    expect(client.floods).toHaveLength(1)
  })

  it('counts each topic separately if several topics share a route', () => {
    const client = new StubClient()
    const route = breaker(client, { failures: 1, within: 100 })
    const passed: string[] = []
    for (const name of ['a', 'b']) {
      of(failure(name))
        .pipe(route)
        .subscribe(value => passed.push(inWords(value)))
    }
    expect(passed).toEqual(['a failed', 'b failed'])
    expect(client.floods).toEqual([])
  })

  it('continues in order when a listener of its error resumes the topic', () => {
    const client = new StubClient({ resumed: of(undefined) })
    const passed: string[] = []
    of(failure('a'), failure('b'), failure('c'))
      .pipe(breaker(client, { failures: 1, within: 100 }))
      .subscribe(value => passed.push(inWords(value)))
    expect(passed).toEqual(['a failed', 'b failed', 'c failed'])
    expect(client.floods).toHaveLength(1)
    expect(client.held).toEqual([])
  })

  it('trips again for failures that arrive while it passes on the held ones', () => {
    const resumed = new Subject<void>()
    const client = new StubClient({ resumed })
    const input = new Subject<Failed>()
    const passed: string[] = []
    input.pipe(breaker(client, { failures: 1, within: 100 })).subscribe(value => {
      passed.push(inWords(value))
      if (passed.length === 2) for (const name of ['d', 'e']) input.next(failure(name))
    })
    for (const name of ['a', 'b', 'c']) input.next(failure(name))
    expect(client.held).toEqual(['b', 'c'])
    resumed.next()
    expect(passed).toEqual(['a failed', 'b failed', 'd failed', 'c failed'])
    expect(client.held).toEqual(['e'])
    expect(client.floods).toHaveLength(2)
  })

  it('refuses invalid options when it is created', () => {
    const client = new StubClient()
    for (const bad of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => breaker(client, { failures: bad, within: 1 })).toThrow(ConfigurationError)
    }
    for (const within of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, '5' as unknown as number]) {
      expect(() => breaker(client, { failures: 1, within })).toThrow(ConfigurationError)
    }
  })
})
