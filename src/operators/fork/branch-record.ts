import type { InspectOptions } from 'node:util'
import {
  checkFail,
  type Delivery,
  type DeliveryOwner,
  type DeliveryPhase,
  delivery,
  type FailOptions,
  type Outrun,
  type RecordHolder,
} from '../../delivery.js'
import { inspected, inspectedAs, readable } from '../../readable.js'
import { type ConsumeRecord, MappedRecord, seenFrom } from '../../record.js'
import type { ForkedRecord } from './forked-record.js'

/** A record as one branch of a `fork` gets it. It has a settlement of its own; everything else is that of the record. */
export class BranchRecord<V> implements ConsumeRecord<V>, Delivery {
  readonly #forked: ForkedRecord<V>
  readonly #branch: number
  /** Set while an operator of the branch holds it. */
  #held: 'behind' | 'resting' | undefined
  #handed: RecordHolder | undefined

  constructor(forked: ForkedRecord<V>, branch: number) {
    this.#forked = forked
    this.#branch = branch
  }

  // ── The record ───────────────────────────────────────────────────────────────────────────────────────────────────

  get #record(): ConsumeRecord<V> {
    return this.#forked.record
  }
  get topic() {
    return this.#record.topic
  }
  get partition() {
    return this.#record.partition
  }
  get offset() {
    return this.#record.offset
  }
  get timestamp() {
    return this.#record.timestamp
  }
  get key() {
    return this.#record.key
  }
  get value() {
    return this.#record.value
  }
  get headers() {
    return this.#record.headers
  }
  get source() {
    return this.#record.source
  }
  get attempt() {
    return this.#record.attempt
  }
  get signal() {
    return this.#record.signal
  }
  header(name: string) {
    return this.#record.header(name)
  }
  map<W>(fn: (value: V, record: ConsumeRecord<V>) => W): ConsumeRecord<W> {
    return new MappedRecord(this, fn(this.value, this))
  }

  /** For logs: offsets and bytes as text. */
  toJSON(): unknown {
    return readable(seenFrom(this, this.value))
  }
  [inspected](...rest: [depth: number, options: InspectOptions, inspect: typeof import('node:util').inspect]): string {
    return inspectedAs('ConsumeRecord', seenFrom(this, this.value), ...rest)
  }

  // ── Its settlement in this branch ────────────────────────────────────────────────────────────────────────────────

  get settled(): boolean {
    return this.#forked.isSettled(this.#branch)
  }

  ack(): boolean {
    return this.#forked.ack(this.#branch, this.#held)
  }

  fail(reason?: unknown, options?: FailOptions): boolean {
    checkFail(options)
    return this.#forked.fail(this.#branch, this.#held, reason, options)
  }

  // ── For operators that keep it waiting ───────────────────────────────────────────────────────────────────────────

  get [delivery](): Delivery | undefined {
    return this.#forked.delivery === undefined ? undefined : this
  }

  get #delivery(): Delivery {
    return this.#forked.delivery!
  }

  get owner(): DeliveryOwner {
    return this.#delivery.owner
  }

  get headerPairs() {
    return this.#delivery.headerPairs
  }

  get redeliveries(): number {
    return this.#delivery.redeliveries
  }

  get failedByHand(): boolean {
    return this.#forked.isFailedByHand(this.#branch)
  }

  get shared(): boolean {
    return true
  }

  get phase(): DeliveryPhase {
    const { phase } = this.#delivery
    const isHere = phase === 'unsettled' || phase === 'behind' || phase === 'resting'
    return isHere ? (this.#held ?? 'unsettled') : phase
  }

  isSameRecord(other: Delivery): boolean {
    return (
      other instanceof BranchRecord &&
      other.#branch === this.#branch &&
      this.#delivery.isSameRecord(other.#forked.delivery!)
    )
  }

  precedes(other: Delivery): boolean {
    if (!(other instanceof BranchRecord) || other.#branch !== this.#branch) return false
    if (this.redeliveries === 0 && other.redeliveries === 0) return this.#forked.turn < other.#forked.turn
    // A redelivery keeps the place of its record. Those of two partitions have no order: a record that does not wait blocks no branch.
    return this.owner !== other.owner || this.#delivery.precedes(other.#forked.delivery!)
  }

  whenDone(done: () => void): void {
    this.#delivery.whenDone(done)
  }

  hold(phase: 'behind' | 'resting'): void {
    if (this.settled || this.#held !== undefined) return
    this.#held = phase
    this.#forked.held(phase)
  }

  release(): boolean {
    const phase = this.#held
    this.#held = undefined
    if (phase !== undefined && !this.settled) this.#forked.released(phase)
    return !this.owner.ended
  }

  outrun(outrun: Outrun): void {
    this.#delivery.outrun(outrun)
  }

  handOut(holder: RecordHolder): void {
    this.#handed = holder
  }

  /** True: it was forked again, and a branch of that fork dropped it unsettled. */
  get isLeaked(): boolean {
    return !this.settled && this.#handed !== undefined && this.#handed.deref() === undefined
  }

  /** True: it, or a part of it, can still be settled. */
  get isBusy(): boolean {
    return !this.settled && (!this.isLeaked || this.#handed?.isBusy === true)
  }

  /** Fails the parts that can no longer be settled. */
  failLost(reason: unknown, options: FailOptions): void {
    if (this.#handed?.failLost === undefined) this.fail(reason, options)
    else this.#handed.failLost(reason, options)
  }
}
