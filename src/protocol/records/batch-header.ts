import { CorruptBatchError } from './errors.js'
import { readInt64 } from './int64.js'

/** The size of a batch's header in bytes (magic 2). */
export const HEADER_BYTES = 61
/** The checksum of a batch covers the bytes from here on. */
export const CHECKED_FROM = 21

/** The header of a record batch (KIP-98, "RecordBatch"). */
export interface BatchHeader {
  readonly baseOffset: number
  /** The last offset of the batch as it was written, even if compaction has removed its record. */
  readonly lastOffset: number
  readonly partitionLeaderEpoch: number
  readonly crc: number
  /** The codec's number; 0 for none. */
  readonly codec: number
  /** True: the broker's time of the append, `maxTimestamp`, replaces the timestamps of all records. */
  readonly isLogAppendTime: boolean
  readonly isTransactional: boolean
  /** The batch holds a marker (commit, abort) instead of user records. */
  readonly isControl: boolean
  readonly baseTimestamp: number
  readonly maxTimestamp: number
  /** -1: the producer is neither idempotent nor transactional. */
  readonly producerId: number
  readonly count: number
}

/** Reads the header of the batch that begins at `at`. All of its 61 bytes must exist. */
export function readBatchHeader(bytes: Buffer, at: number): BatchHeader {
  const attributes = bytes.readInt16BE(at + 21)
  const lastOffsetDelta = bytes.readInt32BE(at + 23)
  const header = {
    baseOffset: readInt64(bytes, at),
    lastOffset: readInt64(bytes, at) + lastOffsetDelta,
    partitionLeaderEpoch: bytes.readInt32BE(at + 12),
    crc: bytes.readUInt32BE(at + 17),
    codec: attributes & 7,
    isLogAppendTime: (attributes & 8) !== 0,
    isTransactional: (attributes & 16) !== 0,
    isControl: (attributes & 32) !== 0,
    baseTimestamp: readInt64(bytes, at + 27),
    maxTimestamp: readInt64(bytes, at + 35),
    producerId: readInt64(bytes, at + 43),
    count: bytes.readInt32BE(at + 57),
  }
  const { baseOffset, lastOffset, producerId, count } = header
  if (!Number.isSafeInteger(lastOffset) || !Number.isSafeInteger(producerId)) {
    throw new CorruptBatchError('an offset or producer id of it is beyond 2^53 - 1')
  }
  if (baseOffset < 0 || lastOffset < baseOffset) {
    throw new CorruptBatchError(`it claims the offsets ${baseOffset} to ${lastOffset}`)
  }
  if (count < 0 || count > lastOffset - baseOffset + 1) {
    throw new CorruptBatchError(`it claims ${count} records at the offsets ${baseOffset} to ${lastOffset}`)
  }
  return header
}
