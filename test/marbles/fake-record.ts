import { NEVER } from 'rxjs'
import {
  DeliveredRecord,
  type DeliveryPhase,
  type Origin,
  type Outrun,
  type Rebalances,
  type RecordOwner,
} from '../../src/record.js'
import type { HeaderPair, RecordBatch } from '../../src/record-batch.js'
import { GroupHeaders } from '../../src/retry/headers.js'

export type Settlement = { readonly offset: number } & (
  | { readonly how: 'acked' }
  | { readonly how: 'failed'; readonly reason: unknown; readonly retry: boolean }
  | { readonly how: 'late' }
  | ({ readonly how: 'outrun' } & Outrun)
)

/** An assignment without a client. It records the settlements of its records, in order. */
export class FakeOwner implements RecordOwner {
  /** Of this partition, where the client gives partitions up. */
  get givingUp(): boolean {
    return this.rebalances.underWay
  }

  readonly settlements: Settlement[] = []
  readonly ownHeaders = new GroupHeaders('billing')
  readonly rebalances: Rebalances = { underWay: false, changes: NEVER }
  ended = false
  onSettled: (record: DeliveredRecord) => void = () => {}
  readonly #abort = new AbortController()

  constructor(
    readonly topic = 'orders',
    readonly partition = 0,
  ) {}

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** The partition is revoked. */
  end(): void {
    this.ended = true
    this.#abort.abort()
  }

  acked(record: DeliveredRecord): void {
    this.#note(record, { offset: record.batch.offset(record.index), how: 'acked' })
  }

  failed(record: DeliveredRecord, reason: unknown, retry: boolean, _stage?: unknown): void {
    this.#note(record, { offset: record.batch.offset(record.index), how: 'failed', reason, retry })
  }

  routed(): void {}

  routeAgain(): boolean {
    return false
  }

  whenDone(_record: DeliveredRecord, done: () => void): void {
    done()
  }

  hold(_record: DeliveredRecord, _phase: DeliveryPhase): void {}

  release(_record: DeliveredRecord): boolean {
    return !this.ended
  }

  settledLate(record: DeliveredRecord): void {
    this.#note(record, { offset: record.batch.offset(record.index), how: 'late' })
  }

  outrun(record: DeliveredRecord, outrun: Outrun): void {
    this.#note(record, { offset: record.batch.offset(record.index), how: 'outrun', ...outrun })
  }

  #note(record: DeliveredRecord, settlement: Settlement): void {
    this.settlements.push(settlement)
    this.onSettled(record)
  }
}

export interface FakeRecordOptions {
  readonly owner?: FakeOwner
  readonly offset?: number
  readonly timestamp?: number
  readonly key?: Buffer | string | null
  readonly value?: Buffer | string | null
  readonly headers?: readonly HeaderPair[]
  readonly origin?: Origin
  readonly redeliveries?: number
}

/** A delivered record without a client, in a batch of its own. */
export function fakeRecord(options: FakeRecordOptions = {}): DeliveredRecord {
  const { owner = new FakeOwner(), origin, redeliveries = 0 } = options
  return new DeliveredRecord(owner, batchOf(options), 0, options.offset ?? 0, origin, redeliveries)
}

function batchOf({ offset = 0, timestamp = 1_000, key = null, value = null, headers = [] }: FakeRecordOptions) {
  const bytes = (text: Buffer | string | null) => (typeof text === 'string' ? Buffer.from(text) : text)
  const [keyBytes, valueBytes] = [bytes(key), bytes(value)]
  const batch: RecordBatch = {
    count: 1,
    lastOffset: offset,
    byteLength: 0,
    offset: () => offset,
    timestamp: () => timestamp,
    key: () => keyBytes,
    value: () => valueBytes,
    headers: () => headers,
    copy: () => batch,
  }
  return batch
}
