import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readPartitionRecords } from '../../src/protocol/records/partition-records.js'
import { encodeRecordBatch } from '../../src/protocol/records/record-batch-encoder.js'
import { anyRecords, anySequence, recordsWithHeadersInCommon } from '../unit/protocol/any-records'

describe('a record batch', () => {
  it('is encoded so that every record is decoded unchanged, with any timestamp, header and null', () => {
    fc.assert(
      fc.property(fc.oneof(anyRecords, recordsWithHeadersInCommon), anySequence, (records, sequence) => {
        const bytes = encodeRecordBatch(records, sequence)
        const { batches, failure } = readPartitionRecords(bytes, 0, bytes.length, 0, [], {})
        expect(failure).toBeUndefined()
        expect(batches.length).toBe(1)
        const [batch] = batches
        expect(batch!.producerId).toBe(Number(sequence.producerId))
        const read = Array.from({ length: batch!.count }, (_, i) => ({
          key: batch!.key(i),
          value: batch!.value(i),
          headers: batch!.headers(i),
          timestamp: batch!.timestamp(i),
        }))
        expect(shown(read)).toEqual(shown(records))
      }),
      { numRuns: 300 },
    )
  })
})

/** Bytes as text: comparing them element by element takes seconds. */
function shown(value: unknown): unknown {
  if (Buffer.isBuffer(value)) return value.toString('base64')
  if (Array.isArray(value)) return value.map(shown)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, shown(each)]))
}
