import { map, of, Subject } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { ConfigurationError } from '../../src/errors.js'
import { completed, type Failed } from '../../src/failure.js'
import type { HeaderPair } from '../../src/record-batch.js'
import { type Backoff, fixed, steps } from '../../src/retry/backoff.js'
import { retryTopic } from '../../src/retry/retry-topic.js'
import { failure, inWords, nameOf, place, refused, StubClient, testScheduler } from './stub-routing.js'

const failures = { a: failure('a'), b: failure('b'), c: failure('c') }
const words = { A: 'a retried', B: 'b retried', C: 'c retried', a: 'a failed', b: 'b failed', p: 'p discarded' }

describe('retryTopic', () => {
  it('holds records of a topic with keyFence as unroutable, and explains what to do', () => {
    const client = new StubClient()
    client.fenced.add('a')
    const outcomes: string[] = []
    of(failure('a'), failure('b'))
      .pipe(retryTopic(client, { retries: 1 }), map(inWords))
      .subscribe(outcome => outcomes.push(outcome))
    expect(outcomes).toEqual(['b retried'])
    expect(client.unroutable).toMatchObject([
      {
        name: 'a',
        cause: { message: expect.stringContaining("topic 'orders': retryTopic cannot be used with keyFence") },
      },
    ])
  })

  it('completes a record only when the broker has acknowledged its copy', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const client = new StubClient({ publish: () => cold('---m|', { m: place }) })
      const input = hot('   -a--b-----|', failures)
      const expected = '    ----A--B--|'
      expectObservable(input.pipe(retryTopic(client, { retries: 1 }), map(inWords))).toBe(expected, words)
    })
  })

  it('does not delay a record until another one is acknowledged', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const acknowledged: Record<string, string> = { a: '-----m|', b: '--m|', c: '--m|' }
      const client = new StubClient({ publish: (_, failed) => cold(acknowledged[nameOf(failed)]!, { m: place }) })
      const input = hot('   abc----|', failures)
      const expected = '    ---BCA-|'
      expectObservable(input.pipe(retryTopic(client, { retries: 1 }), map(inWords))).toBe(expected, words)
    })
  })

  it('waits for acknowledgements in flight when the source completes', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const client = new StubClient({ publish: () => cold('---m|', { m: place }) })
      const input = hot('   a|', failures)
      const expected = '    ---(A|)'
      expectObservable(input.pipe(retryTopic(client, { retries: 1 }), map(inWords))).toBe(expected, words)
    })
  })

  it('publishes nothing for a source that never fails a record', () => {
    testScheduler().run(({ cold, expectObservable }) => {
      const client = new StubClient()
      expectObservable(cold<Failed>('-').pipe(retryTopic(client, { retries: 1 }))).toBe('-')
      expectObservable(cold<Failed>('|').pipe(retryTopic(client, { retries: 1 }))).toBe('|')
      expect(client.copies).toEqual([])
    })
  })

  it('passes an error of the source on at once', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const client = new StubClient({ publish: () => cold('---m|', { m: place }) })
      const input = hot('   -a-#', failures)
      const expected = '    ---#'
      expectObservable(input.pipe(retryTopic(client, { retries: 1 }), map(inWords))).toBe(expected, words)
    })
  })

  it('cancels publications in flight when it is unsubscribed', () => {
    testScheduler().run(({ hot, cold, expectObservable, flush }) => {
      const client = new StubClient({ publish: () => cold('-----m|', { m: place }) })
      const input = hot('   -a--------', failures)
      const unsubscribed = '---!'
      expectObservable(input.pipe(retryTopic(client, { retries: 1 }), map(inWords)), unsubscribed).toBe('----', words)
      flush()
      expect(client.waiting).toMatchObject([{ wanted: false }])
      expect(client.events).toEqual([])
    })
  })

  it('lets a record pass on, still failed, when its attempts are used up', () => {
    testScheduler().run(({ hot, expectObservable }) => {
      const client = new StubClient()
      const input = hot('   -a-b-|', { a: failure('a', { retries: 2 }), b: failure('b', { retries: 1 }) })
      const expected = '    -a-B-|'
      expectObservable(input.pipe(retryTopic(client, { retries: 2 }), map(inWords))).toBe(expected, words)
    })
  })

  it('lets a record pass on, still failed, if it must not be retried', () => {
    testScheduler().run(({ hot, expectObservable }) => {
      const client = new StubClient()
      const input = hot('   -a-|', { a: failure('a', { retryable: false }) })
      const expected = '    -a-|'
      expectObservable(input.pipe(retryTopic(client, { retries: 9 }), map(inWords))).toBe(expected, words)
    })
  })

  it('lets a record pass on, still failed, if the broker refuses its copy for good, and continues', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const client = new StubClient({
        publish: (_, failed) => (nameOf(failed) === 'a' ? cold('--#', {}, refused) : cold('m|', { m: place })),
      })
      const input = hot('   -a--b-|', failures)
      const expected = '    ---aB-|'
      expectObservable(input.pipe(retryTopic(client, { retries: 1 }), map(inWords))).toBe(expected, words)
    })
  })

  it('emits nothing for a record whose assignment ended before its copy was acknowledged', () => {
    testScheduler().run(({ hot, cold, expectObservable }) => {
      const client = new StubClient({ publish: () => cold('--|') })
      const input = hot('   -a---|', failures)
      const expected = '    -----|'
      expectObservable(input.pipe(retryTopic(client, { retries: 1 }), map(inWords))).toBe(expected, words)
    })
  })

  it('lets a completed record pass', () => {
    testScheduler().run(({ hot, expectObservable }) => {
      const client = new StubClient()
      const input = hot('   -p-|', { p: completed(failure('p'), 'discarded') })
      const expected = '    -p-|'
      expectObservable(input.pipe(retryTopic(client, { retries: 1 }), map(inWords))).toBe(expected, words)
      expect(client.copies).toEqual([])
    })
  })

  it('retries a record without delay if its backoff throws or returns an invalid value', () => {
    const broken: Backoff[] = [
      attempt => {
        if (attempt > 2) throw new Error('no more')
        return 10
      },
      attempt => (attempt > 2 ? Number.NaN : 10),
      attempt => (attempt > 2 ? -1 : 10),
      attempt => (attempt > 2 ? ('10' as unknown as number) : 10),
    ]
    for (const backoff of broken) {
      const client = new StubClient()
      const emitted: string[] = []
      of(failure('a', { retries: 1 }))
        .pipe(retryTopic(client, { retries: 5, backoff }))
        .subscribe(value => emitted.push(inWords(value)))
      expect(emitted).toEqual(['a retried'])
      expect(client.header(0, 'not_before')).toBeUndefined()
    }
  })

  it('routes a record that fails while another is being completed', () => {
    const client = new StubClient()
    const input = new Subject<Failed>()
    const emitted: string[] = []
    input.pipe(retryTopic(client, { retries: 1 })).subscribe(value => {
      emitted.push(inWords(value))
      if (emitted.length === 1) input.next(failures.b)
    })
    input.next(failures.a)
    expect(emitted).toEqual(['a retried', 'b retried'])
  })

  it('writes the count of retries and the due time', () => {
    const client = new StubClient()
    of(failure('a'), failure('b', { retries: 1, redeliveries: 4 }))
      .pipe(retryTopic(client, { retries: 2, backoff: steps([100, 2_000]) }))
      .subscribe()
    expect(client.header(0, 'retries')).toBe('1')
    expect(client.header(0, 'failed_at')).toBe('5000')
    expect(client.header(0, 'not_before')).toBe('5100')
    expect(client.header(1, 'retries')).toBe('2')
    expect(client.header(1, 'not_before')).toBe('7000')
  })

  it('keeps key, value, timestamp and foreign headers', () => {
    const client = new StubClient()
    const headers: HeaderPair[] = [
      ['trace', Buffer.from([0xff, 0])],
      ['__proto__', null],
      ['mika_err_shipping_org_topic', Buffer.from('parcels')],
      ['trace', Buffer.alloc(0)],
      ['mika_err_billing_eu_retries', Buffer.from('7')],
    ]
    of(failure('a', { headers }))
      .pipe(retryTopic(client, { retries: 1 }))
      .subscribe()
    const [copy] = client.copies
    expect(copy).toMatchObject({ topic: 'billing-retry-dev', timestamp: 1_000 })
    expect(copy!.partition).toBeUndefined()
    expect(String(copy!.key)).toBe('a')
    expect(String(copy!.value)).toBe('value of a')
    expect((copy!.headers as HeaderPair[]).slice(0, 5)).toEqual(headers)
  })

  it('writes where the record was first published, and keeps what an earlier copy has', () => {
    const client = new StubClient()
    of(failure('a'), failure('b', { retries: 1 }))
      .pipe(retryTopic(client, { retries: 2 }))
      .subscribe()
    expect(client.header(0, 'org_topic')).toBe('orders-dev')
    expect(client.header(0, 'org_partition')).toBe('0')
    expect(client.header(0, 'org_offset')).toBe('0')
    expect(client.header(0, 'org_timestamp')).toBe('1000')
    expect(client.header(0, 'first_failed_at')).toBe('5000')
    // MiKa in Go writes only the topic. The place of the retry is not the place where the record was published.
    expect(client.header(1, 'org_topic')).toBe('orders-dev')
    expect(client.header(1, 'org_partition')).toBeUndefined()
  })

  it('delivers a retry to the topic of its record, whatever headers it was published with', () => {
    const client = new StubClient()
    const headers: HeaderPair[] = [
      ['mika_err_billing_org_topic', Buffer.from('refunds-dev')],
      ['mika_err_billing_retries', Buffer.from('99')],
    ]
    of(failure('a', { headers }))
      .pipe(retryTopic(client, { retries: 1 }))
      .subscribe()
    expect(client.header(0, 'org_topic')).toBe('orders-dev')
    expect(client.header(0, 'retries')).toBe('1')
  })

  it('describes the failure, whatever the reason is', () => {
    const circular: { self?: unknown } = {}
    circular.self = circular
    const hostile = {
      get message() {
        throw new Error('no')
      },
    }
    const reasons = [
      new RangeError('too far'),
      'text',
      undefined,
      null,
      circular,
      Object.create(null),
      hostile,
      Symbol(),
    ]
    const client = new StubClient()
    for (const reason of reasons) {
      of(failure('a', { reason }))
        .pipe(retryTopic(client, { retries: 1 }))
        .subscribe()
    }
    expect(client.copies).toHaveLength(reasons.length)
    expect(client.header(0, 'msg')).toBe('too far')
    expect(client.header(0, 'error_name')).toBe('RangeError')
    expect(client.header(0, 'error_stack')).toBeUndefined()
    expect(client.header(0, 'stage')).toBe('handle')
    expect(client.header(0, 'disposition')).toBeUndefined()
    expect(client.header(1, 'msg')).toBe('text')
    expect(client.header(2, 'msg')).toBe('no reason given')
  })

  it('emits an event for an acknowledged retry, with the place where the record was read and the place first published', () => {
    const client = new StubClient()
    const failed = failure('b', { retries: 1 })
    of(failed)
      .pipe(retryTopic(client, { retries: 2 }))
      .subscribe()
    const { topic, partition, offset, key } = failed.record
    expect(client.events).toEqual([
      {
        ...{ type: 'retried', topic: 'billing-retry', partition: 0, offset: 0n, key, attempt: 2 },
        ...{ reason: failed.reason, origin: { topic, partition, offset } },
      },
    ])
  })

  it('publishes to another topic when one is named', () => {
    const client = new StubClient({ retryTopic: undefined })
    of(failures.a)
      .pipe(retryTopic(client, { retries: 1, topic: 'later' }))
      .subscribe()
    expect(client.copies[0]!.topic).toBe('later-dev')
  })

  it('refuses invalid options when it is created', () => {
    const client = new StubClient()
    expect(() => retryTopic(new StubClient({ retryTopic: undefined }), { retries: 1 })).toThrow(ConfigurationError)
    expect(() => retryTopic(new StubClient({ group: undefined }), { retries: 1 })).toThrow(ConfigurationError)
    for (const retries of [Number.NaN, -1, 1.5, 2 ** 31, Number.POSITIVE_INFINITY]) {
      expect(() => retryTopic(client, { retries })).toThrow(`(got ${retries})`)
    }
    for (const topic of ['', 'a/b', 'a b', 'x'.repeat(250)]) {
      expect(() => retryTopic(client, { retries: 1, topic })).toThrow(ConfigurationError)
    }
    const throws = () => {
      throw new Error('no')
    }
    expect(() => retryTopic(client, { retries: 1, backoff: throws })).toThrow(ConfigurationError)
    expect(() => retryTopic(client, { retries: 1, backoff: () => Number.NaN })).toThrow(ConfigurationError)
    expect(() => retryTopic(client, { retries: 0, backoff: fixed(1) })).not.toThrow()
  })
})
