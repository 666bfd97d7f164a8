import { map, Subject } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { ClientClosedError } from '../../src/errors.js'
import { completed, type Failed } from '../../src/failure.js'
import { halt } from '../../src/retry/halt.js'
import { failure, inWords, StubClient, testScheduler } from './stub-routing.js'

describe('halt', () => {
  it('closes the client with the reason, and completes nothing', () => {
    testScheduler().run(({ hot, expectObservable, flush }) => {
      const client = new StubClient()
      const failed = failure('a', { reason: new Error('books do not balance') })
      const input = hot('   -a--|', { a: failed })
      const expected = '    ----|'
      expectObservable(input.pipe(halt(client))).toBe(expected)
      flush()
      expect(client.halts).toHaveLength(1)
      expect(client.halts[0]).toBeInstanceOf(ClientClosedError)
      expect(client.halts[0]!.cause).toBe(failed.reason)
      expect(client.halts[0]!.message).toBe('halted: the record at orders-0@0 failed: books do not balance')
    })
  })

  it('lets a completed record pass', () => {
    testScheduler().run(({ hot, expectObservable }) => {
      const client = new StubClient()
      const input = hot('   -p-|', { p: completed(failure('p'), 'retried') })
      const expected = '    -p-|'
      expectObservable(input.pipe(halt(client), map(inWords))).toBe(expected, { p: 'p retried' })
      expect(client.halts).toEqual([])
    })
  })

  it('ends as its source does, without halting', () => {
    testScheduler().run(({ cold, expectObservable, flush }) => {
      const client = new StubClient()
      expectObservable(cold<Failed>('-').pipe(halt(client))).toBe('-')
      expectObservable(cold<Failed>('|').pipe(halt(client))).toBe('|')
      expectObservable(cold<Failed>('--#').pipe(halt(client))).toBe('--#')
      flush()
      expect(client.halts).toEqual([])
    })
  })

  it('unsubscribes from its source when it is unsubscribed', () => {
    testScheduler().run(({ hot, expectObservable, flush }) => {
      const client = new StubClient()
      const input = hot('   ---a-', { a: failure('a') })
      const unsubscribed = '--!'
      expectObservable(input.pipe(halt(client)), unsubscribed).toBe('-')
      flush()
      expect(client.halts).toEqual([])
    })
  })

  it('reports a record that fails while the client is closing', () => {
    const client = new StubClient()
    const input = new Subject<Failed>()
    input.pipe(halt(client)).subscribe()
    const { halts } = client
    halts.push = (...errors) => {
      const first = halts.length === 0
      Array.prototype.push.apply(halts, errors)
      if (first) input.next(failure('b'))
      return halts.length
    }
    input.next(failure('a'))
    expect(halts).toHaveLength(2)
  })
})
