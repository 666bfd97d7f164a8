import type { Logger } from 'pino'
import type { Observable, OperatorFunction } from 'rxjs'
import type { Driver, StartFrom } from '../driver.js'
import type { RxMikaError } from '../errors.js'
import type { ClientEvent, ClientState, Stall } from '../events.js'
import type { Completed, Failed } from '../failure.js'
import type { Decoder } from '../operators/decode.js'
import type { PublishRecord, RecordMetadata } from '../publish.js'
import type { ConsumeRecord } from '../record.js'
import type { Backoff } from '../retry/backoff.js'
import type { RoutingClient } from '../routing.js'
import type { KeyFenceOptions } from './key-fence.js'

export type Environment = Readonly<Record<string, string | undefined>> | ((name: string) => string | undefined)

export interface SaslOptions {
  readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'
  readonly username: string
  readonly password: string
}

/** TLS as `node:tls` takes it: `ca`, `cert`, `key`, `rejectUnauthorized`…; true for the defaults. */
export type SslOptions = boolean | import('node:tls').ConnectionOptions

export type CodecName = 'gzip' | 'snappy' | 'lz4' | 'zstd'
export type Codecs = { readonly [name in CodecName]?: (compressed: Buffer) => Buffer }

export interface ClientOptions {
  /** Where the keys named below are read when an option is absent; default `process.env`. */
  readonly env?: Environment
  /** `KAFKA_BROKERS`, comma-separated; default `localhost:29092`. */
  readonly brokers?: readonly string[]
  /** `KAFKA_TLS_ENABLED`. */
  readonly ssl?: SslOptions
  /** `KAFKA_SASL_MECHANISM`, `KAFKA_SASL_USERNAME`, `KAFKA_SASL_PASSWORD`. */
  readonly sasl?: SaslOptions
  /** For partitions where the group has no commit; default `'earliest'`. `KAFKA_CONSUMER_START_FROM`, RFC 3339. */
  readonly startFrom?: StartFrom
  /** Appended to the group and to every topic name. `KAFKA_GLOBAL_SUFFIX`. */
  readonly suffix?: string
  readonly clientId?: string
  /** Without a group every partition is read from `startFrom` and nothing is committed. */
  readonly group?: string
  readonly retryTopic?: string
  readonly dlqTopic?: string
  /** Aborted, the client closes at once and reports why. */
  readonly signal?: AbortSignal
  /** Default: pino at `info`; false for none. */
  readonly logger?: Logger | false
  /** Default: kafkajs. */
  readonly driver?: Driver
  /** At most one offset commit per this many ms; default 100. */
  readonly commitInterval?: number
  /** How long records in flight may take to settle before partitions are given up, ms; default 10,000. */
  readonly rebalanceTimeout?: number
  /** ms; default 30,000. */
  readonly sessionTimeout?: number
  /** ms; default 3,000. */
  readonly heartbeatInterval?: number
  /** A position held back this long is reported as stalled, ms; default 60,000. */
  readonly stallAfter?: number
  /** Decompression beyond gzip and snappy, and zstd where Node has it. */
  readonly codecs?: Codecs
}

export interface TopicOptions {
  /** How often a failed record is tried again through the retry topic; default 0. */
  readonly retries?: number
  /** Failed records, their retries used up, go to the DLQ topic; default false. */
  readonly dlq?: boolean
  /** The delay before each retry; default none. */
  readonly backoff?: Backoff
  /** Records per partition delivered and not completed; the rest waits in Kafka. Default 10,000. */
  readonly maxInFlight?: number
  /** Nothing more of a partition is delivered before the fetched batch is completed and committed. */
  readonly batch?: boolean
  /**
   * Keeps the order of each key through failures: one record of a key is delivered at a time, and the next once that one
   * is completed, be it acked, dead-lettered or discarded. `retries` are made here and not through the retry topic, where
   * the order would be lost; `attempt` begins anew after a rebalance or a restart. Records of other keys, and those
   * without one, go on, within `maxInFlight`. Default: none, records are delivered as they are read.
   */
  readonly keyFence?: KeyFenceOptions
  /** The topic's own failure route; replaces the one made of `retries`, `backoff` and `dlq`. */
  readonly onFail?: OperatorFunction<Failed, Completed>
}

export interface CloseOptions {
  /** ms; default 30,000. */
  readonly timeout?: number
  /** Aborted, goes on as `close()`. */
  readonly signal?: AbortSignal
}

export interface CloseReport {
  /** Everything delivered was completed. */
  readonly drained: boolean
  /** Delivered and not completed, routing included; retries not yet due excluded. */
  readonly unsettled: number
}

export interface DlqReplayOptions {
  /** `'caught-up'` (default): up to the end the DLQ topic had at subscription. `'forever'`: goes on. */
  readonly until?: 'caught-up' | 'forever'
  /**
   * False leaves one of this group's records out: it is not delivered, but written to the end of its DLQ partition byte
   * for byte, this library's headers included, and completed once that copy is acknowledged; so a later replay finds it
   * there. It counts as `skipped`. The record is to be looked at, not settled. When the filter throws, the replay errors
   * with that, and the record and all after it stay where they are.
   *
   * With `until: 'forever'` what was left out is not read again before something else is written to the topic, which is
   * looked for every second; then all of it is gone through once more.
   */
  readonly filter?: (record: ConsumeRecord) => boolean
}

export interface DlqReplayProgress {
  /** This group's records handed to their topics' streams. */
  readonly delivered: number
  /** Other groups' records, and this group's that the filter left out. */
  readonly skipped: number
  /** Offsets below the end that are not completed yet; an upper bound where the log has gaps. */
  readonly remaining: number
}

/** A connection to Kafka whose topics are Observables. Made by `createClient`. */
export interface Client extends RoutingClient, AsyncDisposable {
  /**
   * Registers a topic. Subscribing delivers its records, unsubscribing pauses it; one subscriber at a time. Records that
   * an ended subscription left unsettled are delivered again, in order, to the next one.
   *
   * @throws TopicAlreadyRegisteredError, ConfigurationError
   */
  topic(name: string, options?: TopicOptions): Observable<ConsumeRecord>
  topic<T>(name: string, options: TopicOptions & { readonly decode: Decoder<T> }): Observable<ConsumeRecord<T | null>>
  /** Connects, joins and delivers. Idempotent. Returns `errors`. */
  start(): Observable<RxMikaError>
  /** Everything that goes wrong, as it does; the error that closes the client comes last. Completes once closed. */
  readonly errors: Observable<RxMikaError>
  readonly events: Observable<ClientEvent>
  /** Begins with the current state. */
  readonly state: Observable<ClientState>
  readonly currentState: ClientState
  /**
   * Publishes on subscription; emits once every record is acknowledged, their places in the order given. Needs no
   * `start()`. Errors with `PublishError`, or `ClientClosedError` once closed. `timeout`: ms, default 30,000.
   */
  publish(
    records: PublishRecord | readonly PublishRecord[],
    options?: { readonly timeout?: number },
  ): Observable<RecordMetadata[]>
  /** @throws TopicNotRegisteredError */
  pause(topic: string): void
  /** @throws TopicNotRegisteredError */
  resume(topic: string): void
  /**
   * While subscribed, this group's records on the DLQ topic are delivered to the streams of their original topics. It
   * concerns the DLQ partitions that this member has or gains: run it on every instance.
   *
   * @throws DlqNotConfiguredError
   */
  replayDlq(options?: DlqReplayOptions): Observable<DlqReplayProgress>
  /** Every partition whose committed position is held back, and why. */
  stalls(): Stall[]
  /** Stops now; commits what is completed; leaves the group. */
  close(): Promise<CloseReport>
  /** Delivers nothing new, waits for what was delivered, commits, leaves the group. On timeout goes on as `close()`. */
  closeGracefully(options?: CloseOptions): Promise<CloseReport>
  /** Resolves when fully closed, however that came about; never rejects. */
  readonly closed: Promise<CloseReport>
}
