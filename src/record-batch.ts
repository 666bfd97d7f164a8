/** One header as it stands in the record: names may repeat, and a value may be null. */
export type HeaderPair = readonly [name: string, value: Buffer | null]

/** Is told of the headers of one record, one after the other. */
export interface HeaderVisitor {
  /** The value stands in `bytes` from `from` up to `end`; `from` is -1 where it is null. */
  header(name: string, bytes: Buffer, from: number, end: number): void
}

/**
 * Records of one partition as they came in one piece, decoded only where they are read.
 *
 * Offsets inside the library are numbers: exact up to 2^53 - 1, which a partition written a million times a second
 * reaches in 285 years. Users see bigints.
 */
export interface RecordBatch {
  /** How many records there are; indexes below are `0 … count - 1`. May be 0: markers, aborted or compacted records only. */
  readonly count: number
  /** The last offset the batch covers, markers and gaps included; reading goes on after it. */
  readonly lastOffset: number
  /** Bytes held in memory for the whole batch. */
  readonly byteLength: number
  /** The offset within the partition. */
  offset(index: number): number
  /** Milliseconds since 1970. */
  timestamp(index: number): number
  /** Null if the record has no key. */
  key(index: number): Buffer | null
  /** Null for a tombstone. */
  value(index: number): Buffer | null
  /** In the order of the wire, duplicates and nulls included. */
  headers(index: number): readonly HeaderPair[]
  /** The same without a buffer for each value. Absent: `headers` is read instead. */
  scanHeaders?(index: number, visitor: HeaderVisitor): void
  /** The one record in memory of its own, so that keeping it does not keep the batch. */
  copy(index: number): RecordBatch
}
