import { map, of, Subject } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { ConfigurationError } from '../../src/errors.js'
import { completed, type Failed } from '../../src/failure.js'
import { steps } from '../../src/retry/backoff.js'
import { redeliver } from '../../src/retry/redeliver.js'
import { failure, inWords, StubClient, testScheduler } from './stub-routing.js'

const words = { a: 'a failed', b: 'b failed', p: 'p retried' }

describe('redeliver', () => {
  it('redelivers a record while attempts remain, and lets it pass on after that', () => {
    testScheduler().run(({ hot, expectObservable, flush }) => {
      const client = new StubClient()
      const input = hot('   -a-b-c-|', {
        a: failure('a', { redeliveries: 2 }),
        b: failure('b', { redeliveries: 1 }),
        c: failure('c'),
      })
      const expected = '    -a-----|'
      expectObservable(input.pipe(redeliver(client, { attempts: 3 }), map(inWords))).toBe(expected, words)
      flush()
      expect(client.redeliveries).toEqual([
        { name: 'b', delay: 0 },
        { name: 'c', delay: 0 },
      ])
    })
  })

  it('counts its own attempts: a retry from the topic has all of them again', () => {
    const client = new StubClient()
    of(failure('a', { retries: 7 }))
      .pipe(redeliver(client, { attempts: 2 }))
      .subscribe()
    expect(client.redeliveries).toHaveLength(1)
  })

  it('lets a record pass on, still failed, if it must not be retried', () => {
    testScheduler().run(({ hot, expectObservable }) => {
      const client = new StubClient()
      const input = hot('   -a-|', { a: failure('a', { retryable: false }) })
      const expected = '    -a-|'
      expectObservable(input.pipe(redeliver(client, { attempts: 9 }), map(inWords))).toBe(expected, words)
      expect(client.redeliveries).toEqual([])
    })
  })

  it('lets a completed record pass', () => {
    testScheduler().run(({ hot, expectObservable }) => {
      const input = hot('   -p-|', { p: completed(failure('p'), 'retried') })
      const expected = '    -p-|'
      expectObservable(input.pipe(redeliver(new StubClient(), { attempts: 9 }), map(inWords))).toBe(expected, words)
    })
  })

  it('does nothing if no record fails, and passes on the end of its source', () => {
    testScheduler().run(({ cold, expectObservable }) => {
      const client = new StubClient()
      expectObservable(cold<Failed>('-').pipe(redeliver(client, { attempts: 2 }))).toBe('-')
      expectObservable(cold<Failed>('|').pipe(redeliver(client, { attempts: 2 }))).toBe('|')
      expectObservable(cold<Failed>('--#').pipe(redeliver(client, { attempts: 2 }))).toBe('--#')
      expect(client.redeliveries).toEqual([])
    })
  })

  it('unsubscribes from its source when it is unsubscribed', () => {
    testScheduler().run(({ hot, expectObservable, expectSubscriptions, flush }) => {
      const client = new StubClient()
      const input = hot('   ---a-', { a: failure('a') })
      const unsubscribed = '--!'
      expectObservable(input.pipe(redeliver(client, { attempts: 2 })), unsubscribed).toBe('-')
      expectSubscriptions(input.subscriptions).toBe('^-!')
      flush()
      expect(client.redeliveries).toEqual([])
    })
  })

  it('waits for the backoff of the next attempt, and not at all if the backoff throws', () => {
    const client = new StubClient()
    const backoff = (attempt: number) => {
      if (attempt > 3) throw new Error('no more')
      return steps([50, 700])(attempt)
    }
    of(failure('a'), failure('b', { redeliveries: 1 }), failure('c', { redeliveries: 2 }))
      .pipe(redeliver(client, { attempts: 9, backoff }))
      .subscribe()
    expect(client.redeliveries.map(({ delay }) => delay)).toEqual([50, 700, 0])
  })

  it('routes a record that fails while another is redelivered', () => {
    const client = new StubClient()
    const input = new Subject<Failed>()
    const passed: string[] = []
    input.pipe(redeliver(client, { attempts: 2 })).subscribe(value => {
      passed.push(inWords(value))
      input.next(failure('b'))
    })
    input.next(failure('a', { redeliveries: 1 }))
    expect(passed).toEqual(['a failed'])
    expect(client.redeliveries).toEqual([{ name: 'b', delay: 0 }])
  })

  it('refuses invalid options when it is created', () => {
    for (const attempts of [0, -1, 1.5, Number.NaN]) {
      expect(() => redeliver(new StubClient(), { attempts })).toThrow(ConfigurationError)
    }
    expect(() => redeliver(new StubClient(), { attempts: 2, backoff: () => -1 })).toThrow(ConfigurationError)
    expect(() => redeliver(new StubClient(), { attempts: Number.POSITIVE_INFINITY })).not.toThrow()
  })
})
