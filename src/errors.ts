import { placeName } from './place.js'
import { readableError } from './readable.js'
import type { ConsumeRecord } from './record.js'

/** The same symbol in every copy of this package in the process. */
const errorBrand: unique symbol = Symbol.for('rxmika.error') as never

/**
 * The errors of this library. Each has a stable `code`, says what happened and where, and keeps the original in `cause`.
 */
export class RxMikaError extends Error {
  /** Stable, for programs: `RXMIKA_` and the failure in capitals. */
  readonly code: string

  get [errorBrand](): true {
    return true
  }

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.name = new.target.name
  }

  /** For logs: offsets as text, the cause by its name and message. */
  toJSON(): unknown {
    return readableError(this)
  }
}

/** An option, an environment key or a topic name is invalid. The message has the name and the value, never a password. */
export class ConfigurationError extends RxMikaError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('RXMIKA_CONFIGURATION', message, options)
  }
}

/** The topic is registered already, by its name or by a pattern. */
export class TopicAlreadyRegisteredError extends RxMikaError {
  constructor(
    /** What was registered, as its caller named it. */
    readonly topic: string,
  ) {
    super(
      'RXMIKA_TOPIC_ALREADY_REGISTERED',
      `topic '${topic}' is registered already; keep the Observable of the first call, and pipe it through fork(…) to handle each record in several ways`,
    )
  }
}

/** `pause`, `resume` or `seek` was called for a topic that is not registered. */
export class TopicNotRegisteredError extends RxMikaError {
  constructor(
    /** What was asked for, as its caller named it. */
    readonly topic: string,
  ) {
    super(
      'RXMIKA_TOPIC_NOT_REGISTERED',
      `topic '${topic}' is not registered; register it with client.topic('${topic}')`,
    )
  }
}

/** The stream of the topic has a subscriber already. The second subscriber gets this error. */
export class TopicAlreadySubscribedError extends RxMikaError {
  constructor(
    /** What was subscribed to, as its caller registered it. */
    readonly topic: string,
  ) {
    super(
      'RXMIKA_TOPIC_ALREADY_SUBSCRIBED',
      `topic '${topic}' has a subscriber already; to handle each record in several ways, subscribe once and pipe it through fork(…)`,
    )
  }
}

/**
 * The pipeline dropped the record without `ack()` or `fail()`. It is the reason of the record's failure with `leaks: 'fail'`,
 * and with `leaks: 'redeliver'` once the record has leaked too often. Topic, partition and offset are the place where it was read.
 */
export class LeakedRecordError extends RxMikaError {
  constructor(
    /** The topic where the record was read, without the suffix. */
    readonly topic: string,
    /** The partition where it was read. */
    readonly partition: number,
    /** The offset where it was read. */
    readonly offset: bigint,
  ) {
    super(
      'RXMIKA_LEAKED_RECORD',
      `the pipeline dropped the record at ${placeName({ topic, partition, offset })} without ack() or fail(); use keep() for filter, ` +
        'latest() for debounceTime, fork() for share, or ack what you drop',
    )
  }
}

/** `replayDlq` was called on a client without a `dlqTopic`. */
export class DlqNotConfiguredError extends RxMikaError {
  constructor() {
    super('RXMIKA_DLQ_NOT_CONFIGURED', 'there is no DLQ topic to replay; set the option dlqTopic')
  }
}

/** The client is closed, or was closed before the operation finished. `cause` is why it closed, if there is a reason. */
export class ClientClosedError extends RxMikaError {
  constructor(message = 'the client is closed', options?: { cause?: unknown }) {
    super('RXMIKA_CLIENT_CLOSED', message, options)
  }
}

/** The brokers cannot be reached, or they refuse this client (authentication, authorisation). */
export class ConnectionError extends RxMikaError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('RXMIKA_CONNECTION', message, options)
  }
}

/**
 * A partition cannot be read at present, its records cannot be decoded, or its position moved because it was not in the log.
 */
export class FetchError extends RxMikaError {
  /** The topic, if the failure concerns one. */
  readonly topic: string | undefined
  /** The partition, if the failure concerns one. */
  readonly partition: number | undefined
  /** The offset at which reading failed, if it is known. */
  readonly offset: bigint | undefined

  constructor(
    message: string,
    options?: {
      cause?: unknown
      topic?: string | undefined
      partition?: number | undefined
      offset?: bigint | undefined
    },
  ) {
    super('RXMIKA_FETCH', message, options)
    this.topic = options?.topic
    this.partition = options?.partition
    this.offset = options?.offset
  }
}

/** The broker did not confirm the commit of a position. */
export class CommitError extends RxMikaError {
  /** True: the same or a newer position can be committed later. False: no later commit of this client will be accepted. */
  readonly retriable: boolean

  constructor(message: string, options: { cause?: unknown; retriable: boolean }) {
    super('RXMIKA_COMMIT', message, options)
    this.retriable = options.retriable
  }
}

/** The broker did not acknowledge a record in time, or refused it. */
export class PublishError extends RxMikaError {
  /** True: the broker may accept the record later. False: it will never accept it as it is (too large, invalid, not authorised). */
  readonly retriable: boolean
  /** The topic that the record was published to, if the failure concerns one. */
  readonly topic: string | undefined
  /**
   * The name of Kafka's error code if the record was refused: `MESSAGE_TOO_LARGE`, `INVALID_TIMESTAMP`, `INVALID_RECORD`…
   * Undefined if it was not refused, or was refused without a reason.
   */
  readonly reason: string | undefined

  constructor(
    message: string,
    options: { cause?: unknown; retriable: boolean; topic?: string | undefined; reason?: string | undefined },
  ) {
    super('RXMIKA_PUBLISH', message, options)
    this.retriable = options.retriable
    this.topic = options.topic
    this.reason = options.reason
  }
}

/** A record's bytes are not what its decoder expects. The record fails without retries. */
export class DecodeError extends RxMikaError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('RXMIKA_DECODE', message, options)
  }
}

/** A call of a handler took longer than the `timeout` of `handle`. */
export class HandlerTimeoutError extends RxMikaError {
  constructor(message: string) {
    super('RXMIKA_HANDLER_TIMEOUT', message)
  }
}

/** No step of its topic's route took a failed record. It is held uncommitted, and commits of its partition stop there. */
export class UnroutableFailureError extends RxMikaError {
  constructor(
    /** The topic where the record was read, without the suffix. */
    readonly topic: string,
    /** The partition where it was read. */
    readonly partition: number,
    /** The offset where it was read. */
    readonly offset: bigint,
    message: string,
    options?: { cause?: unknown },
  ) {
    super('RXMIKA_UNROUTABLE_FAILURE', message, options)
  }
}

/** The record was not tried: with `keyFence`, it follows an earlier record of its key that was dead-lettered. */
export class KeyFenceError extends RxMikaError {
  constructor(
    /** The topic of the earlier record, without the suffix. */
    readonly topic: string,
    /** The partition of the earlier record, which is also that of this one. */
    readonly partition: number,
    /** The offset of the earlier record. */
    readonly offset: bigint,
  ) {
    super(
      'RXMIKA_KEY_FENCE',
      `not tried: the record of the same key at ${placeName({ topic, partition, offset })} was dead-lettered, and this one follows it`,
    )
  }
}

/** More records failed than a `breaker` allows. The topic is paused, and its failed records are held until it is resumed. */
export class FloodError extends RxMikaError {
  constructor(
    /** The topic that is paused, without the suffix. */
    readonly topic: string,
    /** How many failures the breaker allows within that time. */
    readonly failures: number,
    /** The period of the breaker, ms. */
    readonly within: number,
    options?: { cause?: unknown },
  ) {
    super(
      'RXMIKA_FLOOD',
      `more than ${failures} records of topic '${topic}' failed within ${within} ms: it is paused and its failed records ` +
        `are held; when the cause is gone, client.resume('${topic}') sends them on`,
      options,
    )
  }
}

/** A record of this group on the retry or DLQ topic whose original topic is not registered here. */
export class RecordWithoutConsumerError extends RxMikaError {
  constructor(
    /** The topic that the record was first published to, without the suffix. */
    readonly topic: string,
    message: string,
  ) {
    super('RXMIKA_RECORD_WITHOUT_CONSUMER', message)
  }
}

/** The errors of this library by their `code`. */
export interface RxMikaErrors {
  /** See {@link ConfigurationError}. */
  RXMIKA_CONFIGURATION: ConfigurationError
  /** See {@link TopicAlreadyRegisteredError}. */
  RXMIKA_TOPIC_ALREADY_REGISTERED: TopicAlreadyRegisteredError
  /** See {@link TopicNotRegisteredError}. */
  RXMIKA_TOPIC_NOT_REGISTERED: TopicNotRegisteredError
  /** See {@link TopicAlreadySubscribedError}. */
  RXMIKA_TOPIC_ALREADY_SUBSCRIBED: TopicAlreadySubscribedError
  /** See {@link LeakedRecordError}. */
  RXMIKA_LEAKED_RECORD: LeakedRecordError
  /** See {@link DlqNotConfiguredError}. */
  RXMIKA_DLQ_NOT_CONFIGURED: DlqNotConfiguredError
  /** See {@link ClientClosedError}. */
  RXMIKA_CLIENT_CLOSED: ClientClosedError
  /** See {@link ConnectionError}. */
  RXMIKA_CONNECTION: ConnectionError
  /** See {@link FetchError}. */
  RXMIKA_FETCH: FetchError
  /** See {@link CommitError}. */
  RXMIKA_COMMIT: CommitError
  /** See {@link PublishError}. */
  RXMIKA_PUBLISH: PublishError
  /** See {@link DecodeError}. */
  RXMIKA_DECODE: DecodeError
  /** See {@link HandlerTimeoutError}. */
  RXMIKA_HANDLER_TIMEOUT: HandlerTimeoutError
  /** See {@link UnroutableFailureError}. */
  RXMIKA_UNROUTABLE_FAILURE: UnroutableFailureError
  /** See {@link KeyFenceError}. */
  RXMIKA_KEY_FENCE: KeyFenceError
  /** See {@link FloodError}. */
  RXMIKA_FLOOD: FloodError
  /** See {@link RecordWithoutConsumerError}. */
  RXMIKA_RECORD_WITHOUT_CONSUMER: RecordWithoutConsumerError
  /** See {@link BatchFailure}, which has these fields. */
  RXMIKA_BATCH_FAILURE: RxMikaError & {
    readonly failures: readonly (readonly [record: ConsumeRecord<unknown>, reason: unknown])[]
  }
  /** See {@link MalformedHeadersError}. */
  RXMIKA_MALFORMED_HEADERS: RxMikaError
  /** A second `replayDlq` of a client, while its first one is subscribed. */
  RXMIKA_REPLAY_RUNNING: RxMikaError
}

/**
 * Returns whether `error` is an error of this library, and has the given code if one is given.
 *
 * Works across several copies of the package in one process, where `instanceof` does not: a program loads two copies if it
 * both imports and requires the package, or depends on two versions of it.
 */
export function isRxMikaError(error: unknown): error is RxMikaError
export function isRxMikaError<C extends keyof RxMikaErrors>(error: unknown, code: C): error is RxMikaErrors[C]
export function isRxMikaError(error: unknown, code?: string): error is RxMikaError {
  if (typeof error !== 'object' || error === null) return false
  try {
    const { [errorBrand]: branded, code: found } = error as Partial<RxMikaError>
    return branded === true && (code === undefined || found === code)
  } catch {
    // A record may fail with any value: a proxy, or an object whose getters throw.
    return false
  }
}
