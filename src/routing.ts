import type { Observable } from 'rxjs'
import type { Clock } from './clock.js'
import type { FloodError, PublishError, RxMikaError } from './errors.js'
import type { ClientEvent } from './events.js'
import type { Failed } from './failure.js'
import type { ProduceResult } from './produce-result.js'
import type { ProduceRecord } from './publish.js'

/**
 * Where a client keeps what the steps of failure routes need of it. The same symbol in every copy of this package in
 * the process: a step of one copy may be given a client of another.
 */
export const routing: unique symbol = Symbol.for('rxmika.routing') as never

/** A client, as the steps of failure routes take it. */
export interface RoutingClient {
  readonly [routing]: Routing
}

/** A copy on its way, and who waits for it: one object a copy, for tens of thousands may wait at once. */
export interface CopyObserver {
  /** Makes the copy, when it is sent; anew where something was conceded. */
  copy(): ProduceRecord
  /** False: nobody does any more, and the copy is not tried again. */
  readonly wanted: boolean
  /** Called once; with undefined where the copy was given up, for its record is no longer ours. */
  settle(outcome: ProduceResult | undefined): void
  /** True: the refused copy is made anew, without what it was refused for, and sent again. Called before `settle`. */
  concede(refusal: PublishError): boolean
}

/** Raised with every change of `Routing` that steps of another version would not survive. */
export const routingContract = 2

/** The topic whose route is being built. */
export interface RouteTopic {
  /** As users name it. */
  readonly name: string
  /** It keeps keys in order (`keyFence`). */
  readonly keepsPlaces: boolean
}

export interface Routing {
  /** {@link routingContract} of the client's copy. */
  readonly contract: number
  /** Full names, suffix included. */
  readonly group: string | undefined
  readonly retryTopic: string | undefined
  readonly dlqTopic: string | undefined
  readonly clock: Clock
  /** Set while a topic is registered and the steps of its route are built: those that do not fit it throw. */
  readonly building: RouteTopic | undefined
  /** A user's topic name with the suffix. */
  fullName(topic: string): string
  /**
   * Publishes a failed record's copy and tells once the broker has acknowledged it. What the broker may accept later is
   * tried again for as long as the record is ours. What the broker never accepts is a `PublishError` with
   * `retriable: false`, unless the observer concedes something.
   *
   * The copy is made when it is sent, for tens of thousands may wait for their turn; and for them, too, it takes an
   * observer and does not return an Observable. It has the record's key, which decides its partition.
   *
   * @param topic The copy's, in full.
   */
  publishCopy(topic: string, failed: Failed, observer: CopyObserver): void
  /** Whether anybody is told of events; most are per record. */
  readonly observed: boolean
  /** Its topic keeps keys in order (`keyFence`): the record must not leave its place before it is done with. */
  keepsItsPlace(failed: Failed): boolean
  /** Why the record must not be dead-lettered: its topic's `keyFence` cannot remember one more key. */
  fenceIsFull(failed: Failed): RxMikaError | undefined
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
