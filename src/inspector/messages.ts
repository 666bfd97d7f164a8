import type { ClientEvent, ClientState, StallReason } from '../events.js'
import type { ClientHealth } from '../metrics.js'

// The JSON documents that `/events`, `/stalls` and `/test` send. Offsets are strings. Times are ms since 1970. Places have the
// notation of error messages (`orders-3@1042`). Values and headers of records are never sent.

/** A partition that is assigned to this client. */
export interface PartitionState {
  /** `orders-3` */
  readonly name: string
  readonly topic: string
  readonly partition: number
  readonly position: string
  readonly committed: string | null
  readonly endOffset: string | null
  readonly lag: string | null
  readonly inFlight: number
  readonly oldestUnsettledSince: number | null
  readonly delayed: number
  readonly held: number
  readonly finishedBehind: number
}

/** A record that holds a position back; one with `why: 'not-due'` is a retry that waits. See `Stall`. */
export interface StallState {
  readonly place: string
  readonly topic: string
  readonly partition: number
  readonly offset: string
  /** Where the record was first published. Null if it was read there, or if that is not known. */
  readonly origin: string | null
  /** The record's key as text, at most its first 1,024 bytes. */
  readonly key: string | null
  readonly attempt: number
  readonly since: number
  readonly why: StallReason
  readonly due: number | null
}

/** The kinds of marks in the marble diagrams. A `Mark` refers to its kind by the index in this list. */
export const markKinds = [
  'delivered',
  'acked',
  'failed',
  'retried',
  'dead-lettered',
  'discarded',
  'leaked',
  'committed',
  'assigned',
  'revoked',
  'lost',
] as const satisfies readonly ('delivered' | 'acked' | 'failed' | ClientEvent['type'])[]
export type MarkKind = (typeof markKinds)[number]

/** One mark in the diagrams: kind, index in `rows`, ms before the frame's `at`, offset, attempt. */
export type Mark = readonly [kind: number, row: number, before: number, offset: number, attempt: number]

/** Exact counts for one partition since the previous frame, including records without a mark. */
export type RowCounts = readonly [row: number, delivered: number, acked: number, failed: number]

/** An event, an error or a rebalance, with a text for people. */
export interface Happening {
  readonly at: number
  readonly type: ClientEvent['type'] | 'error' | 'rebalance'
  /** Where it happened: a record, a partition or a topic. Omitted if it concerns the whole client. */
  readonly place?: string
  /** Where the record was first published. Omitted if it was read there, or if that is not known. */
  readonly origin?: string
  /** What happened and why. */
  readonly text: string
  /** The name of the error's class. */
  readonly error?: string
  readonly attempt?: number
}

/** The happenings of one kind since `inspect` was called. */
export interface HappeningList {
  readonly count: number
  /** The newest ones, oldest first. */
  readonly newest: readonly Happening[]
}

export interface Identity {
  readonly clientId: string | null
  readonly group: string | null
  readonly retryTopic: string | null
  readonly dlqTopic: string | null
  readonly pid: number
  readonly version: 1
}

/** Counts since `inspect` was called. */
export interface HappeningCounts {
  readonly deadLetters: number
  readonly errors: number
  readonly rebalances: number
}

/** The current state of the client, sent as a whole once a second. */
export interface Standing {
  readonly happened: HappeningCounts
  readonly state: ClientState
  readonly health: ClientHealth
  readonly partitions: readonly PartitionState[]
  /** For each partition, the first record that holds back its position. */
  readonly stalls: readonly StallState[]
  readonly retries: {
    readonly waiting: number
    /** The retries that are due next. May be some seconds old if many retries wait. */
    readonly next: readonly StallState[]
  }
  readonly totals: {
    readonly delivered: number
    readonly acked: number
    readonly failed: number
    readonly retried: number
    readonly deadLettered: number
    readonly published: number
    readonly commits: number
    readonly rebalances: number
  }
}

/** The first message of a connection. */
export interface Snapshot extends Standing {
  readonly type: 'snapshot'
  readonly at: number
  /** When `inspect` was called. */
  readonly since: number
  readonly identity: Identity
  readonly deadLetters: HappeningList
  readonly errors: HappeningList
  readonly rebalances: HappeningList
  /** Names of partitions. Marks and counts refer to a partition by its index. Frames append to this list. */
  readonly rows: readonly string[]
}

/** Sent four times a second, after the snapshot. */
export interface Frame {
  readonly type: 'frame'
  readonly at: number
  /** Names of partitions that are new on this connection. The first has the index `from`. */
  readonly rows: readonly string[]
  readonly from: number
  readonly marks: readonly Mark[]
  readonly counts: readonly RowCounts[]
  /** How many of the deliveries since the previous frame have a mark: `shown` of `of`. */
  readonly sampled: { readonly shown: number; readonly of: number }
  /** Dead letters, retries, stalls, rebalances, errors and other events. At most 100; `more` counts those left out. */
  readonly happenings: readonly Happening[]
  readonly more: number
  /** The current state, once a second; null in the other frames. */
  readonly standing: Standing | null
  /** How many frames were skipped before this one, because the connection was too slow. */
  readonly missed: number
}

export type Message = Snapshot | Frame

/** The answer of `/stalls`. */
export interface StallsAnswer {
  readonly at: number
  readonly identity: Identity
  readonly state: ClientState
  readonly health: ClientHealth
  readonly stalls: readonly StallState[]
  /** How many stalls were left out. */
  readonly more: number
}

/** The answer of `/test`. */
export interface TestAnswer {
  /** The source of a test that calls `runMarbles`. Null if none can be written; then `why` has the reason. */
  readonly test: string | null
  readonly diagram: string | null
  readonly why: string | null
  /** The test contains `written` of the `of` entries in the window: deliveries, settlements and events with a mark. */
  readonly written: number
  readonly of: number
}
