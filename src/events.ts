import type { RxMikaError } from './errors.js'

/** Where in Kafka something happened. Topics as users name them, without suffix. */
export interface Place {
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
}

export type ClientState = 'idle' | 'starting' | 'running' | 'draining' | 'closed'

/**
 * Why a partition's committed position is held back:
 * `unsettled`, delivered and neither acked nor failed; `routing`, failed and its copy not yet acknowledged;
 * `unroutable`, failed and no step takes it; `not-due`, a retry waiting for its time; `no-subscriber`, its topic has
 * none; `paused`, its topic is; `committing`, completed and the commit not yet confirmed.
 */
export type StallReason = 'unsettled' | 'routing' | 'unroutable' | 'not-due' | 'no-subscriber' | 'paused' | 'committing'

/** Where the record was read that holds the position back. */
export interface Stall extends Place {
  /** Null also where the bytes of a retry that is not due were let go. */
  readonly key: Buffer | null
  readonly attempt: number
  /** When it began, ms since 1970. */
  readonly since: number
  readonly why: StallReason
}

/**
 * What happened inside, for logs, metrics and tests. Switch on `type`. Those of one record say where it was read: for a retry
 * that is the retry topic, for a replayed one the DLQ topic.
 */
export type ClientEvent =
  /** Reading starts at `offset`. */
  | ({ readonly type: 'assigned' } & Place)
  /** Given up in a rebalance, everything completed committed; `offset` is the committed position. */
  | ({ readonly type: 'revoked' } & Place)
  /** Taken away without a chance to commit; from `offset` on records are delivered again elsewhere. */
  | ({ readonly type: 'lost' } & Place)
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
  | ({ readonly type: 'retried'; readonly attempt: number; readonly reason: unknown } & Place)
  /** A copy stands on the DLQ topic. */
  | ({ readonly type: 'dead-lettered'; readonly attempt: number; readonly reason: unknown } & Place)
  | ({ readonly type: 'discarded'; readonly attempt: number; readonly reason: unknown } & Place)
  /** Another group's record on a shared retry or DLQ topic. */
  | ({ readonly type: 'skipped' } & Place)
  | ({ readonly type: 'stalled' } & Stall)
  | ({ readonly type: 'unstalled' } & Place)
  /** The pipeline dropped the record unsettled: it was garbage-collected, and nobody can settle it any more. */
  | ({ readonly type: 'leaked' } & Place)
  /** Settled after its assignment ended; it changed nothing. */
  | ({ readonly type: 'late-settlement' } & Place)
  | { readonly type: 'disconnected'; readonly error: unknown }
  | { readonly type: 'reconnected' }
  | { readonly type: 'restarted'; readonly error: unknown }
  | { readonly type: 'state'; readonly state: ClientState; readonly error?: RxMikaError }
