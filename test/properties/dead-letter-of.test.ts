import fc from 'fast-check'
import { of } from 'rxjs'
import { deadLetterOf } from 'rxmika'
import { describe, expect, it } from 'vitest'
import { ConfigurationError, DecodeError } from '../../src/errors.js'
import { Failed } from '../../src/failure.js'
import { fork } from '../../src/operators/fork/fork.js'
import type { HeaderPair } from '../../src/record-batch.js'
import { deadLetter } from '../../src/retry/dead-letter.js'
import { FakeOwner, fakeRecord } from '../marbles/fake-record.js'
import { StubClient } from '../marbles/stub-routing.js'

const int32 = (number: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(number)
  return bytes
}
const int64 = (number: bigint) => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(number)
  return bytes
}
const texts = (prefix: string, fields: Readonly<Record<string, string>>): HeaderPair[] =>
  Object.entries(fields).map(([field, value]) => [`${prefix}${field}`, Buffer.from(value)])

/** The types in which clients return the same headers. */
const shapes: Readonly<Record<string, (pairs: readonly HeaderPair[]) => object>> = {
  'a list of pairs': pairs => ({ headers: pairs }),
  'kafkajs, bytes': pairs => ({ headers: Object.fromEntries(pairs) }),
  'kafkajs, every name several times': pairs => ({
    headers: Object.fromEntries(pairs.map(([name, value]) => [name, [Buffer.from('old'), value]])),
  }),
  'texts, where they are texts': pairs => ({
    headers: Object.fromEntries(
      pairs.map(([name, value]) => [name, value?.every(byte => byte < 128 && byte > 31) ? value.toString() : value]),
    ),
  }),
  'a Map': pairs => ({ headers: new Map(pairs) }),
  'a ConsumeRecord': pairs => fakeRecord({ headers: pairs }),
  'a mapped one': pairs => fakeRecord({ headers: pairs }).map(() => 1),
  'one in a branch': pairs => {
    let part: object = {}
    of(fakeRecord({ headers: pairs }))
      .pipe(fork(source => source))
      .subscribe(one => {
        part = one
      })
    return part
  },
}

describe.each(Object.entries(shapes))('deadLetterOf, of %s', (_, shape) => {
  it("reads this library's headers", () => {
    const pairs = texts('mika_err_billing_', {
      ...{ org_topic: 'orders-dev', retries: '3', msg: 'no stock', org_partition: '7', org_offset: '9007199254740991' },
      ...{ org_timestamp: '-1', first_failed_at: '1000', failed_at: '2000', error_name: 'OutOfStock' },
      ...{ error_stack: 'OutOfStock: no stock', stage: 'handle', disposition: 'exhausted' },
    })
    expect(deadLetterOf(shape(pairs))).toEqual({
      ...{ group: 'billing', topic: 'orders-dev', partition: 7, offset: 9007199254740991n, timestamp: -1 },
      ...{ retries: 3, reason: 'no stock', errorName: 'OutOfStock', stack: 'OutOfStock: no stock', stage: 'handle' },
      ...{ disposition: 'exhausted', firstFailedAt: 1000, failedAt: 2000 },
    })
  })

  it('reads the three headers of MiKa in Go, of a group with a name like a header', () => {
    const pairs = texts('mika_err_a_org_topic_b_', { org_topic: 'orders', retries: '2', msg: 'boom' })
    expect(deadLetterOf(shape(pairs))).toEqual({ group: 'a_org_topic_b', topic: 'orders', retries: 2, reason: 'boom' })
  })

  it("reads Spring's headers with their binary numbers, with either prefix", () => {
    const named = (prefix: string): HeaderPair[] => [
      ...texts(prefix, {
        'original-topic': 'orders',
        'exception-fqcn': 'org.x.ListenerFailed',
        'exception-message': 'boom',
      }),
      ...texts(prefix, { 'exception-cause-fqcn': 'java.lang.IllegalState', 'exception-stacktrace': 'at A.b' }),
      [`${prefix}original-partition`, int32(5)],
      [`${prefix}original-offset`, int64(2n ** 40n)],
      [`${prefix}original-timestamp`, int64(1_700_000_000_000n)],
    ]
    const letter = {
      ...{ topic: 'orders', partition: 5, offset: 2n ** 40n, timestamp: 1_700_000_000_000, reason: 'boom' },
      ...{ errorName: 'java.lang.IllegalState', stack: 'at A.b' },
    }
    const group = texts('kafka_dlt-', { 'original-consumer-group': 'billing' })
    expect(deadLetterOf(shape([...named('kafka_dlt-'), ...group]))).toEqual({ ...letter, group: 'billing', retries: 0 })
    const attempts: HeaderPair = ['retry_topic-attempts', int32(4)]
    expect(deadLetterOf(shape([...named('kafka_'), attempts]))).toEqual({ ...letter, group: undefined, retries: 3 })
  })

  it("reads a broker's headers", () => {
    const pairs = texts('__dlq.errors.', {
      ...{ topic: 'orders', partition: '2', offset: '41', group: 'share', 'delivery.count': '5' },
      message: 'Offset delivery count exceeded the threshold.',
    })
    expect(deadLetterOf(shape(pairs))).toEqual({
      ...{ group: 'share', topic: 'orders', partition: 2, offset: 41n, retries: 4 },
      reason: 'Offset delivery count exceeded the threshold.',
    })
  })
})

describe('deadLetterOf', () => {
  it('returns the newest failure of several groups, or that of the given group', () => {
    const headers = [
      ...texts('mika_err_billing_', { org_topic: 'orders', retries: '1', msg: 'first', failed_at: '1000' }),
      ...texts('mika_err_shipping_', { org_topic: 'orders', retries: '2', msg: 'last', failed_at: '2000' }),
      ...texts('mika_err_go_', { org_topic: 'orders', retries: '0', msg: 'some time' }),
    ]
    expect(deadLetterOf({ headers })).toMatchObject({ group: 'shipping', reason: 'last' })
    expect(deadLetterOf({ headers }, { group: 'go' })).toMatchObject({ group: 'go', reason: 'some time' })
    expect(deadLetterOf({ headers }, { group: 'refunds' })).toBeUndefined()
  })

  it('returns undefined for other records', () => {
    const none: unknown[] = [{}, { headers: null }, { headers: {} }, { headers: { trace: 'x' } }, null, undefined, 'x']
    for (const record of none) expect(deadLetterOf(record as object)).toBeUndefined()
    const unnamed = texts('mika_err_', { org_topic: 'orders', _org_topic: 'orders' })
    expect(deadLetterOf({ headers: unnamed })).toBeUndefined()
  })

  it('refuses unknown options', () => {
    expect(() => deadLetterOf({}, { groups: 'billing' } as object)).toThrow(ConfigurationError)
    expect(() => deadLetterOf({}, { group: '' })).toThrow('deadLetterOf: group must be a non-empty string')
  })

  it('returns for every copy on a DLQ topic the fields that were written', () => {
    const failure = fc.record({
      offset: fc.nat(),
      partition: fc.nat(),
      reason: fc.oneof(
        fc.string({ unit: 'grapheme', maxLength: 80 }).map(message => new Error(message)),
        fc.constantFrom(new DecodeError('bad'), new TypeError('worse')),
      ),
      retryable: fc.boolean(),
    })
    fc.assert(
      fc.property(failure, ({ offset, partition, reason, retryable }) => {
        const client = new StubClient()
        const record = fakeRecord({ owner: new FakeOwner('orders', partition), offset, timestamp: 900 })
        of(new Failed(record, reason, 1, retryable))
          .pipe(deadLetter(client))
          .subscribe()
        expect(deadLetterOf(client.copies[0]! as object)).toMatchObject({
          ...{ group: 'billing', topic: 'orders-dev', partition, offset: BigInt(offset), timestamp: 900, retries: 0 },
          ...{ reason: reason.message || reason.name, errorName: reason.name, failedAt: 5_000, firstFailedAt: 5_000 },
          stage: reason instanceof DecodeError ? 'decode' : 'handle',
        })
      }),
    )
  })

  it('never throws, whatever the headers contain, and returns fields of the right type or none', () => {
    const fields = ['org_topic', 'retries', 'org_partition', 'org_offset', 'org_timestamp', 'failed_at', 'msg', 'stage']
    const springs = ['topic', 'partition', 'offset', 'timestamp', 'consumer-group'].map(name => `original-${name}`)
    const brokers = ['topic', 'partition', 'offset', 'group', 'delivery.count', 'message']
    const name = fc.oneof(
      fc.constantFrom(...fields.map(field => `mika_err_g_${field}`), 'mika_err__org_topic', 'mika_err_org_topic'),
      fc.constantFrom(...springs.flatMap(field => [`kafka_dlt-${field}`, `kafka_${field}`]), 'retry_topic-attempts'),
      fc.constantFrom(...brokers.map(field => `__dlq.errors.${field}`)),
      fc.constantFrom('__proto__', 'constructor'),
    )
    const value = fc.oneof(
      fc.uint8Array({ maxLength: 10 }),
      fc.constantFrom('orders', '0', '-1', '-2', '1e3', '9'.repeat(30), ' 1', '0x1', '9223372036854775807'),
      fc.anything(),
    )
    const headers = fc.oneof(
      fc.array(fc.oneof(fc.tuple(name, value), fc.anything()), { maxLength: 12 }),
      fc.dictionary(name, fc.oneof(value, fc.array(value)), { maxKeys: 12 }),
      fc.anything(),
    )
    const isCount = (number: unknown) => number === undefined || (Number.isSafeInteger(number) && Number(number) >= 0)
    fc.assert(
      fc.property(headers, given => {
        const letter = deadLetterOf({ headers: given as never })
        if (letter === undefined) return
        const { topic, group, partition, offset, timestamp, retries, reason, failedAt } = letter
        expect(topic).toMatch(/^[\w.-]+$/)
        expect([typeof reason, group === undefined ? 'string' : typeof group]).toEqual(['string', 'string'])
        expect([partition, retries, failedAt].every(isCount)).toBe(true)
        expect(offset === undefined || (typeof offset === 'bigint' && offset >= 0n)).toBe(true)
        expect(timestamp === undefined || (Number.isSafeInteger(timestamp) && timestamp >= -1)).toBe(true)
      }),
      { numRuns: 2_000 },
    )
  })
})
