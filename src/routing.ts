import type { Observable, SchedulerLike } from 'rxjs'
import type { FloodError, RxMikaError } from './errors.js'
import type { ClientEvent } from './events.js'
import type { Failed } from './failure.js'
import type { PublishRecord, RecordMetadata } from './publish.js'

/** Where a client keeps what the steps of failure routes need of it. */
export const routing: unique symbol = Symbol('rxmika.routing')

/** What the steps of failure routes need of a client; a test may stand in for it. */
export interface RoutingClient {
  readonly [routing]: Routing
}

export interface Routing {
  /** Full names, suffix included. */
  readonly group: string | undefined
  readonly retryTopic: string | undefined
  readonly dlqTopic: string | undefined
  readonly scheduler: SchedulerLike
  /** A user's topic name with the suffix. */
  fullName(topic: string): string
  /**
   * Publishes a failed record's copy and emits once the broker has acknowledged it. What the broker may accept later is
   * tried again for as long as the record is ours; after that it completes without a value. What the broker never
   * accepts is a `PublishError` with `retriable: false`.
   */
  publishCopy(copy: PublishRecord, failed: Failed): Observable<RecordMetadata>
  /** Its topic keeps keys in order (`keyFence`): the record must not leave its place before it is done with. */
  keepsItsPlace(failed: Failed): boolean
  /** Delivers the record again after `delay` ms, as the next attempt. */
  redeliver(failed: Failed, delay: number): void
  /** Reports the failure and holds its record uncommitted. */
  unroutable(failed: Failed, cause: unknown): void
  /**
   * A step keeps the record uncommitted for as long as it may take: neither a rebalance nor a graceful close waits for it.
   * `stalls()` says `routing`.
   */
  hold(failed: Failed): void
  /** A record that was held goes on; false: it is no longer ours, and must not. */
  release(failed: Failed): boolean
  /** Pauses the error's topic and reports the error; emits once the topic is resumed. */
  trip(error: FloodError): Observable<void>
  /** Closes the client with this error. */
  halt(error: RxMikaError): void
  event(event: ClientEvent): void
}
