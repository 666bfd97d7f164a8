import { AsyncResource } from 'node:async_hooks'
import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel'
import type { Place } from './events.js'
import type { PublishRecord, RecordMetadata } from './publish.js'
import type { ConsumeRecord } from './record.js'
import type { RoutingClient } from './routing.js'

/**
 * The tracing channels that this package publishes, by Node's own `diagnostics_channel`. Any copy of the package in the
 * process publishes on the same ones, because Node keeps channels by name.
 *
 * Every operation publishes `start` and `end` around its synchronous part, then, if it takes longer, `asyncStart` and
 * `asyncEnd` when it is over, with `error` before them if it failed; all with one and the same message object, so that a
 * subscriber can keep what belongs to it by that. Operations of `rxmika:receive` and `rxmika:settle` are synchronous and
 * have `start` and `end` alone; all others end by `asyncEnd`, also if they were over at once.
 *
 * Nothing of this is made while nobody listens.
 */
export interface ClientMessage {
  /** The client. Undefined for records that no client delivered, as tests may make them. */
  readonly client: RoutingClient | undefined
  readonly clientId: string | undefined
  /** Full name, suffix included. */
  readonly group: string | undefined
}

/** What messages have in place of a client's name, where no client is known. */
export const noClient: ClientMessage = { client: undefined, clientId: undefined, group: undefined }

/** A message of an operation that runs code of the user's. */
export interface SurroundingMessage {
  /**
   * A subscriber of `start` may set it: the code is then called through it, so that it runs in a context that only a function
   * can give, as OpenTelemetry's `context.with(…)` does. It calls what it is given once and returns what that returns. A
   * subscriber that finds one there calls it within its own.
   */
  within?: (<T>(work: () => T) => T) | undefined
}

/** `rxmika:receive`: one record is handed to the pipeline of its topic; what the pipeline does at once is within it. */
export interface ReceiveMessage extends ClientMessage, SurroundingMessage {
  readonly record: ConsumeRecord
}

/** `rxmika:process`: one call of a handler of `handle`, from its beginning until its records are settled. */
export interface ProcessMessage extends ClientMessage, SurroundingMessage {
  /** The record; of a batch the first. */
  readonly record: ConsumeRecord<unknown>
  /** All records of the call. */
  readonly records: readonly ConsumeRecord<unknown>[]
  /** The handler was given an array. */
  readonly batch: boolean
  /** What the handler resolved to. */
  result?: unknown
  /** What it failed with, with `error`. */
  error?: unknown
  /** True: it was unsubscribed, or its result came when nobody waited for it any more. Neither `result` nor `error` is there. */
  cancelled?: boolean
}

/** `rxmika:settle`: a record is settled by `ack()` or `fail()`, and the call counted. */
export interface SettleMessage extends ClientMessage {
  readonly record: ConsumeRecord
  readonly how: 'ack' | 'fail'
  /** What `fail` was given. */
  readonly reason: unknown
}

/** `rxmika:publish`: a call of `publish`, from its subscription until the broker has acknowledged every record, or a copy of one record. */
export interface PublishMessage extends ClientMessage {
  /**
   * What is published, topics as users name them. A subscriber of `start` may put others in their place that have more
   * headers. Empty for a copy, which stays byte for byte what it is.
   */
  records: readonly PublishRecord[]
  /** Where the records go; each topic once. */
  readonly topics: readonly string[]
  /** The record that was failed, or read from the DLQ topic, if this is a copy on the retry or DLQ topic. */
  readonly copyOf: ConsumeRecord<unknown> | undefined
  /** Where they were written, in their order. */
  result?: readonly RecordMetadata[]
  /** What it failed with, with `error`. */
  error?: unknown
  /** True: nobody waits for it any more. The records may have been written all the same. */
  cancelled?: boolean
}

/** `rxmika:commit`: one OffsetCommit request. */
export interface CommitMessage extends ClientMessage {
  /** The next offset to read of each partition, topics as users name them. */
  readonly positions: readonly Place[]
  /** The `CommitError`, with `error`. */
  error?: unknown
  /** True: the client was closed before the broker answered. */
  cancelled?: boolean
}

/** One partition, topic as users name it. */
export interface PartitionPlace {
  readonly topic: string
  readonly partition: number
}

/**
 * `rxmika:rebalance`: from the first partition that may be given up until this member knows what it has. Its lists grow
 * meanwhile.
 */
export interface RebalanceMessage extends ClientMessage {
  /** What may be given up: the work in flight there is waited for. Empty at the first assignment. */
  readonly revoking: PartitionPlace[]
  /** What is gone, known at `asyncEnd`. */
  readonly revoked: PartitionPlace[]
  /** What was taken away without a chance to commit. */
  readonly lost: PartitionPlace[]
  /** What is new. */
  readonly added: PartitionPlace[]
  /** What goes on where it was. */
  readonly retained: PartitionPlace[]
  /** True: the client was closed before it was over. */
  cancelled?: boolean
}

type Channel<M extends object> = TracingChannel<unknown, M>

export const receiveChannel = tracingChannel('rxmika:receive') as Channel<ReceiveMessage>
export const processChannel = tracingChannel('rxmika:process') as Channel<ProcessMessage>
export const settleChannel = tracingChannel('rxmika:settle') as Channel<SettleMessage>
export const publishChannel = tracingChannel('rxmika:publish') as Channel<PublishMessage>
export const commitChannel = tracingChannel('rxmika:commit') as Channel<CommitMessage>
export const rebalanceChannel = tracingChannel('rxmika:rebalance') as Channel<RebalanceMessage>

/** Runs `work` as a synchronous operation: `start`, the work within its stores, `end`. */
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

/** What a message says of how its operation ended. */
interface OperationMessage {
  result?: unknown
  error?: unknown
  cancelled?: boolean
}

/** An operation that takes its time: `run` begins it, and exactly one `asyncEnd` ends it, however often it is ended. */
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

  /** More of the same, in the context that `run` had. */
  again<T>(work: () => T): T {
    return (this.#inside === undefined ? work() : this.#inside(work)) as T
  }

  /** What is not part of it any more, in the context that it was begun from: what comes next must not nest in it. */
  outside(work: () => void): void {
    this.#outside(work)
  }

  succeeded(result: M['result'], settle?: () => void): void {
    if (!this.#over) this.message.result = result
    this.done(settle)
  }

  /** It is over. `settle` runs between `asyncStart` and `asyncEnd`. */
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

/** What surrounds the work is somebody's instrumentation: if it fails before it has called the work, that is called without it. */
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
