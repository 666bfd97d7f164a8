import type { RxMikaError } from './errors.js'
import type { Outrun } from './record.js'

/** Where in Kafka something happened. Topics as users name them, without suffix. */
export interface Place {
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
}

/** A record, by where it was read. */
export interface RecordPlace extends Place {
  /** Null also where the bytes of the record were let go. */
  readonly key: Buffer | null
  /** Where it was first published, if it was read from a retry or DLQ topic and its headers say so. */
  readonly origin?: Place
}

export type ClientState = 'idle' | 'starting' | 'running' | 'draining' | 'closed'

/**
 * Why a partition's committed position is held back:
 * `unsettled`, delivered and neither acked nor failed; `routing`, failed and its copy not yet acknowledged;
 * `unroutable`, failed and no step takes it; `not-due`, a retry waiting for its time; `no-subscriber`, its topic has
 * none; `paused`, its topic is; `committing`, completed and the commit not yet confirmed.
 */
export type StallReason = 'unsettled' | 'routing' | 'unroutable' | 'not-due' | 'no-subscriber' | 'paused' | 'committing'

/** The record that holds the position back; with `committing` the position that is committed, and a key of null. */
export interface Stall extends RecordPlace {
  readonly attempt: number
  /** When it began, ms since 1970. */
  readonly since: number
  readonly why: StallReason
}

export interface StallsOptions {
  /** True: every record that is held, not only the first of each partition; default false. */
  readonly all?: boolean | undefined
}

/**
 * What happened inside, for logs, metrics and tests. Switch on `type`. Those of one record say where it was read: for a retry
 * that is the retry topic, for a replayed one the DLQ topic, and `origin` is where it was first published.
 */
export type ClientEvent =
  /** Reading starts at `offset`. */
  | ({ readonly type: 'assigned' } & Place)
  /** Given up in a rebalance, everything completed committed; `offset` is the committed position. */
  | ({ readonly type: 'revoked' } & Place)
  /** Taken away without a chance to commit; from `offset` on records are delivered again elsewhere. */
  | ({ readonly type: 'lost' } & Place)
  /** `seek` moved the partition: reading goes on at `offset`. `from` is where it would have gone on. */
  | ({ readonly type: 'moved'; readonly from: bigint } & Place)
  | { readonly type: 'paused'; readonly topic: string }
  | { readonly type: 'resumed'; readonly topic: string }
  /** A `breaker` paused the topic: more than `failures` of its records failed within `within` ms. */
  | { readonly type: 'tripped'; readonly topic: string; readonly failures: number; readonly within: number }
  /** The broker confirmed the position; `offset` is the next to read. */
  | ({ readonly type: 'committed' } & Place)
  /**
   * More finished work behind the position than the commit's metadata has room for: after a restart, what is in so many
   * ranges of offsets is delivered again.
   */
  | ({ readonly type: 'forgotten'; readonly ranges: number } & Place)
  /** A copy stands on the retry topic. */
  | ({ readonly type: 'retried'; readonly attempt: number; readonly reason: unknown } & RecordPlace)
  /** A copy stands on the DLQ topic. */
  | ({ readonly type: 'dead-lettered'; readonly attempt: number; readonly reason: unknown } & RecordPlace)
  | ({ readonly type: 'discarded'; readonly attempt: number; readonly reason: unknown } & RecordPlace)
  /** Another group's record on a shared retry or DLQ topic; `origin` is not known of it. */
  | ({ readonly type: 'skipped' } & RecordPlace)
  /** The position is held back for `stallAfter`. */
  | ({ readonly type: 'stalled' } & Stall)
  /** What was `stalled` is completed or committed, or its partition was revoked, lost or closed. */
  | ({ readonly type: 'unstalled' } & RecordPlace)
  /**
   * A `fail` that came after an `ack` of the same delivery, or an `ack` after a `fail`: the first one counts. Two parts of a
   * pipeline settle the same records, as with `share()` and two `handle`s.
   */
  | ({ readonly type: 'outrun' } & Outrun & RecordPlace)
  /** The pipeline dropped the record unsettled: it was garbage-collected, and nobody can settle it any more. */
  | ({ readonly type: 'leaked' } & RecordPlace)
  /** Settled after its assignment ended; it changed nothing. */
  | ({ readonly type: 'late-settlement' } & RecordPlace)
  | { readonly type: 'disconnected'; readonly error: unknown }
  | { readonly type: 'reconnected' }
  /** A driver had to begin anew. The drivers of this package never emit it. */
  | { readonly type: 'restarted'; readonly error: unknown }
  | { readonly type: 'state'; readonly state: ClientState; readonly error?: RxMikaError }
