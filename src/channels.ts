import { AsyncResource } from 'node:async_hooks'
import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel'
import type { Observable } from 'rxjs'
import type { RxMikaError } from './errors.js'
import type { Place } from './events.js'
import type { PublishRecord, RecordMetadata } from './publish.js'
import type { ConsumeRecord } from './record.js'
import type { RoutingClient } from './routing.js'

/**
 * The fields that every message of this package's tracing channels has.
 *
 * The channels are those of Node's `diagnostics_channel`. All copies of the package in the process publish
 * on the same channels, because Node keeps channels by name.
 *
 * Every operation publishes `start` and `end` around its synchronous part. When it is over, it publishes `error` if it
 * failed, and then `asyncStart` and `asyncEnd`, also if it was over at once. Exception: operations of `rxmika:receive` and
 * `rxmika:settle` are synchronous and publish only `start` and `end`. All events of an operation carry the same message
 * object, so a subscriber can keep its own state by it.
 *
 * Nothing is allocated while no subscriber listens.
 */
export interface ClientMessage {
  /** Undefined for records that no client delivered, such as those made by tests. */
  readonly client: RoutingClient | undefined
  /** The `clientId` option of the client. Undefined where `client` is. */
  readonly clientId: string | undefined
  /** Full name, suffix included. */
  readonly group: string | undefined
}

/** Used where no client is known. */
export const noClient: ClientMessage = { client: undefined, clientId: undefined, group: undefined }

/** The message of an operation that runs user code. */
export interface SurroundingMessage {
  /**
   * A subscriber of `start` may set this function. User code is then called through it, in a context that only a function
   * can establish, such as OpenTelemetry's `context.with(…)`. It must call its argument once and return the result. A
   * subscriber that finds one already set must call it inside its own.
   */
  within?: (<T>(work: () => T) => T) | undefined
}

/** `rxmika:receive`: one record is emitted to the pipeline of its topic. Includes what the pipeline does synchronously. */
export interface ReceiveMessage extends ClientMessage, SurroundingMessage {
  /** The emitted record. */
  readonly record: ConsumeRecord
}

/** `rxmika:process`: one call of a handler by `handle`, from its beginning until its records are settled. */
export interface ProcessMessage extends ClientMessage, SurroundingMessage {
  /** The record; for a batch the first one. */
  readonly record: ConsumeRecord<unknown>
  /** All records of the call. */
  readonly records: readonly ConsumeRecord<unknown>[]
  /** True: the handler was called with an array. */
  readonly batch: boolean
  /** The result of the handler. */
  result?: unknown
  /** The reason of the failure, published with `error`. */
  error?: unknown
  /** True: the call was unsubscribed, or its result came too late to count. Then neither `result` nor `error` is set. */
  cancelled?: boolean
}

/** `rxmika:settle`: `ack()` or `fail()` settled a record. Calls that change nothing are not published. */
export interface SettleMessage extends ClientMessage {
  /** The settled record. */
  readonly record: ConsumeRecord
  /** Which of the two settled it. */
  readonly how: 'ack' | 'fail'
  /** The reason passed to `fail`. */
  readonly reason: unknown
}

/**
 * `rxmika:publish`: one call of `publish`, from its subscription until the broker has acknowledged every record; or one copy
 * on a retry or DLQ topic.
 */
export interface PublishMessage extends ClientMessage {
  /**
   * The published records, with topics as users name them. A subscriber of `start` may replace them by records with more
   * headers. Empty for a copy, which is written byte for byte.
   */
  records: readonly PublishRecord[]
  /** Where the records go; each topic once. */
  readonly topics: readonly string[]
  /** For a copy on the retry or DLQ topic: the record that failed, or that was read from the DLQ topic. */
  readonly copyOf: ConsumeRecord<unknown> | undefined
  /** Where the records were written, in the order of `records`. */
  result?: readonly RecordMetadata[]
  /** The reason of the failure, published with `error`. */
  error?: unknown
  /** True: no subscriber waits for it any more. The records may have been written all the same. */
  cancelled?: boolean
}

/** `rxmika:commit`: one OffsetCommit request. */
export interface CommitMessage extends ClientMessage {
  /** For each partition the next offset to read, with topics as users name them. */
  readonly positions: readonly Place[]
  /** The `CommitError`, published with `error`. */
  error?: unknown
  /** True: the client was closed before the broker answered. */
  cancelled?: boolean
}

/** One partition, with the topic as users name it. */
export interface PartitionPlace {
  /** The topic, without the suffix. */
  readonly topic: string
  /** The partition of the topic. */
  readonly partition: number
}

/**
 * `rxmika:rebalance`: from the moment when the first partition may be revoked until this member has its new assignment. Its
 * lists grow meanwhile.
 */
export interface RebalanceMessage extends ClientMessage {
  /** Partitions that may be revoked; the rebalance waits for their records in flight. Empty at the first assignment. */
  readonly revoking: PartitionPlace[]
  /** Partitions that were revoked; complete at `asyncEnd`. */
  readonly revoked: PartitionPlace[]
  /** Partitions that were taken away without a chance to commit. */
  readonly lost: PartitionPlace[]
  /** Newly assigned partitions. */
  readonly added: PartitionPlace[]
  /** Partitions that continue where they were. */
  readonly retained: PartitionPlace[]
  /** True: the client was closed before the rebalance was over. */
  cancelled?: boolean
}

type Channel<M extends object> = TracingChannel<unknown, M>

export const receiveChannel = tracingChannel('rxmika:receive') as Channel<ReceiveMessage>
export const processChannel = tracingChannel('rxmika:process') as Channel<ProcessMessage>
export const settleChannel = tracingChannel('rxmika:settle') as Channel<SettleMessage>
export const publishChannel = tracingChannel('rxmika:publish') as Channel<PublishMessage>
export const commitChannel = tracingChannel('rxmika:commit') as Channel<CommitMessage>
export const rebalanceChannel = tracingChannel('rxmika:rebalance') as Channel<RebalanceMessage>

/** Runs `work` as a synchronous operation: `start`, then `work` within the stores of `start`, then `end`. */
export function traceSync<M extends object, T>(channel: Channel<M>, message: M, work: () => T): T {
  const { start, end } = channel
  return start.runStores(message, () => {
    try {
      return surrounded(message, work)
    } finally {
      end.publish(message)
    }
  })
}

/** How an operation ended. */
interface OperationMessage {
  result?: unknown
  error?: unknown
  cancelled?: boolean
}

/** An asynchronous operation: `run` begins it, and the first call that ends it publishes the only `asyncEnd`. */
export class Operation<M extends OperationMessage> {
  #over = false
  readonly #outside = AsyncResource.bind((work: () => void) => work())
  #inside: ((work: () => unknown) => unknown) | undefined

  constructor(
    readonly channel: Channel<M>,
    readonly message: M,
  ) {}

  /** The synchronous part, within the stores of `start`. */
  run<T>(work: () => T): T {
    return traceSync(this.channel, this.message, () => {
      this.#inside = AsyncResource.bind((inner: () => unknown) => inner())
      return work()
    })
  }

  /** Runs more of the operation's work, in the context of `run`. */
  again<T>(work: () => T): T {
    return (this.#inside === undefined ? work() : this.#inside(work)) as T
  }

  /** Runs work that is not part of the operation, in the context it was begun from, so that later work does not nest in it. */
  outside(work: () => void): void {
    this.#outside(work)
  }

  succeeded(result: M['result'], settle?: () => void): void {
    if (!this.#over) this.message.result = result
    this.done(settle)
  }

  /** Ends the operation. `settle` runs between `asyncStart` and `asyncEnd`. */
  done(settle?: () => void): void {
    if (this.#over) return settle?.()
    this.#over = true
    const { asyncStart, asyncEnd } = this.channel
    asyncStart.publish(this.message)
    try {
      settle?.()
    } finally {
      asyncEnd.publish(this.message)
    }
  }

  failed(error: unknown, settle?: () => void): void {
    if (!this.#over) {
      this.message.error = error
      this.channel.error.publish(this.message as M & { error: unknown })
    }
    this.done(settle)
  }

  cancelled(): void {
    if (this.#over) return
    this.message.cancelled = true
    this.done()
  }
}

/** `within` comes from instrumentation. If it throws before it has called the work, the work is called without it. */
function surrounded<T>(message: SurroundingMessage, work: () => T): T {
  const { within } = message
  if (within === undefined) return work()
  let called = false
  const once = () => {
    called = true
    return work()
  }
  try {
    return within(once)
  } catch (error) {
    if (called) throw error
    return work()
  }
}

/**
 * The property with the data that tools, such as the inspector, need from a client in addition to its public API. The symbol is
 * the same in every copy of this package in the process, because a tool of one copy may get a client of another.
 */
export const onlooker: unique symbol = Symbol.for('rxmika.onlooker') as never

/** The data that such a tool gets from a client. */
export interface Onlooker {
  readonly clientId: string
  /** Full name, suffix included. */
  readonly group: string | undefined
  /** As users name them. */
  readonly retryTopic: string | undefined
  readonly dlqTopic: string | undefined
  /** As `client.errors`, but only later ones. Errors that are kept for the first subscriber of `client.errors` stay kept for it. */
  readonly errors: Observable<RxMikaError>
}
