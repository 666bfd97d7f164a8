import { map, of, pipe, Subject } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { ConfigurationError, DecodeError, RecordWithoutConsumerError } from '../../src/errors.js'
import { completed, Failed } from '../../src/failure.js'
import type { HeaderPair } from '../../src/record-batch.js'
import { deadLetter } from '../../src/retry/dead-letter.js'
import { retryTopic } from '../../src/retry/retry-topic.js'
import { FakeOwner, fakeRecord } from './fake-record.js'
import { failure, inWords, nameOf, place, refused, StubClient, testScheduler } from './stub-routing.js'

const failures = { a: failure('a'), b: failure('b'), c: failure('c') }
const words = { A: 'a dead-lettered', B: 'b dead-lettered', C: 'c dead-lettered', p: 'p retried' }

describe('deadLetter', () => {
  it('completes a record only when the broker has acknowledged its copy', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const client = new StubClient({ publish: () => cold('---m|', { m: place }) })
      const input = hot('   -a--b-----|', failures)
      const expected = '    ----A--B--|'
      expectObservable(input.pipe(deadLetter(client), map(inWords))).toBe(expected, words)
    })
  })

  it('waits for acknowledgements in flight when the source completes', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const client = new StubClient({ publish: () => cold('---m|', { m: place }) })
      const input = hot('   ab|', failures)
      const expected = '    ---A(B|)'
      expectObservable(input.pipe(deadLetter(client), map(inWords))).toBe(expected, words)
    })
  })

  it('publishes nothing for a source that never fails a record', () => {
    testScheduler().run(({ cold, expectObservable }) => {
      const client = new StubClient()
      expectObservable(cold<Failed>('-').pipe(deadLetter(client))).toBe('-')
      expectObservable(cold<Failed>('|').pipe(deadLetter(client))).toBe('|')
      expect(client.copies).toEqual([])
    })
  })

  it('passes an error of the source on at once', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const client = new StubClient({ publish: () => cold('---m|', { m: place }) })
      const input = hot('   -a-#', failures)
      const expected = '    ---#'
      expectObservable(input.pipe(deadLetter(client), map(inWords))).toBe(expected, words)
    })
  })

  it('cancels publications in flight when it is unsubscribed', () => {
    testScheduler().run(({ hot, cold, expectObservable, flush }) => {
      const client = new StubClient({ publish: () => cold('-----m|', { m: place }) })
      const input = hot('   -a--------', failures)
      const unsubscribed = '---!'
      expectObservable(input.pipe(deadLetter(client), map(inWords)), unsubscribed).toBe('----', words)
      flush()
      expect(client.waiting).toMatchObject([{ wanted: false }])
      expect(client.events).toEqual([])
    })
  })

  it('holds a record that the broker refuses for good, and continues with others', () => {
    testScheduler().run(({ hot, cold, expectObservable, flush }) => {
      const client = new StubClient({
        publish: (_, failed) => (nameOf(failed) === 'a' ? cold('--#', {}, refused) : cold('m|', { m: place })),
      })
      const input = hot('   -a--b-|', failures)
      const expected = '    ----B-|'
      expectObservable(input.pipe(deadLetter(client), map(inWords))).toBe(expected, words)
      flush()
      expect(client.unroutable).toEqual([{ name: 'a', cause: refused }])
    })
  })

  it('emits nothing for a record whose assignment ended before its copy was acknowledged', () => {
    testScheduler().run(({ hot, cold, expectObservable, flush }) => {
      const client = new StubClient({ publish: () => cold('--|') })
      const input = hot('   -a---|', failures)
      const expected = '    -----|'
      expectObservable(input.pipe(deadLetter(client), map(inWords))).toBe(expected, words)
      flush()
      expect(client.unroutable).toEqual([])
      expect(client.events).toEqual([])
    })
  })

  it('lets a completed record pass', () => {
    testScheduler().run(({ hot, expectObservable }) => {
      const client = new StubClient()
      const input = hot('   -p-|', { p: completed(failure('p'), 'retried') })
      const expected = '    -p-|'
      expectObservable(input.pipe(deadLetter(client), map(inWords))).toBe(expected, words)
      expect(client.copies).toEqual([])
    })
  })

  it('accepts records that the retry topic refused', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const client = new StubClient({
        publish: copy => (copy.topic === 'billing-retry-dev' ? cold('-#', {}, refused) : cold('-m|', { m: place })),
      })
      const input = hot('   -a---|', failures)
      const expected = '    ---A-|'
      const route = pipe(retryTopic(client, { retries: 3 }), deadLetter(client))
      expectObservable(input.pipe(route, map(inWords))).toBe(expected, words)
    })
  })

  it('routes a record that fails while another is being completed', () => {
    const client = new StubClient()
    const input = new Subject<Failed>()
    const emitted: string[] = []
    client.onEvent = () => {
      if (client.events.length === 1) input.next(failures.b)
    }
    input.pipe(deadLetter(client)).subscribe(value => emitted.push(inWords(value)))
    input.next(failures.a)
    expect(emitted.sort()).toEqual(['a dead-lettered', 'b dead-lettered'])
  })

  it('keeps the count of retries, so that a replay does not start at 0', () => {
    const client = new StubClient()
    of(failure('a', { retries: 2 }))
      .pipe(deadLetter(client))
      .subscribe()
    expect(client.header(0, 'retries')).toBe('2')
    expect(client.header(0, 'org_topic')).toBe('orders-dev')
    expect(client.header(0, 'not_before')).toBeUndefined()
  })

  it('writes the reason for the dead letter', () => {
    const client = new StubClient()
    of(
      failure('a', { retries: 2 }),
      failure('b', { retryable: false }),
      failure('c', { retryable: false, reason: new DecodeError('not JSON') }),
      failure('d', { retryable: false, reason: new RecordWithoutConsumerError('orders', 'not registered') }),
    )
      .pipe(deadLetter(client))
      .subscribe()
    const said = client.copies.map((_, at) => `${client.header(at, 'disposition')} ${client.header(at, 'stage')}`)
    expect(said).toEqual(['exhausted handle', 'not-retryable handle', 'undecodable decode', 'no-consumer route'])
    expect(client.header(0, 'error_stack')).toContain('Error: a failed\n    at ')
  })

  it('dead-letters a record with malformed headers once: the copy is well-formed, its retries 0', () => {
    const client = new StubClient()
    const headers: HeaderPair[] = [
      ['mika_err_billing_org_topic', Buffer.from('orders-dev')],
      ['mika_err_billing_org_offset', Buffer.from('-5')],
      ['mika_err_billing_org_partition', Buffer.from('4')],
      ['mika_err_billing_retries', Buffer.from('NaN')],
      ['mika_err_billing_not_before', Buffer.from('9'.repeat(10_000))],
      ['trace', Buffer.from('t')],
    ]
    const record = fakeRecord({ owner: new FakeOwner('billing-retry'), headers })
    of(new Failed(record, new Error('malformed'), 1, false))
      .pipe(deadLetter(client))
      .subscribe()
    expect(client.header(0, 'disposition')).toBe('malformed')
    expect(client.header(0, 'stage')).toBe('route')
    expect(client.header(0, 'retries')).toBe('0')
    expect(client.header(0, 'org_topic')).toBe('orders-dev')
    expect(client.header(0, 'org_partition')).toBe('4')
    expect(client.header(0, 'org_offset')).toBeUndefined()
    expect(client.header(0, 'not_before')).toBeUndefined()
    expect((client.copies[0]!.headers as HeaderPair[])[0]).toEqual(['trace', Buffer.from('t')])
  })

  it('keeps the history of a copy whose topic has no consumer', () => {
    const client = new StubClient()
    const headers: HeaderPair[] = [
      ['mika_err_billing_org_topic', Buffer.from('gone-dev')],
      ['mika_err_billing_retries', Buffer.from('3')],
      ['mika_err_billing_first_failed_at', Buffer.from('0017')],
    ]
    const record = fakeRecord({ owner: new FakeOwner('billing-retry'), headers })
    of(new Failed(record, new RecordWithoutConsumerError('gone', 'not registered'), 1, false))
      .pipe(deadLetter(client))
      .subscribe()
    expect(client.header(0, 'org_topic')).toBe('gone-dev')
    expect(client.header(0, 'retries')).toBe('3')
    expect(client.header(0, 'first_failed_at')).toBe('0017')
    expect(client.header(0, 'failed_at')).toBe('5000')
  })

  it('emits an event for an acknowledged dead letter, with the place where the failed record was read', () => {
    const client = new StubClient()
    of(failures.a).pipe(deadLetter(client)).subscribe()
    const reason = failures.a.reason
    expect(client.events).toEqual([
      {
        type: 'dead-lettered',
        topic: 'orders',
        partition: 0,
        offset: 0n,
        key: failures.a.record.key,
        attempt: 1,
        reason,
      },
    ])
  })

  it('publishes to another topic when one is named', () => {
    const client = new StubClient({ dlqTopic: undefined })
    of(failures.a)
      .pipe(deadLetter(client, { topic: 'morgue' }))
      .subscribe()
    expect(client.copies[0]!.topic).toBe('morgue-dev')
  })

  it('refuses a client that has no DLQ topic or no group when it is made', () => {
    expect(() => deadLetter(new StubClient({ dlqTopic: undefined }))).toThrow(ConfigurationError)
    expect(() => deadLetter(new StubClient({ group: undefined }))).toThrow(ConfigurationError)
    expect(() => deadLetter(new StubClient(), { topic: '' })).toThrow(ConfigurationError)
  })
})
