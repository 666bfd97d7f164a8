import type { Observable } from 'rxjs'
import type { ClientMessage } from './channels.js'
import type { HeaderPair } from './record-batch.js'

/**
 * Where a delivery stands: `waiting` to be handed to a subscriber, `left` by one that ended and waiting for the next, `fenced`
 * behind another of its key, `unsettled` in its pipeline, `behind` another of its key there, `resting` there until a rebalance
 * is over, `routing` after `fail`, `held` by a step of its route for as long as it may take, `unroutable` when no step took it,
 * `not-due` until its retry is, `done` when completed.
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

/** Whether a client is giving partitions up: work that has not begun is better left to whoever has them next. */
export interface Rebalances {
  readonly underWay: boolean
  readonly changes: Observable<unknown>
}

/**
 * Where a pipeline's records come from: an operator with more than it can begin soon lets the rest wait in Kafka. Each
 * `suspend` ends by a `resume`; records may come meanwhile, such as retries.
 */
export interface Supply {
  suspend(): void
  resume(): void
}

/** The assignment that a delivery belongs to, as operators see it. */
export interface DeliveryOwner {
  /** Where the record was read; without suffix. */
  readonly topic: string
  readonly partition: number
  /** The partition was revoked or lost, or the client closed: settling changes nothing any more. */
  readonly ended: boolean
  /** A rebalance may take the partition: nothing of it is to begin until that is decided. */
  readonly givingUp: boolean
  /** The client's: one object for all of its assignments. */
  readonly rebalances: Rebalances
  /** The client, as tracing channels name it. Absent from owners of an earlier version. */
  readonly client?: ClientMessage
  /** Absent: what is read there is for several pipelines, and is not held back. */
  readonly supply?: Supply | undefined
}

/** A `fail` that came after an `ack` of the same delivery, or an `ack` after a `fail`: the first one counts. */
export interface Outrun {
  readonly first: 'ack' | 'fail'
  readonly then: 'ack' | 'fail'
  /** What `fail` was given. */
  readonly reason: unknown
}

/**
 * Where a record of this package keeps its {@link Delivery}. A registered symbol, because a program may hold two copies of
 * this package.
 */
export const delivery: unique symbol = Symbol.for('rxmika.delivery') as never

/**
 * The port between a record and an operator that keeps records waiting, such as `handle`, `latest` and `fork`.
 *
 * `deliveryBehind(record)` returns it. A record that no client delivered (made by a test) has none.
 */
export interface Delivery {
  readonly owner: DeliveryOwner
  readonly key: Buffer | null
  /** All headers, this library's own included. */
  readonly headerPairs: readonly HeaderPair[]
  readonly settled: boolean
  readonly phase: DeliveryPhase
  /** Failed by a call of `fail` other than `handle`'s own. */
  readonly failedByHand?: boolean
  /** Retries without a topic (`redeliver`) that came before this delivery. */
  readonly redeliveries: number
  /** True: it is settled together with others, so its own `ack()` may not complete the record. */
  readonly shared: boolean
  /** The two are deliveries of one record under one assignment: `redeliver` made one from the other. */
  isSameRecord(other: Delivery): boolean
  /** It is a record read before the other one's, under the same assignment. */
  precedes(other: Delivery): boolean
  /** Calls back once the record, or another delivery of it here, is completed or no longer assigned here; at once if it is. */
  whenDone(done: () => void): void
  /**
   * Exempts the record from the waits of rebalances and graceful closes until `release`. `behind`: its turn may be long in
   * coming. `resting`: its work begins after the rebalance; graceful closes still wait for these.
   */
  hold(phase: 'behind' | 'resting'): void
  /** Returns false if it is no longer assigned here. */
  release(): boolean
  /** Reports a settlement that came after another, the other way, of what was handed out in its place. */
  outrun(outrun: Outrun): void
  /**
   * For an operator that hands out records of its own in place of this one: leak detection asks the holder. Its `deref`
   * returns undefined as soon as one of them that is not settled can no longer be reached.
   */
  handOut(holder: RecordHolder): void
}

/** What stands for records that were handed out in place of another. */
export interface RecordHolder {
  /** Undefined once one of them that is not settled can no longer be reached. */
  deref(): unknown
  /** Whether one that is not settled can still be reached. Default: false. */
  readonly isBusy?: boolean
  /** Fails those that can no longer be reached. Default: the record that they stand for fails. */
  failLost?(reason: unknown, options: { readonly retry?: boolean }): void
}

/** The delivery behind a record, mapped or not; undefined for a record that no client delivered. */
export function deliveryBehind(record: unknown): Delivery | undefined {
  return (record as { readonly [delivery]?: Delivery } | null | undefined)?.[delivery]
}

/** The same symbol in every copy of this package in the process. */
const byHandle: unique symbol = Symbol.for('rxmika.handle') as never

/** What `handle` gives `fail`, so that a record knows a handler that throws from one that fails its record by hand. */
export const failedByHandle: { readonly retry?: boolean } = Object.freeze({ retry: true, [byHandle]: true })

export function isByHandle(options: { readonly retry?: boolean; readonly [byHandle]?: boolean } | undefined): boolean {
  return options?.[byHandle] === true
}

/** What a record was in when it failed, as its copies say: its decoder, the work of its pipeline, or nobody's hands. */
export type FailureStage = 'decode' | 'handle' | 'pipeline'

/** The same symbol in every copy of this package in the process. */
const stage: unique symbol = Symbol.for('rxmika.stage') as never

/** What `decode` gives `fail` when its decoder rejects: a failure like any other, but for where it happened. */
export const failedByDecoder: { readonly retry?: boolean } = Object.freeze({ retry: true, [stage]: 'decode' })

/** What a record fails with that its pipeline dropped unsettled. */
export const failedByLeak: { readonly retry?: boolean } = Object.freeze({ retry: true, [stage]: 'pipeline' })

export function failureStage(
  options: { readonly retry?: boolean; readonly [stage]?: unknown } | undefined,
): FailureStage {
  const of = options?.[stage]
  return of === 'decode' || of === 'pipeline' ? of : 'handle'
}
