/** One header of a record. Names may repeat, and a value may be null. */
export type HeaderPair = readonly [name: string, value: Buffer | null]

/** Receives the headers of one record, one after the other. */
export interface HeaderVisitor {
  /** The value is the part of `bytes` from `from` up to `end` (excluded). `from` is -1 if the value is null. */
  header(name: string, bytes: Buffer, from: number, end: number): void
}

/**
 * Consecutive records of one partition. Each field is decoded when it is read.
 *
 * Offsets inside the library are numbers, exact up to 2^53 - 1. A partition with a million records per second reaches that
 * in 285 years. Users get bigints.
 */
export interface RecordBatch {
  /** The number of records; indexes are `0 … count - 1`. 0 if there are only markers, aborted or compacted records. */
  readonly count: number
  /** The last offset that the batch covers, markers and gaps included. Reading continues after it. */
  readonly lastOffset: number
  /** The bytes that the whole batch takes in memory. */
  readonly byteLength: number
  /** The offset within the partition. */
  offset(index: number): number
  /** Milliseconds since 1970. */
  timestamp(index: number): number
  /** Null if the record has no key. */
  key(index: number): Buffer | null
  /** Null for a tombstone. */
  value(index: number): Buffer | null
  /** In their order in the record, duplicates and nulls included. */
  headers(index: number): readonly HeaderPair[]
  /** The same without a buffer for each value. Absent: `headers` is used. */
  scanHeaders?(index: number, visitor: HeaderVisitor): void
  /** Copies one record, so that it can be kept without the batch. */
  copy(index: number): RecordBatch
}
