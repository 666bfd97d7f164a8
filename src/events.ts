import type { RxMikaError } from './errors.js'
import type { Outrun } from './record.js'

/** The place of a record or a position in Kafka. The topic is named as users name it, without the suffix. */
export interface Place {
  /** The topic, without the suffix. */
  readonly topic: string
  /** The partition of the topic. */
  readonly partition: number
  /** The offset of the record, or the next one to read if this is a position. */
  readonly offset: bigint
}

/** A record, named by the place where it was read. */
export interface RecordPlace extends Place {
  /** Null if the record has no key, or if its bytes are no longer held in memory. */
  readonly key: Buffer | null
  /** The place where it was first published. Only for records read from a retry or DLQ topic whose headers say so. */
  readonly origin?: Place
}

/** The states of a client, in their order. `draining`: it is closing; a graceful close waits for records in flight. */
export type ClientState = 'idle' | 'starting' | 'running' | 'draining' | 'closed'

/**
 * Why a partition's committed position is held back:
 * - `unsettled`: delivered, and neither acked nor failed yet
 * - `routing`: failed, and its copy is not acknowledged yet, or a step of its route holds it
 * - `unroutable`: failed, and no step of its route took it
 * - `not-due`: a retry whose time has not come
 * - `no-subscriber`: its topic has no subscriber
 * - `paused`: its topic is paused
 * - `committing`: completed, and the commit is not confirmed yet
 */
export type StallReason = 'unsettled' | 'routing' | 'unroutable' | 'not-due' | 'no-subscriber' | 'paused' | 'committing'

/** The record that holds the position back. With `committing` it is the position being committed, and `key` is null. */
export interface Stall extends RecordPlace {
  /** The attempt that the record is at; 1 is the first delivery. */
  readonly attempt: number
  /** When this began, ms since 1970. */
  readonly since: number
  /** What the position waits for. */
  readonly why: StallReason
  /** When a retry is due that is `not-due`, ms since 1970. A getter: it is not copied with the others. */
  readonly due?: number | undefined
}

/** The options of `Client.stalls`. */
export interface StallsOptions {
  /** True: return every held record. False (default): only the first of each partition. */
  readonly all?: boolean | undefined
}

/**
 * What happened inside the client, for logs, metrics and tests. Switch on `type`.
 *
 * Events of a record carry the place where it was read: the retry topic for a retry, the DLQ topic for a replayed record.
 * `origin` is the place where it was first published.
 */
export type ClientEvent =
  /** Reading starts at `offset`. */
  | ({ readonly type: 'assigned' } & Place)
  /** Revoked in a rebalance, after everything completed was committed. `offset` is the committed position. */
  | ({ readonly type: 'revoked' } & Place)
  /** Taken away without a chance to commit. Records from `offset` on are delivered again to the new owner. */
  | ({ readonly type: 'lost' } & Place)
  /** `seek` moved the partition: reading continues at `offset`. `from` is the position it had before. */
  | ({ readonly type: 'moved'; readonly from: bigint } & Place)
  /** `pause` was called for the topic, or a `breaker` paused it. */
  | { readonly type: 'paused'; readonly topic: string }
  /** `resume` was called for the topic. */
  | { readonly type: 'resumed'; readonly topic: string }
  /** A `breaker` paused the topic: more than `failures` of its records failed within `within` ms. */
  | { readonly type: 'tripped'; readonly topic: string; readonly failures: number; readonly within: number }
  /** The broker confirmed the position; `offset` is the next to read. */
  | ({ readonly type: 'committed' } & Place)
  /**
   * More records are completed behind the position than the commit's metadata can list. After a restart, the records in
   * `ranges` ranges of offsets are delivered again.
   */
  | ({ readonly type: 'forgotten'; readonly ranges: number } & Place)
  /** The broker acknowledged a copy on the retry topic. */
  | ({ readonly type: 'retried'; readonly attempt: number; readonly reason: unknown } & RecordPlace)
  /** The broker acknowledged a copy on the DLQ topic. */
  | ({ readonly type: 'dead-lettered'; readonly attempt: number; readonly reason: unknown } & RecordPlace)
  /** `discard()` gave the record up. */
  | ({ readonly type: 'discarded'; readonly attempt: number; readonly reason: unknown } & RecordPlace)
  /** A record of another group on a shared retry or DLQ topic. It has no `origin`. */
  | ({ readonly type: 'skipped' } & RecordPlace)
  /** The position has been held back for `stallAfter`. */
  | ({ readonly type: 'stalled' } & Stall)
  /** A record reported as `stalled` was completed or committed, or its partition was revoked, lost or closed. */
  | ({ readonly type: 'unstalled' } & RecordPlace)
  /**
   * A `fail` after an `ack` of the same delivery, or an `ack` after a `fail`. The first call counts. The usual cause is two
   * parts of a pipeline that settle the same records, as with `share()` and two `handle`s.
   */
  | ({ readonly type: 'outrun' } & Outrun & RecordPlace)
  /** The pipeline dropped the record unsettled: it was garbage-collected, so it can no longer be settled. */
  | ({ readonly type: 'leaked' } & RecordPlace)
  /** Settled after its assignment ended. The settlement changed nothing. */
  | ({ readonly type: 'late-settlement' } & RecordPlace)
  /** No broker can be reached. The client keeps trying by itself. */
  | { readonly type: 'disconnected'; readonly error: unknown }
  /** A broker answers again. */
  | { readonly type: 'reconnected' }
  /** The driver restarted from scratch. The drivers of this package never emit this event. */
  | { readonly type: 'restarted'; readonly error: unknown }
  /** The client changed its state; `error` is the error that closed it. */
  | { readonly type: 'state'; readonly state: ClientState; readonly error?: RxMikaError }
