import { type Delivery, type DeliveryOwner, type DeliveryPhase, delivery } from './delivery.js'
import type { Disposition } from './failure.js'
import type { HeaderPair, RecordBatch } from './record-batch.js'

export type { DeliveryPhase, Rebalances } from './delivery.js'

/** A record's headers in kafkajs's shape: a name's only value, or all of them in order. Without this library's own. */
export type ConsumedHeaders = { readonly [name: string]: Buffer | null | readonly (Buffer | null)[] | undefined }

/** Where a delivery was read. */
export interface RecordSource {
  readonly kind: 'topic' | 'retry' | 'dlq'
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
}

/**
 * One delivered record. Settle it once, from anywhere and at any time: by `ack()` when its work is done, by `fail()`
 * to send it down its topic's failure route. Until then the committed position of its partition stays below it.
 */
export interface ConsumeRecord<V = Buffer | null> {
  /** Where the record was first published; for a retried record not where it was read (that is `source`). */
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
  /** Milliseconds since 1970. */
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: V
  readonly headers: ConsumedHeaders
  /** The last value of that name; null is a value, undefined means there is none. */
  header(name: string): Buffer | null | undefined
  readonly source: RecordSource
  /** 1 for the first delivery, 2 for the first retry… */
  readonly attempt: number
  /**
   * Aborted when this delivery is no longer ours: its partition was revoked or lost, or the client closed. Its reason is a
   * `DOMException` named `AbortError`.
   */
  readonly signal: AbortSignal
  /** Completes the record. False, and nothing changes: it was settled before, or is no longer ours. */
  ack(): boolean
  /** Sends the record down its topic's failure route; `retry: false` straight to the dead-letter step. False as for `ack`. */
  fail(reason?: unknown, options?: { readonly retry?: boolean }): boolean
  readonly settled: boolean
  /** The same record with another value: one settlement, shared. `fn` runs once, at once. */
  map<W>(fn: (value: V, record: ConsumeRecord<V>) => W): ConsumeRecord<W>
}

/** Where a copy on a retry or DLQ topic comes from, read from its headers. */
export interface Origin {
  readonly kind: 'retry' | 'dlq'
  /** Where the record was first published. */
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly timestamp: number
  /** Retries so far. */
  readonly retries: number
}

/** What a record asks of the assignment that delivered it. */
export interface RecordOwner extends DeliveryOwner {
  readonly signal: AbortSignal
  /** Which headers are this library's own for this group; undefined: none are. */
  readonly ownHeaders: { isOwn(name: string): boolean } | undefined
  acked(record: DeliveredRecord): void
  /** A failed record's route is done with it. */
  routed(record: DeliveredRecord, disposition: Disposition): void
  failed(record: DeliveredRecord, reason: unknown, retry: boolean): void
  settledLate(record: DeliveredRecord): void
  /** Calls back once the record, or another delivery of it here, is completed or no longer ours; at once where it is. */
  whenDone(record: DeliveredRecord, done: () => void): void
  /** The record may take as long as it does: nothing waits for it until its `release`, but a graceful close for a `resting` one. */
  hold(record: DeliveredRecord, phase: 'held' | 'behind' | 'resting' | 'unroutable'): void
  /** False: it is no longer ours. */
  release(record: DeliveredRecord): boolean
}

/**
 * Leads from a record, mapped or not, to what its client delivered. The same symbol in every copy of this package in the
 * process: a record may be delivered by one and handled by another.
 */
const delivered: unique symbol = Symbol.for('rxmika.record') as never

/**
 * The record as delivered: a place in a batch and a slot in its assignment's window. Everything else is read when it
 * is asked for.
 */
export class DeliveredRecord implements ConsumeRecord, Delivery {
  settled = false
  phase: DeliveryPhase = 'waiting'
  /**
   * A stand-in for a record that is held only weakly, so that it is found when its pipeline drops it: that record. Or what
   * knows of the records that were handed out in its place (`handOut`).
   */
  handed: { deref(): unknown } | 'leaked' | undefined
  /** Whose stream it is for, where its owner reads for several; known to the owner alone. */
  stream: unknown

  constructor(
    readonly owner: RecordOwner,
    public batch: RecordBatch,
    public index: number,
    /** The count of this delivery within its assignment; see `DeliveryWindow`. */
    readonly slot: number,
    public origin: Origin | undefined,
    /** Retries without a topic (`redeliver`) that came before this delivery. */
    readonly redeliveries: number,
  ) {}

  get [delivered](): DeliveredRecord {
    return this
  }

  get topic(): string {
    return this.origin === undefined ? this.owner.topic : this.origin.topic
  }

  get partition(): number {
    return this.origin === undefined ? this.owner.partition : this.origin.partition
  }

  get offset(): bigint {
    return BigInt(this.origin === undefined ? this.batch.offset(this.index) : this.origin.offset)
  }

  get timestamp(): number {
    return this.origin === undefined ? this.batch.timestamp(this.index) : this.origin.timestamp
  }

  get key(): Buffer | null {
    return this.batch.key(this.index)
  }

  get value(): Buffer | null {
    return this.batch.value(this.index)
  }

  /** All headers, this library's own included. */
  get headerPairs(): readonly HeaderPair[] {
    return this.batch.headers(this.index)
  }

  get headers(): ConsumedHeaders {
    // Without a prototype: a header may be named `constructor` or `__proto__`.
    const headers: Record<string, Buffer | null | (Buffer | null)[]> = Object.create(null)
    const own = this.owner.ownHeaders
    for (const [name, value] of this.headerPairs) {
      if (own?.isOwn(name)) continue
      const before = headers[name]
      if (before === undefined) headers[name] = value
      else if (Array.isArray(before)) before.push(value)
      else headers[name] = [before, value]
    }
    return headers
  }

  header(name: string): Buffer | null | undefined {
    if (this.owner.ownHeaders?.isOwn(name)) return undefined
    const pairs = this.headerPairs
    for (let at = pairs.length - 1; at >= 0; at--) {
      const pair = pairs[at]!
      if (pair[0] === name) return pair[1]
    }
    return undefined
  }

  get source(): RecordSource {
    return {
      kind: this.origin === undefined ? 'topic' : this.origin.kind,
      topic: this.owner.topic,
      partition: this.owner.partition,
      offset: BigInt(this.batch.offset(this.index)),
    }
  }

  get attempt(): number {
    return 1 + (this.origin === undefined ? 0 : this.origin.retries) + this.redeliveries
  }

  get signal(): AbortSignal {
    return this.owner.signal
  }

  ack(): boolean {
    if (this.settled) return false
    if (this.owner.ended) return this.#late()
    this.settled = true
    this.owner.acked(this)
    return true
  }

  fail(reason?: unknown, options?: { readonly retry?: boolean }): boolean {
    if (this.settled) return false
    if (this.owner.ended) return this.#late()
    const retry = options?.retry ?? true
    this.settled = true
    this.owner.failed(this, reason, retry)
    return true
  }

  map<W>(fn: (value: Buffer | null, record: ConsumeRecord) => W): ConsumeRecord<W> {
    return new MappedRecord(this, fn(this.value, this))
  }

  get [delivery](): Delivery {
    return this
  }

  get shared(): boolean {
    return false
  }

  isSameRecord(other: Delivery): boolean {
    return other instanceof DeliveredRecord && other.owner === this.owner && other.slot === this.slot
  }

  whenDone(done: () => void): void {
    this.owner.whenDone(this, done)
  }

  hold(phase: 'behind' | 'resting'): void {
    this.owner.hold(this, phase)
  }

  release(): boolean {
    return this.owner.release(this)
  }

  handOut(holder: { deref(): unknown }): void {
    this.handed = holder
  }

  #late(): boolean {
    this.settled = true
    this.owner.settledLate(this)
    return false
  }
}

/** A record seen with another value. */
export class MappedRecord<V> implements ConsumeRecord<V> {
  constructor(
    readonly delivered: ConsumeRecord<unknown> & { readonly [delivery]?: Delivery | undefined },
    readonly value: V,
  ) {}

  get [delivery](): Delivery | undefined {
    return this.delivered[delivery]
  }

  get [delivered](): DeliveredRecord | undefined {
    return deliveryOf(this.delivered)
  }

  get topic() {
    return this.delivered.topic
  }
  get partition() {
    return this.delivered.partition
  }
  get offset() {
    return this.delivered.offset
  }
  get timestamp() {
    return this.delivered.timestamp
  }
  get key() {
    return this.delivered.key
  }
  get headers() {
    return this.delivered.headers
  }
  get source() {
    return this.delivered.source
  }
  get attempt() {
    return this.delivered.attempt
  }
  get signal() {
    return this.delivered.signal
  }
  get settled() {
    return this.delivered.settled
  }
  header(name: string) {
    return this.delivered.header(name)
  }
  ack() {
    return this.delivered.ack()
  }
  fail(reason?: unknown, options?: { readonly retry?: boolean }) {
    return this.delivered.fail(reason, options)
  }
  map<W>(fn: (value: V, record: ConsumeRecord<V>) => W): ConsumeRecord<W> {
    return new MappedRecord(this.delivered, fn(this.value, this))
  }
}

/** The delivery behind a record, mapped or not; undefined for a record made by other means, as tests may. */
export function deliveryOf(record: unknown): DeliveredRecord | undefined {
  return typeof record === 'object' && record !== null ? (record as Partial<DeliveredRecord>)[delivered] : undefined
}
