import fc from 'fast-check'
import type { HeaderPair } from 'rxmika'

/** The parts of a record that a copy must not change. */
export interface AnyRecord {
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly HeaderPair[]
  /** ms since 1970, unless the producer used another unit. */
  readonly timestamp: number
}

/** Mostly not UTF-8. */
const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map(array => Buffer.from(array))

const anyBytes = fc.oneof(
  { weight: 4, arbitrary: bytes(60) },
  { weight: 1, arbitrary: fc.constant(null) },
  { weight: 1, arbitrary: fc.constant(Buffer.alloc(0)) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('text', 'ünï', '{"json":true}', 'x'.repeat(3_000)).map(text => Buffer.from(text)),
  },
  { weight: 1, arbitrary: fc.constantFrom([0xff, 0xfe, 0], [0xc3, 0x28], [0x80]).map(list => Buffer.from(list)) },
)

/** Names that are properties of every object, names like this library's, and any others; few, so that they repeat. */
const names = fc.oneof(
  fc.constantFrom('a', 'b', '', 'constructor', '__proto__', 'toString', 'hasOwnProperty', 'length', '0', '1', 'ünï'),
  fc.constantFrom('mika_err_', 'mika_err_other_org_topic', 'mika_err_other_retries', 'mika_err_other_eu_msg'),
  fc.string({ unit: 'grapheme', maxLength: 12 }),
)

const anyHeaders = fc.array(fc.tuple(names, anyBytes), { maxLength: 8 })

export const anyRecord: fc.Arbitrary<AnyRecord> = fc.record({
  key: anyBytes,
  value: anyBytes,
  headers: anyHeaders,
  timestamp: fc.oneof(
    fc.constantFrom(0, 1, 1_700_000_000_000),
    fc.nat({ max: 2 ** 41 }),
    // No timestamp; before 1970; in microseconds; the largest exact number.
    fc.constantFrom(-1, -2, -86_400_000, 1_700_000_000_000_000, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
    fc.maxSafeInteger(),
  ),
})

/**
 * Records that are identified by their timestamps, because the key may be null and the value empty.
 *
 * @param base The first timestamp. Those of a batch are close together, or the broker begins a new segment for each.
 */
export function anyRecords(count: number, base = 1_700_000_000_000, seed?: number): AnyRecord[] {
  return fc
    .sample(anyRecord, seed === undefined ? count : { numRuns: count, seed })
    .map((record, at) => ({ ...record, timestamp: base + at }))
}

const mostRetries = 2 ** 31 - 1

/** Values for a client's own headers, mostly invalid ones. */
const hostileValue: fc.Arbitrary<Buffer | null> = fc.oneof(
  fc
    .constantFrom('', '-1', '+1', '1e9', '0x10', ' 1', '1\n', 'NaN', 'Infinity', '٣', '1.5', `${mostRetries + 1}`)
    .map(text => Buffer.from(text)),
  fc
    .constantFrom('9'.repeat(10_240), '0'.repeat(10_240), 'x'.repeat(10_240), '-9223372036854775808')
    .map(text => Buffer.from(text)),
  fc.constantFrom('0', '1', `${mostRetries}`, 'orders', 'nobody-reads-this').map(text => Buffer.from(text)),
  fc.constant(null),
  bytes(40),
)

const fields = [
  ...['org_topic', 'retries', 'msg', 'org_partition', 'org_offset', 'org_timestamp', 'first_failed_at', 'failed_at'],
  ...['not_before', 'error_name', 'error_stack', 'stage', 'disposition', '', 'unknown'],
]

/**
 * Headers of a group that another client may have written: wrong values, repeated names, headers of other groups, and mostly
 * the header that marks the copy, with a valid original topic.
 */
export function hostileOwn(group: string, topic = 'orders'): fc.Arbitrary<HeaderPair[]> {
  const groups = fc.constantFrom(group, group, group, `${group}_eu`, group.slice(0, -1), '')
  const pair = fc.tuple(
    fc.tuple(groups, fc.constantFrom(...fields)).map(([whose, field]) => `mika_err_${whose}_${field}`),
    hostileValue,
  )
  const mark: HeaderPair = [`mika_err_${group}_org_topic`, Buffer.from(topic)]
  return fc
    .tuple(fc.array(pair, { maxLength: 5 }), fc.constantFrom('first', 'last', 'none'))
    .map(([pairs, marked]) => (marked === 'none' ? pairs : marked === 'first' ? [mark, ...pairs] : [...pairs, mark]))
}
