import { type Delivery, deliveryBehind, type FailOptions, isByHandle } from '../../delivery.js'
import type { ConsumeRecord } from '../../record.js'
import { BranchRecord } from './branch-record.js'

/** The failure of one branch's part of a record. */
class Failure {
  constructor(
    readonly reason: unknown,
    readonly options: FailOptions | undefined,
  ) {}
}
const acked = Symbol('acked')

/** How many records were forked. */
let forked = 0

/** The part of one branch: its record (held weakly once leak detection watches it), or how it was settled. */
type Part<V> = BranchRecord<V> | WeakRef<BranchRecord<V>> | Failure | typeof acked | undefined

/**
 * A record that is settled once all branches have settled their parts: acked if all acked, failed otherwise.
 *
 * Leak detection works per branch. A young record's parts are referenced here. From the first `deref` on, which the client
 * calls, they are held weakly. A part leaked if it was collected unsettled, or if its branch never took it.
 */
export class ForkedRecord<V> {
  /** The delivery behind the record, if a client delivered it. */
  readonly delivery: Delivery | undefined
  /** Records that were forked later have higher ones. */
  readonly turn = ++forked
  /** Undefined: the branch had completed and was not given the record. */
  readonly #parts: Part<V>[]
  #open: number
  #behind = 0
  #resting = 0
  #heldAs: 'behind' | 'resting' | undefined

  constructor(
    readonly record: ConsumeRecord<V>,
    branches: number,
    /** Called when all parts are settled. */
    readonly done: (forked: ForkedRecord<V>) => void,
  ) {
    this.delivery = deliveryBehind(record)
    this.#open = branches
    this.#parts = new Array<Part<V>>(branches).fill(undefined)
    this.delivery?.handOut(this)
  }

  /** Makes the part of one branch. */
  part(branch: number): BranchRecord<V> {
    const part = new BranchRecord(this, branch)
    this.#parts[branch] = part
    return part
  }

  /** True: the record was settled by other means, or its assignment has ended. */
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

  /** Called when the branch has errored. */
  failPart(branch: number, reason: unknown): void {
    if (this.isSettled(branch)) return
    const part = this.#parts[branch]
    const record = part instanceof WeakRef ? part.deref() : part
    if (record instanceof BranchRecord) record.fail(reason)
    else this.fail(branch, undefined, reason)
  }

  #settle(branch: number, how: Failure | typeof acked, held: 'behind' | 'resting' | undefined): boolean {
    if (this.isSettled(branch)) return this.#again(branch, how)
    // Reports the late settlement, and returns false.
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

  /** The part is settled already. If it was settled the other way, the work or failure reported now is ignored. */
  #again(branch: number, how: Failure | typeof acked): boolean {
    const part = this.#parts[branch]
    if (part === acked && how instanceof Failure) {
      this.delivery?.outrun({ first: 'ack', then: 'fail', reason: how.reason })
    } else if (part instanceof Failure && how === acked) {
      this.delivery?.outrun({ first: 'fail', then: 'ack', reason: part.reason })
    } else if (part !== acked && !(part instanceof Failure)) {
      // The whole record was settled by other means, and reports a second settlement itself.
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
    // Retried if any failure allows it, because a retry runs every branch anyway.
    const retry = failures.some(({ options }) => options?.retry ?? true)
    return this.record.fail(new AggregateError(reasons, `${failures.length} branches failed`), { retry })
  }

  // ── Held by operators of the branches ────────────────────────────────────────────────────────────────────────────

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

  /** A record is held while all open branches hold it. It rests if its work in one of them begins after a rebalance. */
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

  /** True: an unsettled part can still be reached. */
  get isBusy(): boolean {
    return this.#parts.some(part => {
      const record = part instanceof WeakRef ? part.deref() : part
      return record instanceof BranchRecord && record.isBusy
    })
  }

  /** Fails the parts that can no longer be settled, so that the record fails once the others are done. */
  failLost(reason: unknown, options: FailOptions): void {
    this.#parts.forEach((part, branch) => {
      const record = part instanceof WeakRef ? part.deref() : part
      if (record instanceof BranchRecord) {
        if (record.isLeaked) record.failLost(reason, options)
      } else if (part === undefined || part instanceof WeakRef) this.fail(branch, undefined, reason, options)
    })
  }

  /** Undefined: a branch can no longer settle its part. From the first call on, parts are referenced only by their branches. */
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
