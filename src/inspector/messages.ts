import type { ClientEvent, ClientState, StallReason } from '../events.js'
import type { ClientHealth } from '../metrics.js'

// What `/events` and `/stalls` send, as JSON. Offsets are texts, times ms since 1970, places as messages have them
// (`orders-3@1042`). Nothing of a value or a header is ever sent.

/** A partition that is read here. */
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

/** What holds a position back, or a retry that waits for its time. */
export interface StallState {
  readonly place: string
  readonly topic: string
  readonly partition: number
  readonly offset: string
  /** Where it was first published, if it was read elsewhere. */
  readonly origin: string | null
  /** As text, at most the first 1,024 bytes. */
  readonly key: string | null
  readonly attempt: number
  readonly since: number
  readonly why: StallReason
  readonly due: number | null
}

/** Kinds of marks; a mark has its index in this list. */
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

/** One mark of the picture: kind, index in `rows`, ms before the frame's `at`, offset, attempt. */
export type Mark = readonly [kind: number, row: number, before: number, offset: number, attempt: number]

/** What happened in one partition since the frame before, all of it counted. */
export type RowCounts = readonly [row: number, delivered: number, acked: number, failed: number]

/** Something that is told one by one, newest last. */
export interface Happening {
  readonly at: number
  readonly type: ClientEvent['type'] | 'error' | 'rebalance'
  /** Where it happened, if it has a place. */
  readonly place?: string
  /** Where the record was first published, if that is elsewhere. */
  readonly origin?: string
  /** For people: what and why. */
  readonly text: string
  /** The name of an error's class. */
  readonly error?: string
  readonly attempt?: number
}

/** What was told since `inspect` was called. */
export interface Told {
  readonly count: number
  /** The newest of them, in their order. */
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

/** How much was told since `inspect` was called. */
export interface ToldCounts {
  readonly deadLetters: number
  readonly errors: number
  readonly rebalances: number
}

/** What changes slowly; sent as a whole. */
export interface Standing {
  readonly told: ToldCounts
  readonly state: ClientState
  readonly health: ClientHealth
  readonly partitions: readonly PartitionState[]
  /** The first of each partition. */
  readonly stalls: readonly StallState[]
  readonly retries: {
    readonly waiting: number
    /** Those that are due next, as far as they are known. */
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
  readonly deadLetters: Told
  readonly errors: Told
  readonly rebalances: Told
  /** Names of partitions; a mark and a count name one by its index. Frames add to it. */
  readonly rows: readonly string[]
}

/** Four a second. */
export interface Frame {
  readonly type: 'frame'
  readonly at: number
  /** Names that this connection does not have yet; the first of them has the index `from`. */
  readonly rows: readonly string[]
  readonly from: number
  readonly marks: readonly Mark[]
  readonly counts: readonly RowCounts[]
  /** How many deliveries have a mark, of how many. */
  readonly sampled: { readonly shown: number; readonly of: number }
  /** What happened one by one: dead letters, retries, stalls, rebalances, errors. At most 100; `more` were left out. */
  readonly happenings: readonly Happening[]
  readonly more: number
  /** Every second. */
  readonly standing: Standing | null
  /** Frames that this connection was too slow for, since the one before. */
  readonly missed: number
}

export type Message = Snapshot | Frame

/** What `/stalls` answers. */
export interface StallsAnswer {
  readonly at: number
  readonly identity: Identity
  readonly state: ClientState
  readonly health: ClientHealth
  readonly stalls: readonly StallState[]
  /** How many more there are. */
  readonly more: number
}

/** What `/test` answers. */
export interface TestAnswer {
  /** The text of an `it` with `runMarbles`; null: `why` says why there is none. */
  readonly test: string | null
  readonly diagram: string | null
  readonly why: string | null
  /** Deliveries and settlements in it, of how many in the window. */
  readonly written: number
  readonly of: number
}
