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
  /** Whether the checksums of batches are checked; default true. */
  readonly checkCrcs?: boolean
}

/** The result of a fetch of one partition. */
export interface PartitionRecords {
  /** Whole batches in the order of the log. Markers and aborted batches have no records. */
  readonly batches: readonly LazyRecordBatch[]
  /** The batch at which decoding stopped before the end of the fetched bytes, and why. */
  readonly failure: { readonly offset: number; readonly error: Error } | undefined
  /** True: the budget was used up before the end of the fetched bytes; the rest must be fetched again. */
  readonly isCut: boolean
  /** True: the first record has a format older than Kafka 0.11, which is not supported. Then there are no batches. */
  readonly isOldFormat: boolean
}

/** The fields before the magic byte, offset and length, are the same in all formats. */
const LENGTH_AT = 8
const AFTER_LENGTH = 12
const MAGIC_AT = 16
const MAGIC = 2
const ABORT = 0

/**
 * Decodes the record batches of one partition at `start … end` of a response; `from` is the requested offset. Batches that
 * end before it are left out. The first batch may begin before it, because the broker sends whole batches. Decoding stops
 * when compressed batches have used up the budget.
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
      // After newer batches it is left for the next response, where it comes first.
      if (magic < MAGIC) return { ...outcome, isOldFormat: batches.length === 0 }
      if (magic > MAGIC) throw new CorruptBatchError(`its format is ${magic}, newer than is known here`)
      if (length < HEADER_BYTES - AFTER_LENGTH) throw new CorruptBatchError(`its length is said to be ${length}`)
      const stop = at + AFTER_LENGTH + length
      // The broker sends the requested number of bytes, so the last batch may be cut off.
      if (stop > end) break
      const batch = readBatch(bytes, at, stop, from, transactions, options, budget)
      if (batch !== undefined) batches.push(batch)
      at = stop
    } catch (error) {
      return { ...outcome, failure: { offset: readInt64(bytes, at), error: error as Error } }
    }
  }
  if (at === start && end > start) {
    // Since Kafka 0.10.1 the first batch is never cut off, so fetching again would not help.
    const error = new CorruptBatchError('it is cut off, and nothing came before it')
    return { ...outcome, failure: { offset: from, error } }
  }
  return outcome
}

/** Undefined if the batch ends before `from`. */
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
  // If compaction has removed all records, a codec may be set without any bytes to decompress.
  if (header.codec === 0 || from === stop) return LazyRecordBatch.of(header, bytes, from, stop)
  const uncompressed = decompress(header.codec, bytes.subarray(from, stop), codecs)
  budget.spend(uncompressed.length)
  return LazyRecordBatch.of(header, uncompressed, 0, uncompressed.length)
}

/** The key of a marker has its version and its type, two bytes each. */
function isAbortMarker(batch: LazyRecordBatch): boolean {
  if (batch.count === 0) return false
  const key = batch.key(0)
  if (key === null || key.length < 4) throw new CorruptBatchError('it is said to be a marker and has no type')
  return key.readInt16BE(2) === ABORT
}
