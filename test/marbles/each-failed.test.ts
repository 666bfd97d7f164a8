import { map, NEVER, Observable, Subject, take, throwError, timer } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { completed, type Failed } from '../../src/failure.js'
import { eachFailed } from '../../src/retry/each-failed.js'
import { failure, inWords, testScheduler } from './stub-routing.js'

const failures = { a: failure('a'), b: failure('b'), c: failure('c'), d: completed(failure('d'), 'retried') }
const words = {
  a: 'a failed',
  b: 'b failed',
  c: 'c failed',
  A: 'a dead-lettered',
  B: 'b dead-lettered',
  C: 'c dead-lettered',
  d: 'd retried',
}

/** Completes a failure after this many ms. */
const through = (ms: number) => (failed: Failed) => timer(ms).pipe(map(() => completed(failed, 'dead-lettered')))

describe('eachFailed', () => {
  it('routes failures concurrently, lets completed records pass, and completes when all routes have', () => {
    testScheduler().run(({ cold, expectObservable, expectSubscriptions }) => {
      const input = cold('   a-d-b|', failures)
      const expected = '     --d-A---(B|)'
      expectObservable(input.pipe(eachFailed(through(4)), map(inWords))).toBe(expected, words)
      expectSubscriptions(input.subscriptions).toBe('^----!')
    })
  })

  it('completes with its source if no route is active', () => {
    testScheduler().run(({ hot, expectObservable }) => {
      const input = hot('    a----b-----|', failures)
      const expected = '     --A----B---|'
      expectObservable(input.pipe(eachFailed(through(2)), map(inWords))).toBe(expected, words)
    })
  })

  it('errors when a route errors, its source errors or the user’s function throws, and unsubscribes from the other routes', () => {
    testScheduler().run(({ hot, cold, expectObservable, expectSubscriptions }) => {
      const error = new Error('of the step')
      const slow = cold('    --------x|')
      const input = hot('    a-b----|', failures)
      const step = (failed: Failed) => (failed === failures.a ? slow.pipe(map(() => failed)) : throwError(() => error))
      expectObservable(input.pipe(eachFailed(step), map(inWords))).toBe('--#', words, error)
      expectSubscriptions(slow.subscriptions).toBe('^-!')
      const throws = hot('   a------|', failures)
      const thrower = (): never => {
        throw error
      }
      expectObservable(throws.pipe(eachFailed(thrower))).toBe('#', words, error)
      const broken = hot('   --#', failures, error)
      expectObservable(broken.pipe(eachFailed(() => NEVER))).toBe('--#', words, error)
    })
  })

  it('unsubscribes from exactly the active routes when it is unsubscribed', () => {
    const input = new Subject<Failed>()
    const left: string[] = []
    const done = new Subject<void>()
    const step = (failed: Failed) =>
      new Observable<Failed>(subscriber => {
        done.subscribe(() => failed === failures.a && subscriber.complete())
        return () => left.push(inWords(failed))
      })
    const subscription = input.pipe(eachFailed(step)).subscribe()
    for (const failed of [failures.a, failures.b, failures.c]) input.next(failed)
    expect(left).toEqual([])
    done.next()
    expect(left).toEqual(['a failed'])
    subscription.unsubscribe()
    expect(left).toEqual(['a failed', 'b failed', 'c failed'])
    expect(input.observed).toBe(false)
  })

  it('unsubscribes from a route that ends it while it is subscribed to', () => {
    const input = new Subject<Failed>()
    let left = 0
    const step = (failed: Failed) =>
      new Observable<Failed>(subscriber => {
        subscriber.next(failed)
        return () => left++
      })
    const seen: unknown[] = []
    input.pipe(eachFailed(step), take(1)).subscribe(one => seen.push(one))
    input.next(failures.a)
    expect(seen).toEqual([failures.a])
    expect(left).toBe(1)
  })
})
