import { type AbortedTransaction, AbortedTransactions } from './aborted-transactions.js'
import { type BatchHeader, CHECKED_FROM, HEADER_BYTES, readBatchHeader } from './batch-header.js'
import { type Codecs, decompress } from './codecs.js'
import { crc32c } from './crc32c.js'
import { CorruptBatchError } from './errors.js'
import { ExpansionBudget } from './expansion-budget.js'
import { readInt64 } from './int64.js'
import { LazyRecordBatch } from './lazy-record-batch.js'

export interface DecodingOptions {
  readonly codecs?: Codecs
  /** Whether batches are compared with their checksums; true by default. */
  readonly checkCrcs?: boolean
}

/** What was fetched of one partition. */
export interface PartitionRecords {
  /** Whole batches in the order of the log, each once and to its end; markers and aborted ones without records. */
  readonly batches: readonly LazyRecordBatch[]
  /** Why reading stopped before the end of what was fetched, and at which batch. */
  readonly failure: { readonly offset: number; readonly error: Error } | undefined
  /** The budget was spent before the end of what was fetched: the rest has to be fetched again. */
  readonly isCut: boolean
  /** The first record is of a format before Kafka 0.11's, which is not read here; then there are no batches. */
  readonly isOldFormat: boolean
}

/** Offset and length: what is the same in all formats before the magic byte's place is known. */
const LENGTH_AT = 8
const AFTER_LENGTH = 12
const MAGIC_AT = 16
const MAGIC = 2
const ABORT = 0

/**
 * Reads the records of one partition that stand at `start … end` of a response; `from` is the offset they were asked
 * from. Batches that end before it are left out; the first may begin before it, as the broker sends whole batches. Reading
 * stops where the budget is spent by what compressed batches expand to.
 */
export function readPartitionRecords(
  bytes: Buffer,
  start: number,
  end: number,
  from: number,
  aborted: readonly AbortedTransaction[],
  options: DecodingOptions,
  budget = new ExpansionBudget(),
): PartitionRecords {
  const batches: LazyRecordBatch[] = []
  const outcome = { batches, failure: undefined, isCut: false, isOldFormat: false }
  const transactions = new AbortedTransactions(aborted)
  let at = start
  while (end - at > MAGIC_AT) {
    if (budget.isSpent) return { ...outcome, isCut: true }
    try {
      const length = bytes.readInt32BE(at + LENGTH_AT)
      const magic = bytes.readInt8(at + MAGIC_AT)
      // After newer batches: they come first in the next response, and alone.
      if (magic < MAGIC) return { ...outcome, isOldFormat: batches.length === 0 }
      if (magic > MAGIC) throw new CorruptBatchError(`its format is ${magic}, newer than is known here`)
      if (length < HEADER_BYTES - AFTER_LENGTH) throw new CorruptBatchError(`its length is said to be ${length}`)
      const stop = at + AFTER_LENGTH + length
      // The broker sends as many bytes as were asked for and cuts the last batch where they end.
      if (stop > end) break
      const batch = readBatch(bytes, at, stop, from, transactions, options, budget)
      if (batch !== undefined) batches.push(batch)
      at = stop
    } catch (error) {
      return { ...outcome, failure: { offset: readInt64(bytes, at), error: error as Error } }
    }
  }
  if (at === start && end > start) {
    // Since Kafka 0.10.1 the first batch is whole whatever its size; asking again would not help.
    const error = new CorruptBatchError('it is cut off, and nothing came before it')
    return { ...outcome, failure: { offset: from, error } }
  }
  return outcome
}

/** Undefined: all of it is before `from`. */
function readBatch(
  bytes: Buffer,
  at: number,
  stop: number,
  from: number,
  transactions: AbortedTransactions,
  { codecs, checkCrcs = true }: DecodingOptions,
  budget: ExpansionBudget,
): LazyRecordBatch | undefined {
  if (checkCrcs) checkCrc(bytes, at, stop)
  const header = readBatchHeader(bytes, at)
  const isAborted = transactions.contain(header)
  const records = () => readRecords(header, bytes, at + HEADER_BYTES, stop, codecs, budget)
  if (header.isControl) {
    if (isAborted && isAbortMarker(records())) transactions.end(header.producerId)
    return header.lastOffset < from ? undefined : LazyRecordBatch.withoutRecords(header)
  }
  if (header.lastOffset < from) return undefined
  return isAborted ? LazyRecordBatch.withoutRecords(header) : records()
}

function checkCrc(bytes: Buffer, at: number, stop: number): void {
  const expected = bytes.readUInt32BE(at + 17)
  const actual = crc32c(bytes, at + CHECKED_FROM, stop)
  if (actual === expected) return
  const hex = (crc: number) => crc.toString(16).padStart(8, '0')
  throw new CorruptBatchError(`its CRC-32C is ${hex(actual)}, and it was written as ${hex(expected)}`)
}

function readRecords(
  header: BatchHeader,
  bytes: Buffer,
  from: number,
  stop: number,
  codecs: Codecs | undefined,
  budget: ExpansionBudget,
): LazyRecordBatch {
  // Where compaction has left no records, a codec may be named and nothing be there for it.
  if (header.codec === 0 || from === stop) return LazyRecordBatch.of(header, bytes, from, stop)
  const uncompressed = decompress(header.codec, bytes.subarray(from, stop), codecs)
  budget.spend(uncompressed.length)
  return LazyRecordBatch.of(header, uncompressed, 0, uncompressed.length)
}

/** The key of a marker: its version and its type, two bytes each. */
function isAbortMarker(batch: LazyRecordBatch): boolean {
  if (batch.count === 0) return false
  const key = batch.key(0)
  if (key === null || key.length < 4) throw new CorruptBatchError('it is said to be a marker and has no type')
  return key.readInt16BE(2) === ABORT
}
