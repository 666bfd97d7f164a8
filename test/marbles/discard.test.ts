import { map, Subject, take } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { completed, type Failed } from '../../src/failure.js'
import { discard } from '../../src/retry/discard.js'
import { failure, inWords, testScheduler } from './stub-routing.js'

const words = { A: 'a discarded', B: 'b discarded', p: 'p retried' }

describe('discard', () => {
  it('completes each failed record at once, whatever the reason', () => {
    testScheduler().run(({ hot, expectObservable }) => {
      const input = hot('   -a--b-|', { a: failure('a'), b: failure('b', { retryable: false, reason: undefined }) })
      const expected = '    -A--B-|'
      expectObservable(input.pipe(discard(), map(inWords))).toBe(expected, words)
    })
  })

  it('lets a completed record pass as it is', () => {
    testScheduler().run(({ hot, expectObservable }) => {
      const input = hot('   -p-|', { p: completed(failure('p'), 'retried') })
      const expected = '    -p-|'
      expectObservable(input.pipe(discard(), map(inWords))).toBe(expected, words)
    })
  })

  it('ends as its source does', () => {
    testScheduler().run(({ cold, expectObservable }) => {
      expectObservable(cold<Failed>('-').pipe(discard())).toBe('-')
      expectObservable(cold<Failed>('|').pipe(discard())).toBe('|')
      expectObservable(cold<Failed>('--#').pipe(discard())).toBe('--#')
    })
  })

  it('unsubscribes from its source when it is unsubscribed', () => {
    testScheduler().run(({ hot, expectObservable, expectSubscriptions }) => {
      const input = hot('   -a--a-', { a: failure('a') })
      const unsubscribed = '---!'
      const expected = '    -A--'
      expectObservable(input.pipe(discard(), map(inWords)), unsubscribed).toBe(expected, words)
      expectSubscriptions(input.subscriptions).toBe('^--!')
    })
  })

  it('accepts a record that fails while another is discarded', () => {
    const input = new Subject<Failed>()
    const emitted: string[] = []
    input.pipe(discard(), take(2)).subscribe(value => {
      emitted.push(inWords(value))
      input.next(failure('b'))
    })
    input.next(failure('a'))
    expect(emitted).toEqual(['a discarded', 'b discarded'])
  })
})
