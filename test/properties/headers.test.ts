import fc from 'fast-check'
import { of } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { Failed } from '../../src/failure.js'
import { readPartitionRecords } from '../../src/protocol/records/partition-records.js'
import { encodeRecordBatch } from '../../src/protocol/records/record-batch-encoder.js'
import type { HeaderPair } from '../../src/record-batch.js'
import { longestDelay } from '../../src/retry/backoff.js'
import { deadLetter } from '../../src/retry/dead-letter.js'
import { dueIn, GroupHeaders, type OwnHeaders } from '../../src/retry/headers.js'
import { retryTopic } from '../../src/retry/retry-topic.js'
import { FakeOwner, fakeRecord } from '../marbles/fake-record.js'
import { StubClient } from '../marbles/stub-routing.js'

const billing = new GroupHeaders('billing')
const readAt = { kind: 'retry' as const, partition: 3, offset: 17, timestamp: 900 }

const ownFields = [
  ...['org_topic', 'retries', 'msg', 'org_partition', 'org_offset', 'org_timestamp', 'first_failed_at', 'failed_at'],
  ...['not_before', 'error_name', 'error_stack', 'stage', 'disposition'],
]
const ownName = fc.constantFrom(...ownFields).map(field => `mika_err_billing_${field}`)
const hardName = fc.constantFrom(
  ...['constructor', '__proto__', 'toString', '', 'trace', 'mika_err_billing_', 'mika_err_billing_x'],
  ...['mika_err_shipping_org_topic', 'mika_err_billing_eu_retries', 'mika_err_billing_eu_org_topic'],
)
const foreignName = fc.oneof(hardName, fc.string({ unit: 'grapheme' })).filter(name => !billing.isOwn(name))
const bytes = fc.option(fc.uint8Array({ maxLength: 40 }).map(array => Buffer.from(array)))
const foreignPair: fc.Arbitrary<HeaderPair> = fc.tuple(foreignName, bytes)

const hostileText = fc.oneof(
  fc.constantFrom('', '0', '-0', '-1', '+1', '1e9', '0x10', ' 1', '1\n', 'NaN', 'Infinity', '2147483647', '2147483648'),
  fc.constantFrom('9'.repeat(10_240), '9007199254740992', '00000000000000000', '٣', '..', 'a b', 'x'.repeat(250)),
  fc.integer().map(String),
  fc.string({ unit: 'binary' }),
)
const hostileValue = fc.oneof(
  bytes,
  hostileText.map(text => Buffer.from(text)),
)
const hostilePair: fc.Arbitrary<HeaderPair> = fc.tuple(ownName, hostileValue)
const anyPairs = fc.array(fc.oneof(foreignPair, hostilePair), { maxLength: 20 })
const anyReason = fc.oneof(
  fc.anything(),
  fc.string({ unit: 'binary' }).map(message => new Error(message)),
  fc.constantFrom(new Error('\ud800 alone'), new Error('x'.repeat(100_000)), new Error('€'.repeat(5_000))),
)

const mostRetries = 2 ** 31 - 1

/** The copies that a record with these headers, read from this topic, gets on the retry and on the DLQ topic. */
function copiesOf(headers: readonly HeaderPair[], topic: string, reason: unknown, timestamp = 900) {
  const client = new StubClient()
  const read = topic === 'orders' ? undefined : billing.read(headers, readAt)
  const origin = read?.kind === 'own' ? read.origin : undefined
  const record = fakeRecord({ owner: new FakeOwner(topic, 3), offset: 17, timestamp, headers, origin })
  const failed = new Failed(record, reason, record.attempt, true)
  of(failed)
    .pipe(retryTopic(client, { retries: mostRetries, backoff: () => 50 }))
    .subscribe()
  of(failed).pipe(deadLetter(client)).subscribe()
  const pairs = client.copies.map(copy => copy.headers as HeaderPair[])
  const dlq = pairs.pop()!
  return { all: [...pairs, dlq], retry: pairs[0], dlq }
}

/** Timestamps that a broker may accept. */
const timestamps = fc.constantFrom(900, -1, 0, 1_700_000_000_000, -2, 2 ** 63, 9_007_199_254_740_992)
const topics = fc.constantFrom('orders', 'billing-retry', 'billing-dlq')

describe('headers of a copy', () => {
  it('are equal whether they are read as pairs or from their batch', () => {
    fc.assert(
      fc.property(fc.array(anyPairs, { minLength: 1, maxLength: 3 }), records => {
        const bytes = encodeRecordBatch(
          records.map(headers => ({ key: null, value: null, timestamp: 900, headers })),
          { producerId: -1n, epoch: -1, first: -1 },
        )
        const [batch] = readPartitionRecords(bytes, 0, bytes.length, 0, [], {}).batches
        records.forEach((headers, index) => {
          // The caches of one reading, such as the last topic, must not affect the next.
          expect(billing.readOf(batch!, index, readAt)).toEqual(billing.read(headers, readAt))
        })
      }),
    )
  })

  it('hold any foreign headers byte for byte, in their order', () => {
    fc.assert(
      fc.property(anyPairs, topics, anyReason, (headers, topic, reason) => {
        const foreign = headers.filter(([name]) => !billing.isOwn(name))
        for (const copy of copiesOf(headers, topic, reason).all) {
          expect(copy.slice(0, foreign.length)).toEqual(foreign)
          expect(copy.slice(foreign.length).every(([name]) => billing.isOwn(name))).toBe(true)
        }
      }),
    )
  })

  it("contain each of this library's headers at most once, bounded, in valid UTF-8", () => {
    fc.assert(
      fc.property(anyPairs, topics, anyReason, (headers, topic, reason) => {
        for (const copy of copiesOf(headers, topic, reason).all) {
          const own = copy.filter(([name]) => billing.isOwn(name))
          expect(new Set(own.map(([name]) => name)).size).toBe(own.length)
          for (const [, value] of own) {
            expect(value!.length).toBeLessThanOrEqual(4096)
            expect(Buffer.from(value!.toString())).toEqual(value)
          }
        }
      }),
    )
  })

  it('can be read again, whatever the headers were before', () => {
    fc.assert(
      fc.property(anyPairs, topics, anyReason, timestamps, (headers, topic, reason, timestamp) => {
        const copies = copiesOf(headers, topic, reason, timestamp)
        const read = billing.read(headers, readAt)
        const fresh = topic === 'orders' || read.kind !== 'own'
        const retries = fresh ? 0 : read.origin.retries
        const dlq = own(billing.read(copies.dlq, readAt))
        expect(dlq.origin.retries).toBe(retries)
        if (!fresh) expect(dlq.origin).toEqual(read.origin)
        if (retries === mostRetries) return
        const retry = own(billing.read(copies.retry!, readAt))
        expect(retry.origin).toEqual({ ...dlq.origin, retries: retries + 1 })
        expect(dueIn(retry, 5_000)).toBe(50)
      }),
    )
  })

  it('keep where a record was first published through any number of copies', () => {
    fc.assert(
      fc.property(fc.array(foreignPair), fc.array(fc.boolean(), { maxLength: 5 }), (headers, path) => {
        let pairs = copiesOf(headers, 'orders', 'first').dlq
        const lasting = (all: readonly HeaderPair[]) =>
          all.filter(([name]) =>
            /_billing_(org_topic|org_partition|org_offset|org_timestamp|first_failed_at)$/.test(name),
          )
        const first = lasting(pairs)
        expect(first).toHaveLength(5)
        for (const dead of path) {
          const copies = copiesOf(pairs, dead ? 'billing-dlq' : 'billing-retry', 'next')
          pairs = dead ? copies.retry! : copies.dlq
        }
        expect(lasting(pairs)).toEqual(first)
      }),
    )
  })
})

describe('headers of a record from outside', () => {
  it('are read without throwing, and accepted only within their ranges', () => {
    fc.assert(
      fc.property(anyPairs, pairs => {
        const read = billing.read(pairs, readAt)
        const marked = pairs.some(([name]) => name === 'mika_err_billing_org_topic')
        expect(read.kind === 'foreign').toBe(!marked)
        if (read.kind !== 'own') return
        const { topic, partition, offset, retries } = read.origin
        expect(topic).toMatch(/^[\w.-]{1,249}$/)
        for (const number of [partition, offset, retries]) {
          expect(Number.isSafeInteger(number) && number >= 0).toBe(true)
        }
        expect(retries).toBeLessThan(2 ** 31)
        const wait = dueIn(read, 1_000)
        expect(wait >= 0 && wait <= longestDelay).toBe(true)
      }),
      { numRuns: 500 },
    )
  })

  it('belong to the group by their exact names', () => {
    fc.assert(
      fc.property(fc.array(foreignPair), pairs => {
        expect(billing.read(pairs, readAt)).toEqual({ kind: 'foreign' })
      }),
    )
  })

  const marked = (...pairs: [field: string, value: string | null][]): HeaderPair[] =>
    [['org_topic', 'orders'] as const, ...pairs].map(([field, value]) => [
      `mika_err_billing_${field}`,
      value === null ? null : Buffer.from(value),
    ])

  it('may be only those that MiKa in Go writes: topic, retries and message', () => {
    expect(billing.read(marked(['retries', '2'], ['msg', 'no']), readAt)).toEqual({
      kind: 'own',
      origin: { kind: 'retry', topic: 'orders', partition: 3, offset: 17, timestamp: 900, retries: 2 },
      notBefore: undefined,
      failedAt: undefined,
    })
  })

  it('use the last value if a name occurs several times', () => {
    expect(own(billing.read(marked(['retries', 'NaN'], ['retries', '4']), readAt)).origin.retries).toBe(4)
    expect(billing.read(marked(['retries', '4'], ['retries', 'NaN']), readAt).kind).toBe('malformed')
  })

  it('are malformed if a number is invalid, negative, too large or too long', () => {
    const bad = ['NaN', '', '-1', '+1', '1.5', '1e3', ' 1', '2147483648', '9'.repeat(10_240), '0'.repeat(10_240), null]
    for (const value of bad) {
      for (const field of ['retries', 'org_partition']) {
        const read = billing.read(marked([field, value]), readAt)
        expect(read.kind).toBe('malformed')
        expect((read as { error: Error }).error.message.length).toBeLessThan(400)
      }
    }
    expect(billing.read(marked(['org_offset', '9007199254740992']), readAt).kind).toBe('malformed')
    for (const time of ['-', '--1', '1-', '-1.5', '-9007199254740992', '9007199254740992']) {
      expect(billing.read(marked(['org_timestamp', time]), readAt).kind).toBe('malformed')
    }
    // Any other number may be the timestamp of a record: Kafka's value for none, before 1970, in microseconds.
    for (const time of ['-1', '-2', '-86400000', '1700000000000000', '-9007199254740991', '9007199254740991']) {
      expect(billing.read(marked(['org_timestamp', time]), readAt)).toMatchObject({
        origin: { timestamp: Number(time) },
      })
    }
    expect(billing.read(marked(['retries', '2147483647']), readAt).kind).toBe('own')
  })

  it('are malformed if the topic is not a valid name', () => {
    for (const value of ['', '.', '..', 'a/b', 'ä', 'x'.repeat(250), null]) {
      expect(billing.read(marked(['org_topic', value]), readAt).kind).toBe('malformed')
    }
  })

  it('delay a record no longer than its own delay, whatever the clocks say', () => {
    const read = own(billing.read(marked(['failed_at', '10000'], ['not_before', '10500']), readAt))
    expect(dueIn(read, 10_000)).toBe(500)
    expect(dueIn(read, 10_499)).toBe(1)
    expect(dueIn(read, 10_500)).toBe(0)
    expect(dueIn(read, 99_999)).toBe(0)
    expect(dueIn(read, 0)).toBe(500)
    const long = marked(['failed_at', '0'], ['not_before', String(longestDelay + 1)])
    expect(billing.read(long, readAt).kind).toBe('malformed')
    expect(dueIn(own(billing.read(marked(['not_before', '8640000000000000']), readAt)), 0)).toBe(longestDelay)
  })
})

function own(read: OwnHeaders) {
  if (read.kind !== 'own') throw new Error(`read as ${read.kind}`)
  return read
}
