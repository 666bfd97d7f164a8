import { FetchError } from '../../../errors.js'
import { placeName } from '../../../place.js'
import type { AbortedTransaction } from '../../../protocol/records/aborted-transactions.js'
import { ExpansionBudget } from '../../../protocol/records/expansion-budget.js'
import { readInt64 } from '../../../protocol/records/int64.js'
import type { LazyRecordBatch } from '../../../protocol/records/lazy-record-batch.js'
import {
  type DecodingOptions,
  type PartitionRecords,
  readPartitionRecords,
} from '../../../protocol/records/partition-records.js'

export interface FetchedPartition {
  readonly topic: string
  readonly partition: number
  /** 0 for none. */
  readonly errorCode: number
  readonly highWatermark: number
  readonly lastStableOffset: number
  /** -1 before version 5. */
  readonly logStartOffset: number
  readonly abortedTransactions: readonly AbortedTransaction[]
  /** -1: none. */
  readonly preferredReadReplica: number
  readonly batches: readonly LazyRecordBatch[]
  /** Why reading stopped before the end of what was fetched; all that comes before is in `batches`. */
  readonly error: FetchError | undefined
  /** Records of a format before Kafka 0.11's: the partition's part of the response, for a decoder that knows them. */
  readonly oldFormat: Buffer | undefined
}

export interface FetchResponse {
  readonly throttleTime: number
  readonly errorCode: number
  readonly sessionId: number
  /** In the order of the response; each topic may come several times. */
  readonly partitions: readonly FetchedPartition[]
  /** The response ends or makes no sense somewhere: the connection cannot be trusted. What came before is there. */
  readonly error: FetchError | undefined
}

export interface FetchDecodingOptions extends DecodingOptions {
  /** The offset a partition was asked from; 0 when absent. */
  readonly fetchOffset?: (topic: string, partition: number) => number
  /** What all compressed batches of the response may expand to; what is beyond it has to be fetched again. */
  readonly budget?: ExpansionBudget
}

/** A partition's part of a response, its records not read yet. */
interface PartitionPart {
  readonly fetched: { -readonly [K in keyof FetchedPartition]: FetchedPartition[K] }
  /** Where the part stands in the response, and its records. */
  readonly start: number
  readonly recordsAt: number
  readonly end: number
}

/** Which partition is first to expand its batches: by turns, or the others get nothing while it has a backlog. */
let turn = 0

/** Reads a response to Fetch, versions 4 to 11, without the correlation id before it. Never throws. */
export function decodeFetchResponse(
  payload: Buffer,
  version: number,
  options: FetchDecodingOptions = {},
): FetchResponse {
  const parts: PartitionPart[] = []
  const head = { throttleTime: 0, errorCode: 0, sessionId: 0 }
  try {
    const reader = new Reader(payload)
    head.throttleTime = reader.int32()
    if (version >= 7) {
      head.errorCode = reader.int16()
      head.sessionId = reader.int32()
    }
    for (let topics = reader.int32(); topics > 0; topics--) {
      const topic = reader.string()
      for (let count = reader.int32(); count > 0; count--) {
        parts.push(readPart(reader, topic, version))
      }
    }
    return { ...head, partitions: readRecords(payload, parts, options), error: undefined }
  } catch (cause) {
    const message = `a fetch response of ${payload.length} bytes cannot be read: ${(cause as Error).message}`
    return { ...head, partitions: readRecords(payload, parts, options), error: new FetchError(message, { cause }) }
  }
}

function readPart(reader: Reader, topic: string, version: number): PartitionPart {
  const start = reader.at
  const partition = reader.int32()
  const errorCode = reader.int16()
  const highWatermark = reader.int64()
  const lastStableOffset = reader.int64()
  const logStartOffset = version >= 5 ? reader.int64() : -1
  const abortedTransactions: AbortedTransaction[] = []
  for (let count = reader.int32(); count > 0; count--) {
    abortedTransactions.push({ producerId: reader.int64(), firstOffset: reader.int64() })
  }
  const preferredReadReplica = version >= 11 ? reader.int32() : -1
  const [recordsAt, end] = reader.bytes()
  const fetched = {
    topic,
    partition,
    errorCode,
    highWatermark,
    lastStableOffset,
    logStartOffset,
    abortedTransactions,
    preferredReadReplica,
    batches: [],
    error: undefined,
    oldFormat: undefined,
  }
  return { fetched, start, recordsAt, end }
}

function readRecords(
  payload: Buffer,
  parts: readonly PartitionPart[],
  options: FetchDecodingOptions,
): readonly FetchedPartition[] {
  const { budget = new ExpansionBudget() } = options
  turn = (turn + 1) % Math.max(parts.length, 1)
  for (let i = 0; i < parts.length; i++) {
    const { fetched, start, recordsAt, end } = parts[(turn + i) % parts.length]!
    const { topic, partition, abortedTransactions } = fetched
    const from = options.fetchOffset?.(topic, partition) ?? 0
    const records = readPartitionRecords(payload, recordsAt, end, from, abortedTransactions, options, budget)
    fetched.batches = records.batches
    fetched.error = toFetchError(topic, partition, records.failure)
    if (records.isOldFormat) fetched.oldFormat = payload.subarray(start, end)
  }
  return parts.map(({ fetched }) => fetched)
}

function toFetchError(topic: string, partition: number, failure: PartitionRecords['failure']): FetchError | undefined {
  if (failure === undefined) return undefined
  const offset = BigInt(failure.offset)
  const message = `the record batch at ${placeName({ topic, partition, offset })} cannot be read: ${failure.error.message}`
  return new FetchError(message, { cause: failure.error, topic, partition, offset })
}

/** Reads on, and never past the end: then it throws. */
class Reader {
  at = 0

  constructor(readonly payload: Buffer) {}

  int16(): number {
    return this.payload.readInt16BE(this.#pass(2))
  }

  int32(): number {
    return this.payload.readInt32BE(this.#pass(4))
  }

  int64(): number {
    return readInt64(this.payload, this.#pass(8))
  }

  string(): string {
    const start = this.#pass(this.int16())
    return this.payload.toString('utf8', start, this.at)
  }

  /** Where bytes stand that have their length before them; null ones are empty. */
  bytes(): readonly [start: number, end: number] {
    const start = this.#pass(Math.max(this.int32(), 0))
    return [start, this.at]
  }

  #pass(count: number): number {
    const start = this.at
    if (count < 0 || start + count > this.payload.length) {
      throw new RangeError(`${count} bytes at ${start} reach outside it`)
    }
    this.at += count
    return start
  }
}
