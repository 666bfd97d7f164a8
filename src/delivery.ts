import type { Observable } from 'rxjs'
import type { ClientMessage } from './channels.js'
import { checkOptions, invalid, type KnownOptions } from './options.js'
import type { HeaderPair } from './record-batch.js'

/**
 * The state of a delivery:
 * - `waiting`: for a subscriber
 * - `left`: by a subscriber that ended; waits for the next one
 * - `fenced`: waits for an earlier record of its key (`keyFence`)
 * - `unsettled`: in the pipeline
 * - `behind`: in the pipeline, waiting for another record of its key there
 * - `resting`: in the pipeline, waiting for the end of a rebalance
 * - `routing`: failed, on its failure route
 * - `held`: kept by a step of its route for an unlimited time
 * - `unroutable`: failed, and no step took it
 * - `not-due`: a retry whose time has not come
 * - `done`: completed
 */
export type DeliveryPhase =
  | 'waiting'
  | 'left'
  | 'fenced'
  | 'unsettled'
  | 'behind'
  | 'resting'
  | 'routing'
  | 'held'
  | 'unroutable'
  | 'not-due'
  | 'done'

/** Whether a client is giving up partitions: work that has not begun is better left to their next owner. */
export interface Rebalances {
  /** True from the beginning of a rebalance until this member has its new assignment. */
  readonly underWay: boolean
  /** Emits whenever `underWay` changes. */
  readonly changes: Observable<unknown>
}

/**
 * The source of a pipeline's records. An operator with more records than it can begin soon suspends it, so that the rest
 * waits in Kafka. Each `suspend` is ended by one `resume`. Records may still arrive meanwhile, such as retries.
 */
export interface Supply {
  suspend(): void
  resume(): void
}

/** The assignment that a delivery belongs to, as operators see it. */
export interface DeliveryOwner {
  /** Where the record was read; without suffix. */
  readonly topic: string
  /** Where the record was read. */
  readonly partition: number
  /** The partition was revoked or lost, or the client closed: settling has no effect any more. */
  readonly ended: boolean
  /** A rebalance may revoke the partition: no work of it should begin until that is decided. */
  readonly givingUp: boolean
  /** One object per client, shared by all of its assignments. */
  readonly rebalances: Rebalances
  /** The client, as tracing channels name it. Absent if an earlier version of this package made the owner. */
  readonly client?: ClientMessage
  /** Absent: the topic is read for several pipelines, so it is not suspended for one of them. */
  readonly supply?: Supply | undefined
}

/** A `fail` after an `ack` of the same delivery, or an `ack` after a `fail`. The first call counts. */
export interface Outrun {
  /** The call that counts. */
  readonly first: 'ack' | 'fail'
  /** The call that changed nothing. */
  readonly then: 'ack' | 'fail'
  /** The reason passed to `fail`. */
  readonly reason: unknown
}

/**
 * Where a record of this package keeps its {@link Delivery}. A registered symbol, because a program may hold two copies of
 * this package.
 */
export const delivery: unique symbol = Symbol.for('rxmika.delivery') as never

/**
 * What operators that keep records waiting, such as `handle`, `latest` and `fork`, use of a record.
 *
 * `deliveryBehind(record)` returns it; undefined for a record that no client delivered, such as one made by a test.
 */
export interface Delivery {
  /** The assignment that it belongs to. */
  readonly owner: DeliveryOwner
  /** The key of the record. */
  readonly key: Buffer | null
  /** All headers, this library's own included. */
  readonly headerPairs: readonly HeaderPair[]
  /** True once it was acked or failed, or can no longer be. */
  readonly settled: boolean
  /** Its state. */
  readonly phase: DeliveryPhase
  /** Failed by a call of `fail` other than that of `handle`. */
  readonly failedByHand?: boolean
  /** How often `redeliver` has delivered the record again before this delivery. */
  readonly redeliveries: number
  /** True: the record is settled together with others, so its own `ack()` may not complete it. */
  readonly shared: boolean
  /** Whether both are deliveries of one record under one assignment: `redeliver` makes the second. */
  isSameRecord(other: Delivery): boolean
  /** Whether this record was read before the other one, under the same assignment. */
  precedes(other: Delivery): boolean
  /** Calls back once the record, or a redelivery of it, is completed or its assignment has ended; at once if that is so already. */
  whenDone(done: () => void): void
  /**
   * Exempts the record from the waits of rebalances and graceful closes until `release`. `behind`: its turn may be far off.
   * `resting`: its work begins after the rebalance, and a graceful close still waits for it.
   */
  hold(phase: 'behind' | 'resting'): void
  /** Ends the exemption. Returns false if the assignment has ended. */
  release(): boolean
  /** Reports that a record handed out in place of this one was settled a second time, in the other way. */
  outrun(outrun: Outrun): void
  /**
   * For an operator that hands out its own records in place of this one: leak detection then asks the holder. Its `deref`
   * returns undefined once an unsettled one of them can no longer be reached.
   */
  handOut(holder: RecordHolder): void
}

/** Represents the records that were handed out in place of another record. */
export interface RecordHolder {
  /** Returns undefined once an unsettled one of them can no longer be reached. */
  deref(): unknown
  /** Whether an unsettled one of them can still be reached. Default: false. */
  readonly isBusy?: boolean
  /** Fails those that can no longer be reached. Default: the record that they replace fails. */
  failLost?(reason: unknown, options: FailOptions): void
}

/** Returns the delivery behind a record, mapped or not; undefined for a record that no client delivered. */
export function deliveryBehind(record: unknown): Delivery | undefined {
  return (record as { readonly [delivery]?: Delivery } | null | undefined)?.[delivery]
}

/** The options of `ConsumeRecord.fail`. */
export interface FailOptions {
  /** False: straight to the dead-letter step. Default: true. */
  readonly retry?: boolean | undefined
}

const knownOfFail: KnownOptions<FailOptions> = { retry: true }

/** @throws ConfigurationError. Without this check, a misspelled `retry: false` would silently retry the record. */
export function checkFail(options: FailOptions | undefined): void {
  if (options === undefined || options === failedByHandle) return
  checkOptions('fail', options, knownOfFail)
  const { retry } = options
  if (retry !== undefined && typeof retry !== 'boolean') throw invalid('fail: retry', retry, 'must be a boolean')
}

/** The same symbol in every copy of this package in the process. */
const byHandle: unique symbol = Symbol.for('rxmika.handle') as never

/** The options that `handle` passes to `fail`. They distinguish a handler that threw from one that called `fail` itself. */
export const failedByHandle: FailOptions = Object.freeze({ retry: true, [byHandle]: true })

export function isByHandle(
  options: { readonly retry?: boolean | undefined; readonly [byHandle]?: boolean } | undefined,
): boolean {
  return options?.[byHandle] === true
}

/** Where a record failed, as the headers of its copies say: in its decoder, in its handler, or dropped by its pipeline. */
export type FailureStage = 'decode' | 'handle' | 'pipeline'

/** The same symbol in every copy of this package in the process. */
const stage: unique symbol = Symbol.for('rxmika.stage') as never

/** The options that `decode` passes to `fail` when its decoder rejects: an ordinary failure, with its own stage. */
export const failedByDecoder: FailOptions = Object.freeze({
  retry: true,
  [stage]: 'decode',
})

/** The options with which leak detection fails a record that its pipeline dropped. */
export const failedByLeak: FailOptions = Object.freeze({
  retry: true,
  [stage]: 'pipeline',
})

export function failureStage(
  options: { readonly retry?: boolean | undefined; readonly [stage]?: unknown } | undefined,
): FailureStage {
  const given = options?.[stage]
  return given === 'decode' || given === 'pipeline' ? given : 'handle'
}
