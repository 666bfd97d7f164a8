import type { Observable } from 'rxjs'
import type { Clock } from './clock.js'
import type { FloodError, PublishError, RxMikaError } from './errors.js'
import type { ClientEvent } from './events.js'
import type { Failed } from './failure.js'
import type { ProduceResult } from './produce-result.js'
import type { ProduceRecord } from './publish.js'

/**
 * The key under which a client gives the steps of failure routes what they need. All copies of this package in the process
 * share the symbol, because a step of one copy may get a client of another.
 */
export const routing: unique symbol = Symbol.for('rxmika.routing') as never

/** A client, as the steps of failure routes take it. */
export interface RoutingClient {
  readonly [routing]: Routing
}

/** A copy to publish, with the callbacks of its caller. It is one object per copy, because tens of thousands may wait. */
export interface CopyObserver {
  /** Makes the copy. Called when it is sent, and again after a concession. */
  copy(): ProduceRecord
  /** False: the caller does not wait any more, and the copy is not tried again. */
  readonly wanted: boolean
  /** Called once; with undefined if the copy was given up because the record's assignment ended. */
  settle(outcome: ProduceResult | undefined): void
  /** Called before `settle` when the copy is refused. True: make the copy again, without what was refused, and send it. */
  concede(refusal: PublishError): boolean
}

/** Raised with every change of `Routing` that breaks the steps of another version. */
export const routingContract = 2

/** The topic whose route is being built. */
export interface RouteTopic {
  /** As users name it. */
  readonly name: string
  /** True: `keyFence` keeps the records of a key in order. */
  readonly keepsPlaces: boolean
}

/** What the steps of a failure route use of their client. */
export interface Routing {
  /** {@link routingContract} of the copy of this package that made the client. */
  readonly contract: number
  /** Full names, suffix included. */
  readonly group: string | undefined
  /** The full name of the retry topic. Undefined: the client has none. */
  readonly retryTopic: string | undefined
  /** The full name of the DLQ topic. Undefined: the client has none. */
  readonly dlqTopic: string | undefined
  /** Tells and measures time, virtual time in tests. */
  readonly clock: Clock
  /** Set while a topic is registered and its route is built. Steps that do not fit the topic throw. */
  readonly building: RouteTopic | undefined
  /** A user's topic name with the suffix. */
  fullName(topic: string): string
  /**
   * Publishes the copy of a failed record, and settles the observer once the broker has acknowledged it. Retriable failures
   * are retried until the record's assignment ends. A permanent refusal settles with a `PublishError` whose `retriable` is
   * false, unless the observer concedes something.
   *
   * It takes an observer, and makes the copy only when it is sent, because tens of thousands of copies may wait. The copy has
   * the record's key, which decides its partition.
   *
   * @param topic The full name of the copy's topic.
   */
  publishCopy(topic: string, failed: Failed, observer: CopyObserver): void
  /** Whether events have a subscriber. Most events are per record, so none is made without one. */
  readonly observed: boolean
  /** True: `keyFence` keeps the topic's keys in order, so the record must not leave its partition before it is completed. */
  keepsItsPlace(failed: Failed): boolean
  /** Why the record must not be dead-lettered: the topic's `keyFence` cannot hold another key. Undefined: it may be. */
  fenceIsFull(failed: Failed): RxMikaError | undefined
  /** Delivers the record again after `delay` ms, as the next attempt. */
  redeliver(failed: Failed, delay: number): void
  /** Reports the failure and holds its record uncommitted. */
  unroutable(failed: Failed, cause: unknown): void
  /**
   * Keeps the record uncommitted for an unlimited time: neither a rebalance nor a graceful close waits for it. `stalls()`
   * reports `routing`.
   */
  hold(failed: Failed): void
  /** Ends `hold`. Returns false if the assignment has ended: then the record must not go on. */
  release(failed: Failed): boolean
  /** Pauses the error's topic and reports the error; emits once the topic is resumed. */
  trip(error: FloodError): Observable<void>
  /** Closes the client with this error. */
  halt(error: RxMikaError): void
  /** Emits the event on the client's `events`. */
  event(event: ClientEvent): void
}
