import { randomBytes } from 'node:crypto'
import type { HeaderPair } from '../../src/protocol/records/header-pair'
import { readPartitionRecords } from '../../src/protocol/records/partition-records'
import { type EncodableRecord, encodeRecordBatch } from '../../src/protocol/records/record-batch-encoder'
import { type Appended, type ProducedBatch, refusalOf } from './replica'

interface Stored extends ProducedBatch {
  /** The epoch of the leader that appended the record. */
  readonly leaderEpoch: number
  readonly bytes: Buffer
}

export interface LoggedRecord {
  readonly offset: number
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly HeaderPair[]
}

/** One partition's log and its leader (-1: none). */
export class FakeLog {
  epoch = 0
  /** The log start offset. */
  start = 0
  #batches: Stored[] = []
  /** Offsets up to here are used by removed records or by markers. */
  #takenTo = 0
  #epochs: { readonly epoch: number; readonly from: number }[] = [{ epoch: 0, from: 0 }]

  constructor(public leader: number) {}

  get end(): number {
    const last = this.#batches.at(-1)
    return Math.max(this.#takenTo, last === undefined ? this.start : last.base + last.count)
  }

  /** Appends one batch. */
  append(...values: string[]): void {
    this.write(values.map(value => ({ key: null, value: Buffer.from(value), headers: [], timestamp: 1 })))
  }

  /** Appends records as one batch. */
  write(records: readonly EncodableRecord[]): void {
    this.produce(encodeRecordBatch(records, { producerId: -1n, epoch: -1, first: -1 }))
  }

  /** Appends a batch as a producer sends it. */
  produce(sent: Buffer): Appended {
    const batch = {
      producerId: sent.readBigInt64BE(43),
      epoch: sent.readInt16BE(51),
      first: sent.readInt32BE(53),
      count: sent.readInt32BE(57),
    }
    const refusal = refusalOf(batch, this.#batches)
    if (refusal !== undefined) return refusal
    const base = this.end
    const bytes = Buffer.from(sent)
    // The fields that a leader sets, which the checksum does not cover.
    bytes.writeBigInt64BE(BigInt(base), 0)
    bytes.writeInt32BE(this.epoch, 12)
    this.#batches.push({ ...batch, base, leaderEpoch: this.epoch, bytes })
    return { code: 0, base, duplicate: false }
  }

  /** Every record that can be read. */
  get records(): readonly LoggedRecord[] {
    const bytes = this.read(this.start, Number.POSITIVE_INFINITY)
    const { batches } = readPartitionRecords(bytes, 0, bytes.length, this.start, [], {})
    return batches.flatMap(batch =>
      Array.from({ length: batch.count }, (_, at) => ({
        offset: batch.offset(at),
        timestamp: batch.timestamp(at),
        key: batch.key(at),
        value: batch.value(at),
        headers: batch.headers(at),
      })),
    )
  }

  /** The first offset of that time or later; -1: there is none. */
  firstSince(time: number): number {
    return this.records.find(({ timestamp }) => timestamp >= time)?.offset ?? -1
  }

  /** Uses up offsets without a record, like gaps of compaction. */
  gap(offsets: number): void {
    this.#takenTo = this.end + offsets
  }

  /** Makes another broker the leader, whose log ends before `offset`. */
  cutOff(offset: number): void {
    this.#batches = this.#batches.filter(({ base }) => base < offset)
    this.#takenTo = Math.min(this.#takenTo, offset)
    this.newEpoch()
  }

  /** Begins an epoch at the present end of the log. */
  newEpoch(): void {
    this.epoch++
    this.#epochs = [...this.#epochs.filter(({ from }) => from < this.end), { epoch: this.epoch, from: this.end }]
  }

  /** Deletes records before `offset`, like retention. */
  deleteBefore(offset: number): void {
    this.#batches = this.#batches.filter(({ base }) => base >= offset)
    this.start = offset
  }

  /** The end offset of the largest epoch that is not above this one, or -1 if there is none. */
  endOf(epoch: number): { readonly epoch: number; readonly endOffset: number } {
    const at = this.#epochs.findLastIndex(entry => entry.epoch <= epoch)
    if (at < 0) return { epoch: -1, endOffset: -1 }
    return { epoch: this.#epochs[at]!.epoch, endOffset: this.#epochs[at + 1]?.from ?? this.end }
  }

  /** Complete batches from the one that contains `offset`; the first one whatever its size. */
  read(offset: number, maxBytes: number): Buffer {
    const read: Buffer[] = []
    let size = 0
    for (const { base, count, bytes } of this.#batches) {
      if (base + count <= offset) continue
      if (read.length > 0 && size + bytes.length > maxBytes) break
      read.push(bytes)
      size += bytes.length
    }
    return Buffer.concat(read)
  }
}

/** A topic. If it is created again under the same name, it has another id. */
export class FakeTopic {
  readonly id = randomBytes(16).toString('base64url')
  readonly logs: FakeLog[]
  /** The client has no right to describe the topic. */
  forbidden = false
  /** The client may describe the topic, but neither read it nor commit its positions. */
  unreadable = false

  constructor(
    readonly name: string,
    readonly leaders: readonly number[],
  ) {
    this.logs = leaders.map(leader => new FakeLog(leader))
  }

  addPartition(leader: number): FakeLog {
    const log = new FakeLog(leader)
    this.logs.push(log)
    return log
  }
}
