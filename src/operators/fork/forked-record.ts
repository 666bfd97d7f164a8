import { type Delivery, deliveryBehind, isByHandle } from '../../delivery.js'
import type { ConsumeRecord } from '../../record.js'
import { BranchRecord } from './branch-record.js'

export interface FailOptions {
  readonly retry?: boolean
}

/** A branch's part of a record that is settled. */
class Failure {
  constructor(
    readonly reason: unknown,
    readonly options: FailOptions | undefined,
  ) {}
}
const acked = Symbol('acked')

/** One branch's part: its record, held weakly once the record is old enough to be looked after; or how it was settled. */
type Part<V> = BranchRecord<V> | WeakRef<BranchRecord<V>> | Failure | typeof acked | undefined

/**
 * A record that is settled once all branches have settled their part: acked if all acked, failed otherwise.
 *
 * Leak detection works per branch. As long as the record is young its parts are held here; once the client looks after it
 * (`deref`), they are held weakly, and one that was collected unsettled, or that its branch never took, is a leak.
 */
export class ForkedRecord<V> {
  /** The delivery behind the record, if a client delivered it. */
  readonly delivery: Delivery | undefined
  /** Undefined: its branch has completed and was not given the record. */
  readonly #parts: Part<V>[]
  #open: number
  #behind = 0
  #resting = 0
  #heldAs: 'behind' | 'resting' | undefined

  constructor(
    readonly record: ConsumeRecord<V>,
    branches: number,
    /** All parts are settled. */
    readonly done: (forked: ForkedRecord<V>) => void,
  ) {
    this.delivery = deliveryBehind(record)
    this.#open = branches
    this.#parts = new Array<Part<V>>(branches).fill(undefined)
    this.delivery?.handOut(this)
  }

  /** The record for one branch. */
  part(branch: number): BranchRecord<V> {
    const part = new BranchRecord(this, branch)
    this.#parts[branch] = part
    return part
  }

  /** The record was settled by other means, or is no longer assigned here. */
  get isOver(): boolean {
    return this.record.settled || this.delivery?.owner.ended === true
  }

  isSettled(branch: number): boolean {
    const part = this.#parts[branch]
    return part === acked || part instanceof Failure || this.record.settled
  }

  isFailedByHand(branch: number): boolean {
    const part = this.#parts[branch]
    return part instanceof Failure && !isByHandle(part.options)
  }

  ack(branch: number, held: 'behind' | 'resting' | undefined): boolean {
    return this.#settle(branch, acked, held)
  }

  fail(branch: number, held: 'behind' | 'resting' | undefined, reason: unknown, options?: FailOptions): boolean {
    return this.#settle(branch, new Failure(reason, options), held)
  }

  /** The branch has ended by an error. */
  failPart(branch: number, reason: unknown): void {
    if (this.isSettled(branch)) return
    const part = this.#parts[branch]
    const record = part instanceof WeakRef ? part.deref() : part
    if (record instanceof BranchRecord) record.fail(reason)
    else this.fail(branch, undefined, reason)
  }

  #settle(branch: number, how: Failure | typeof acked, held: 'behind' | 'resting' | undefined): boolean {
    if (this.isSettled(branch)) return this.#again(branch, how)
    // It tells that it is late, and that nothing came of it.
    if (this.delivery?.owner.ended) return this.record.ack()
    this.#parts[branch] = how
    this.#open--
    if (this.#open > 0) {
      if (held !== undefined) this.#count(held, -1)
      this.#holdOrRelease()
      return true
    }
    this.done(this)
    return this.#settleRecord()
  }

  /** Settled already: the other way, somebody's work or failure counts for nothing. */
  #again(branch: number, how: Failure | typeof acked): boolean {
    const part = this.#parts[branch]
    if (part === acked && how instanceof Failure) {
      this.delivery?.outrun({ first: 'ack', then: 'fail', reason: how.reason })
    } else if (part instanceof Failure && how === acked) {
      this.delivery?.outrun({ first: 'fail', then: 'ack', reason: part.reason })
    } else if (part !== acked && !(part instanceof Failure)) {
      // The record as a whole was settled by others, and says itself what it makes of that.
      return how === acked ? this.record.ack() : this.record.fail(how.reason, how.options)
    }
    return false
  }

  #settleRecord(): boolean {
    const failures = this.#parts.filter(part => part instanceof Failure)
    if (failures.length === 0) return this.record.ack()
    const [first] = failures as [Failure]
    if (failures.length === 1) return this.record.fail(first.reason, first.options)
    const reasons = failures.map(({ reason }) => reason)
    // Tried again as long as one of them may succeed: a retry runs every branch anyway.
    const retry = failures.some(({ options }) => options?.retry ?? true)
    return this.record.fail(new AggregateError(reasons, `${failures.length} branches failed`), { retry })
  }

  // ── Held by operators of branches ────────────────────────────────────────────────────────────────────────────────

  held(phase: 'behind' | 'resting'): void {
    this.#count(phase, 1)
    this.#holdOrRelease()
  }

  released(phase: 'behind' | 'resting'): void {
    this.#count(phase, -1)
    this.#holdOrRelease()
  }

  #count(phase: 'behind' | 'resting', change: 1 | -1): void {
    if (phase === 'behind') this.#behind += change
    else this.#resting += change
  }

  /** Nobody waits for a record that all branches hold; a graceful close does if its work begins after a rebalance in one. */
  #holdOrRelease(): void {
    if (this.delivery === undefined) return
    const working = this.#open > this.#behind + this.#resting
    const phase = working ? undefined : this.#resting > 0 ? 'resting' : 'behind'
    if (phase === this.#heldAs) return
    if (this.#heldAs !== undefined) this.delivery.release()
    this.#heldAs = phase
    if (phase !== undefined) this.delivery.hold(phase)
  }

  // ── Leaks ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A part that is not settled can still be reached. */
  get isBusy(): boolean {
    return this.#parts.some(part => {
      const record = part instanceof WeakRef ? part.deref() : part
      return record instanceof BranchRecord && record.isBusy
    })
  }

  /** Fails the parts that nobody can settle any more; so the record fails once the others are done. */
  failLost(reason: unknown, options: FailOptions): void {
    this.#parts.forEach((part, branch) => {
      const record = part instanceof WeakRef ? part.deref() : part
      if (record instanceof BranchRecord) {
        if (record.isLeaked) record.failLost(reason, options)
      } else if (part === undefined || part instanceof WeakRef) this.fail(branch, undefined, reason, options)
    })
  }

  /** Undefined: a branch can no longer settle its part. From the first call on, branches alone keep their parts. */
  deref(): ConsumeRecord<V> | undefined {
    let leaked = false
    this.#parts.forEach((part, branch) => {
      if (part === undefined) leaked = true
      else if (part instanceof BranchRecord) {
        if (part.isLeaked) leaked = true
        this.#parts[branch] = new WeakRef(part)
      } else if (part instanceof WeakRef) {
        const record = part.deref()
        if (record === undefined || record.isLeaked) leaked = true
      }
    })
    return leaked ? undefined : this.record
  }
}
