import type { InspectOptions } from 'node:util'
import { type ConsumedHeaders, headersByName, lastHeader, type OwnHeaders } from './consumed-headers.js'
import {
  checkFail,
  type Delivery,
  type DeliveryOwner,
  type DeliveryPhase,
  delivery,
  type FailOptions,
  type FailureStage,
  failureStage,
  isByHandle,
  type Outrun,
  type RecordHolder,
} from './delivery.js'
import type { Disposition } from './failure.js'
import { inspected, inspectedAs, readable } from './readable.js'
import type { HeaderPair, RecordBatch } from './record-batch.js'

export type { ConsumedHeaders } from './consumed-headers.js'
export type { DeliveryPhase, FailOptions, Outrun, Rebalances } from './delivery.js'

/** The place where a delivery was read. */
export interface RecordSource {
  /** Which topic it is: a registered one, the client's retry topic, or its DLQ topic (during a replay). */
  readonly kind: 'topic' | 'retry' | 'dlq'
  /** The topic, without the suffix. */
  readonly topic: string
  /** The partition of the topic. */
  readonly partition: number
  /** The offset within the partition. */
  readonly offset: bigint
}

/**
 * One delivered record. Settle it once, from anywhere and at any time: call `ack()` when its work is done, or `fail()` to
 * send it down its topic's failure route. Until it is completed, the committed position of its partition does not pass it.
 */
export interface ConsumeRecord<V = Buffer | null> {
  /** The place where the record was first published. For a retry, the place where it was read is `source`. */
  readonly topic: string
  /** The partition that the record was first published to. */
  readonly partition: number
  /** The offset at which the record was first published. */
  readonly offset: bigint
  /** Milliseconds since 1970. */
  readonly timestamp: number
  /** Null if the record has no key. */
  readonly key: Buffer | null
  /** The bytes of the record, null for a tombstone; or what `decode` or `map` made of them. */
  readonly value: V
  /** All headers except those that this library adds. */
  readonly headers: ConsumedHeaders
  /** The last value under that name. Null is a value; undefined means that there is no such header. */
  header(name: string): Buffer | null | undefined
  /** The place where this delivery was read. For a retry it is on the retry topic. */
  readonly source: RecordSource
  /** 1 for the first delivery, 2 for the first retry, and so on. */
  readonly attempt: number
  /**
   * Aborted when settling this delivery can no longer count: its partition was revoked or lost, or the client closed. Its
   * reason is a `DOMException` named `AbortError`. All records of an assignment share one signal, with any number of listeners.
   */
  readonly signal: AbortSignal
  /** Completes the record. Returns false and changes nothing if it was settled before, or if its assignment has ended. */
  ack(): boolean
  /**
   * Sends the record down its topic's failure route; with `retry: false`, straight to its dead-letter step. Returns false as
   * `ack` does.
   *
   * @throws ConfigurationError for an option that does not exist.
   */
  fail(reason?: unknown, options?: FailOptions): boolean
  /** True once `ack()` or `fail()` can no longer change anything: one of them was called, or the assignment has ended. */
  readonly settled: boolean
  /** Returns the same record with another value. Both share one settlement. `fn` runs once, synchronously. */
  map<W>(fn: (value: V, record: ConsumeRecord<V>) => W): ConsumeRecord<W>
}

/** The place where a copy on a retry or DLQ topic was first published, as its headers say. */
export interface Origin {
  readonly kind: 'retry' | 'dlq'
  /** Where the record was first published. */
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly timestamp: number
  /** Retries so far; 0 for none. */
  readonly retries: number
}

/** What a record calls on the assignment that delivered it. */
export interface RecordOwner extends DeliveryOwner {
  readonly signal: AbortSignal
  /** Tells which headers this library added for this group. Undefined: none of them. */
  readonly ownHeaders: OwnHeaders | undefined
  acked(record: DeliveredRecord): void
  /** The failure route has completed the record. */
  routed(record: DeliveredRecord, disposition: Disposition): void
  failed(record: DeliveredRecord, reason: unknown, retry: boolean, stage: FailureStage): void
  settledLate(record: DeliveredRecord): void
  /** The record was settled a second time, in the other way. */
  outrun(record: DeliveredRecord, outrun: Outrun): void
  /** Calls back once the record, or a redelivery of it, is completed or its assignment has ended; at once if that is so already. */
  whenDone(record: DeliveredRecord, done: () => void): void
  /**
   * Neither a rebalance nor a graceful close waits for the record until its `release`. Exception: a graceful close waits for
   * a `resting` one.
   */
  hold(record: DeliveredRecord, phase: 'held' | 'behind' | 'resting' | 'unroutable'): void
  /** Returns false if the assignment has ended. */
  release(record: DeliveredRecord): boolean
  /** Sends an unroutable record down its route again. Returns false if the assignment has ended or it is not unroutable any more. */
  routeAgain(record: DeliveredRecord): boolean
}

/** A settlement by `fail`. */
class Failure {
  constructor(
    readonly reason: unknown,
    readonly byHandle: boolean,
  ) {}
}

/**
 * Leads from a record, mapped or not, to the record that its client delivered. All copies of this package in the process
 * share the symbol, because one copy may deliver a record that another handles.
 */
const delivered: unique symbol = Symbol.for('rxmika.record') as never

/**
 * The record as delivered: an index in a batch and a slot in its assignment's window. Everything else is read on access.
 *
 * All fields are private, so that code that prints or copies a record does not see them. That costs no time.
 */
export class DeliveredRecord implements ConsumeRecord, Delivery {
  /** `over`: completed or withheld by other means than `ack` and `fail`, or settled after its assignment ended. */
  #settlement: 'acked' | 'over' | Failure | undefined
  #phase: DeliveryPhase = 'waiting'
  #handed: RecordHolder | 'leaked' | undefined
  #stream: unknown
  readonly #owner: RecordOwner
  #batch: RecordBatch
  #index: number
  readonly #slot: number
  #origin: Origin | undefined
  readonly #redeliveries: number

  /**
   * @param slot The count of this delivery within its assignment; see `DeliveryWindow`.
   * @param redeliveries How often `redeliver` has delivered the record again before this delivery.
   */
  constructor(
    owner: RecordOwner,
    batch: RecordBatch,
    index: number,
    slot: number,
    origin: Origin | undefined,
    redeliveries: number,
  ) {
    this.#owner = owner
    this.#batch = batch
    this.#index = index
    this.#slot = slot
    this.#origin = origin
    this.#redeliveries = redeliveries
  }

  get owner(): RecordOwner {
    return this.#owner
  }

  get slot(): number {
    return this.#slot
  }

  get redeliveries(): number {
    return this.#redeliveries
  }

  get batch(): RecordBatch {
    return this.#batch
  }

  set batch(batch: RecordBatch) {
    this.#batch = batch
  }

  get index(): number {
    return this.#index
  }

  set index(index: number) {
    this.#index = index
  }

  get phase(): DeliveryPhase {
    return this.#phase
  }

  set phase(phase: DeliveryPhase) {
    this.#phase = phase
  }

  /** The place where it was first published, if it is a copy. */
  get origin(): Origin | undefined {
    return this.#origin
  }

  set origin(origin: Origin | undefined) {
    this.#origin = origin
  }

  /** The stream it is delivered to, if its owner reads for several streams. Only the owner knows what this is. */
  get stream(): unknown {
    return this.#stream
  }

  set stream(stream: unknown) {
    this.#stream = stream
  }

  /**
   * How leak detection finds out that a pipeline dropped the record. For a stand-in (the pipeline got the record itself,
   * which is held weakly here): the holder of that record. Otherwise: the holder of the records handed out in its place
   * (`handOut`).
   */
  get handed(): RecordHolder | 'leaked' | undefined {
    return this.#handed
  }

  set handed(handed: RecordHolder | 'leaked' | undefined) {
    this.#handed = handed
  }

  get settled(): boolean {
    return this.#settlement !== undefined
  }

  /** True if user code called `fail`, rather than `handle`. */
  get failedByHand(): boolean {
    return this.#settlement instanceof Failure && !this.#settlement.byHandle
  }

  /** Marks the record as settled by other means than `ack` and `fail`. */
  conclude(): void {
    this.#settlement ??= 'over'
  }

  /** Undoes the settlement. */
  reopen(): void {
    this.#settlement = undefined
  }

  get [delivered](): DeliveredRecord {
    return this
  }

  get topic(): string {
    return this.#origin === undefined ? this.#owner.topic : this.#origin.topic
  }

  get partition(): number {
    return this.#origin === undefined ? this.#owner.partition : this.#origin.partition
  }

  get offset(): bigint {
    return BigInt(this.#origin === undefined ? this.#batch.offset(this.#index) : this.#origin.offset)
  }

  get timestamp(): number {
    return this.#origin === undefined ? this.#batch.timestamp(this.#index) : this.#origin.timestamp
  }

  get key(): Buffer | null {
    return this.#batch.key(this.#index)
  }

  get value(): Buffer | null {
    return this.#batch.value(this.#index)
  }

  /** All headers, this library's own included. */
  get headerPairs(): readonly HeaderPair[] {
    return this.#batch.headers(this.#index)
  }

  get headers(): ConsumedHeaders {
    return headersByName(this.headerPairs, this.#owner.ownHeaders)
  }

  header(name: string): Buffer | null | undefined {
    return this.#owner.ownHeaders?.isOwn(name) ? undefined : lastHeader(this.headerPairs, name)
  }

  get source(): RecordSource {
    return {
      kind: this.#origin === undefined ? 'topic' : this.#origin.kind,
      topic: this.#owner.topic,
      partition: this.#owner.partition,
      offset: BigInt(this.#batch.offset(this.#index)),
    }
  }

  get attempt(): number {
    return 1 + (this.#origin === undefined ? 0 : this.#origin.retries) + this.#redeliveries
  }

  get signal(): AbortSignal {
    return this.#owner.signal
  }

  ack(): boolean {
    if (this.#settlement !== undefined) return this.#again('ack', undefined)
    if (this.#owner.ended) return this.#late()
    this.#settlement = 'acked'
    this.#owner.acked(this)
    return true
  }

  fail(reason?: unknown, options?: FailOptions): boolean {
    checkFail(options)
    if (this.#settlement !== undefined) return this.#again('fail', reason)
    if (this.#owner.ended) return this.#late()
    const retry = options?.retry ?? true
    this.#settlement = new Failure(reason, isByHandle(options))
    this.#owner.failed(this, reason, retry, failureStage(options))
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
    return other instanceof DeliveredRecord && other.#owner === this.#owner && other.#slot === this.#slot
  }

  precedes(other: Delivery): boolean {
    return other instanceof DeliveredRecord && other.#owner === this.#owner && this.#slot < other.#slot
  }

  whenDone(done: () => void): void {
    this.#owner.whenDone(this, done)
  }

  hold(phase: 'behind' | 'resting'): void {
    this.#owner.hold(this, phase)
  }

  release(): boolean {
    return this.#owner.release(this)
  }

  handOut(holder: RecordHolder): void {
    this.#handed = holder
  }

  outrun(outrun: Outrun): void {
    this.#owner.outrun(this, outrun)
  }

  /** For logs: offsets and bytes as text. */
  toJSON(): unknown {
    return readable(seenFrom(this, this.value))
  }

  [inspected](...rest: [depth: number, options: InspectOptions, inspect: typeof import('node:util').inspect]): string {
    return inspectedAs('ConsumeRecord', seenFrom(this, this.value), ...rest)
  }

  #late(): boolean {
    this.#settlement = 'over'
    this.#owner.settledLate(this)
    return false
  }

  /** A second settlement. One of the same kind is harmless. With one of the other kind, work or a failure is ignored. */
  #again(then: 'ack' | 'fail', reason: unknown): boolean {
    const settlement = this.#settlement
    if (settlement === 'acked' && then === 'fail') this.outrun({ first: 'ack', then, reason })
    else if (settlement instanceof Failure && then === 'ack') {
      this.outrun({ first: 'fail', then, reason: settlement.reason })
    }
    return false
  }
}

/** A record with another value. */
export class MappedRecord<V> implements ConsumeRecord<V> {
  readonly #delivered: ConsumeRecord<unknown> & { readonly [delivery]?: Delivery | undefined }
  readonly #value: V

  constructor(delivered: ConsumeRecord<unknown> & { readonly [delivery]?: Delivery | undefined }, value: V) {
    this.#delivered = delivered
    this.#value = value
  }

  get [delivery](): Delivery | undefined {
    return this.#delivered[delivery]
  }
  get delivered() {
    return this.#delivered
  }
  get value() {
    return this.#value
  }

  get [delivered](): DeliveredRecord | undefined {
    return deliveryOf(this.delivered)
  }

  get topic() {
    return this.#delivered.topic
  }
  get partition() {
    return this.#delivered.partition
  }
  get offset() {
    return this.#delivered.offset
  }
  get timestamp() {
    return this.#delivered.timestamp
  }
  get key() {
    return this.#delivered.key
  }
  get headers() {
    return this.#delivered.headers
  }
  get source() {
    return this.#delivered.source
  }
  get attempt() {
    return this.#delivered.attempt
  }
  get signal() {
    return this.#delivered.signal
  }
  get settled() {
    return this.#delivered.settled
  }
  header(name: string) {
    return this.#delivered.header(name)
  }
  ack() {
    return this.#delivered.ack()
  }
  fail(reason?: unknown, options?: FailOptions) {
    return this.#delivered.fail(reason, options)
  }
  map<W>(fn: (value: V, record: ConsumeRecord<V>) => W): ConsumeRecord<W> {
    return new MappedRecord(this.#delivered, fn(this.#value, this))
  }
  toJSON(): unknown {
    return readable(seenFrom(this.#delivered, this.#value))
  }
  [inspected](...rest: [depth: number, options: InspectOptions, inspect: typeof import('node:util').inspect]): string {
    return inspectedAs('ConsumeRecord', seenFrom(this.#delivered, this.#value), ...rest)
  }
}

/** The fields of a record that its log text shows. */
export function seenFrom(record: ConsumeRecord<unknown>, value: unknown): object {
  const { topic, partition, offset, source, attempt, timestamp, key, headers, settled } = record
  return {
    topic,
    partition,
    offset,
    ...(source.kind === 'topic' ? {} : { source }),
    attempt,
    timestamp,
    key,
    value,
    headers,
    settled,
  }
}

/** Returns the delivery behind a record, mapped or not; undefined for a record that no client delivered, such as one made by a test. */
export function deliveryOf(record: unknown): DeliveredRecord | undefined {
  return typeof record === 'object' && record !== null ? (record as Partial<DeliveredRecord>)[delivered] : undefined
}
