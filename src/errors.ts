import { placeName } from './place.js'
import { readableError } from './readable.js'

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

export class TopicAlreadyRegisteredError extends RxMikaError {
  constructor(readonly topic: string) {
    super(
      'RXMIKA_TOPIC_ALREADY_REGISTERED',
      `topic '${topic}' is registered already; keep the Observable of the first call, and pipe it through fork(…) to handle each record in several ways`,
    )
  }
}

export class TopicNotRegisteredError extends RxMikaError {
  constructor(readonly topic: string) {
    super(
      'RXMIKA_TOPIC_NOT_REGISTERED',
      `topic '${topic}' is not registered; register it with client.topic('${topic}')`,
    )
  }
}

export class TopicAlreadySubscribedError extends RxMikaError {
  constructor(readonly topic: string) {
    super(
      'RXMIKA_TOPIC_ALREADY_SUBSCRIBED',
      `topic '${topic}' has a subscriber already; to handle each record in several ways, subscribe once and pipe it through fork(…)`,
    )
  }
}

/**
 * The pipeline dropped the record without `ack()` or `fail()`. Emitted with `leaks: 'fail'` and `leaks: 'redeliver'`.
 * Topic, partition and offset are the place where it was read.
 */
export class LeakedRecordError extends RxMikaError {
  constructor(
    readonly topic: string,
    readonly partition: number,
    readonly offset: bigint,
  ) {
    super(
      'RXMIKA_LEAKED_RECORD',
      `the pipeline dropped the record at ${placeName({ topic, partition, offset })} without ack() or fail(); use keep() for filter, ` +
        'latest() for debounceTime, fork() for share, or ack what you drop',
    )
  }
}

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

export class FetchError extends RxMikaError {
  readonly topic: string | undefined
  readonly partition: number | undefined
  readonly offset: bigint | undefined

  constructor(message: string, options?: { cause?: unknown; topic?: string; partition?: number; offset?: bigint }) {
    super('RXMIKA_FETCH', message, options)
    this.topic = options?.topic
    this.partition = options?.partition
    this.offset = options?.offset
  }
}

export class CommitError extends RxMikaError {
  /** True: the same or a newer position can be committed later. False: no later commit of this client will be accepted. */
  readonly retriable: boolean

  constructor(message: string, options: { cause?: unknown; retriable: boolean }) {
    super('RXMIKA_COMMIT', message, options)
    this.retriable = options.retriable
  }
}

export class PublishError extends RxMikaError {
  /** True: the broker may accept the record later. False: it will never accept it as it is (too large, invalid, not authorised). */
  readonly retriable: boolean
  readonly topic: string | undefined
  /**
   * The name of Kafka's error code if the record was refused: `MESSAGE_TOO_LARGE`, `INVALID_TIMESTAMP`, `INVALID_RECORD`…
   * Undefined if it was not refused, or was refused without a reason.
   */
  readonly reason: string | undefined

  constructor(message: string, options: { cause?: unknown; retriable: boolean; topic?: string; reason?: string }) {
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

export class HandlerTimeoutError extends RxMikaError {
  constructor(message: string) {
    super('RXMIKA_HANDLER_TIMEOUT', message)
  }
}

/** No step of its topic's route took a failed record. It is held uncommitted, and commits of its partition stop there. */
export class UnroutableFailureError extends RxMikaError {
  constructor(
    readonly topic: string,
    readonly partition: number,
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
    readonly topic: string,
    readonly partition: number,
    /** The place of the earlier record. */
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
    readonly topic: string,
    /** How many failures the breaker allows within that time. */
    readonly failures: number,
    /** Milliseconds. */
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
    readonly topic: string,
    message: string,
  ) {
    super('RXMIKA_RECORD_WITHOUT_CONSUMER', message)
  }
}

/** The error classes of this library by their `code`. */
export interface RxMikaErrors {
  RXMIKA_CONFIGURATION: ConfigurationError
  RXMIKA_TOPIC_ALREADY_REGISTERED: TopicAlreadyRegisteredError
  RXMIKA_TOPIC_NOT_REGISTERED: TopicNotRegisteredError
  RXMIKA_TOPIC_ALREADY_SUBSCRIBED: TopicAlreadySubscribedError
  RXMIKA_LEAKED_RECORD: LeakedRecordError
  RXMIKA_DLQ_NOT_CONFIGURED: DlqNotConfiguredError
  RXMIKA_CLIENT_CLOSED: ClientClosedError
  RXMIKA_CONNECTION: ConnectionError
  RXMIKA_FETCH: FetchError
  RXMIKA_COMMIT: CommitError
  RXMIKA_PUBLISH: PublishError
  RXMIKA_DECODE: DecodeError
  RXMIKA_HANDLER_TIMEOUT: HandlerTimeoutError
  RXMIKA_UNROUTABLE_FAILURE: UnroutableFailureError
  RXMIKA_KEY_FENCE: KeyFenceError
  RXMIKA_FLOOD: FloodError
  RXMIKA_RECORD_WITHOUT_CONSUMER: RecordWithoutConsumerError
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
