import fc from 'fast-check'
import type { EncodableRecord } from '../../../src/protocol/records/record-batch-encoder.js'

const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map(array => Buffer.from(array))
const nullable = (maxLength: number) => fc.option(bytes(maxLength))

/** Names that are properties of every object, empty names, and names too long to be cached. */
const name = fc.oneof(
  fc.constantFrom('', 'constructor', '__proto__', 'toString', 'trace', 'x'.repeat(300)),
  fc.string({ unit: 'grapheme', maxLength: 10 }),
)

/** No timestamp, the present, before 1970, and the largest numbers. */
const timestamp = fc.oneof(
  fc.constantFrom(-1, 0, 1, -2, 1_800_000_000_000, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, -(2 ** 52) - 1),
  fc.integer({ min: 1_700_000_000_000, max: 1_900_000_000_000 }),
  fc.maxSafeInteger(),
)

export const anyRecords: fc.Arbitrary<EncodableRecord[]> = fc.array(
  fc.record({
    key: nullable(70),
    value: fc.oneof(
      { weight: 9, arbitrary: nullable(70) },
      { weight: 1, arbitrary: fc.constant(Buffer.alloc(20_000)) },
    ),
    headers: fc.array(fc.tuple(name, nullable(20)), { maxLength: 4 }),
    timestamp,
  }),
  { minLength: 1, maxLength: 8 },
)

/** Headers like those of copies of failed records: many are the same objects as in the record before, some are missing. */
export const recordsWithHeadersInCommon: fc.Arbitrary<EncodableRecord[]> = fc
  .tuple(
    fc.array(fc.tuple(name, nullable(200)), { minLength: 1, maxLength: 5 }),
    fc.array(fc.array(fc.tuple(fc.nat(), name, nullable(20)), { maxLength: 6 }), { minLength: 1, maxLength: 12 }),
  )
  .map(([common, records]) =>
    records.map((headers, timestamp) => ({
      ...{ key: null, value: null, timestamp },
      headers: headers.map(([which, name, value]) => common[which % (common.length + 1)] ?? ([name, value] as const)),
    })),
  )

export const anySequence = fc.record({
  producerId: fc.constantFrom(-1n, 0n, 4_000n, 2n ** 53n - 1n),
  epoch: fc.constantFrom(-1, 0, 32_767),
  first: fc.constantFrom(-1, 0, 2 ** 31 - 1),
})
