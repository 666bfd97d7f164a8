import type { Logger } from 'pino'
import type { Observable, ObservableInput, OperatorFunction } from 'rxjs'
import type { Driver, GroupProtocol, StartFrom } from '../driver.js'
import type { RxMikaError } from '../errors.js'
import type { ClientEvent, ClientState, Place, Stall, StallsOptions } from '../events.js'
import type { Completed, Failed } from '../failure.js'
import type { ClientHealth, ClientMetrics } from '../metrics.js'
import type { Decoder, Tombstones } from '../operators/decode.js'
import type { PublishRecord, RecordMetadata } from '../publish.js'
import type { ReadRecord } from '../read-record.js'
import type { ConsumeRecord } from '../record.js'
import type { Backoff } from '../retry/backoff.js'
import type { RoutingClient } from '../routing.js'
import type { SaslOptions } from '../sasl.js'
import type { KeyFenceOptions } from './key-fence.js'
import type { LogFunction } from './logger.js'

/** Environment keys and their values: an object, or a function that returns the value of a key. */
export type Environment = Readonly<Record<string, string | undefined>> | ((name: string) => string | undefined)

/** The options of `node:tls`: `ca`, `cert`, `key`, `rejectUnauthorized`…; true for the defaults. */
export type SslOptions = boolean | import('node:tls').ConnectionOptions

/** The compression codecs of Kafka's record batches. */
export type CodecName = 'gzip' | 'snappy' | 'lz4' | 'zstd'
/** Functions that decompress, by codec; see `ClientOptions.codecs`. */
export type Codecs = { readonly [name in CodecName]?: (compressed: Buffer) => Buffer }

/** What happens to records that a pipeline dropped unsettled; see `ClientOptions.leaks`. */
export type LeakAction = 'report' | 'fail' | 'redeliver'

/** The options of `createClient`. If one is absent, the environment key that its comment names is read. */
export interface ClientOptions {
  /** Where the keys below are read if an option is absent; default `process.env`. */
  readonly env?: Environment | undefined
  /** `KAFKA_BROKERS`, comma-separated; default `localhost:29092`. */
  readonly brokers?: readonly string[] | undefined
  /** `KAFKA_TLS_ENABLED`. */
  readonly ssl?: SslOptions | undefined
  /** `KAFKA_SASL_MECHANISM` (`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`), `KAFKA_SASL_USERNAME`, `KAFKA_SASL_PASSWORD`. */
  readonly sasl?: SaslOptions | undefined
  /**
   * Where to begin in partitions for which the group has no committed offset; default `'earliest'`. With `'committed'`, which
   * needs a group, the client closes with an error if a partition has none. A partition that is added to a topic later is read from
   * its beginning, unless this is a `Date`. `KAFKA_CONSUMER_START_FROM`: one of these words, or a time in RFC 3339.
   */
  readonly startFrom?: StartFrom | undefined
  /** Appended to the group and to every topic name. `KAFKA_GLOBAL_SUFFIX`. */
  readonly suffix?: string | undefined
  /** The name of this client in brokers' logs and quotas; default `rxmika`. */
  readonly clientId?: string | undefined
  /** Without a group every partition is read from `startFrom` and nothing is committed. */
  readonly group?: string | undefined
  /** The topic for retries of topics with `retries`; needs a group. Several groups may share it. */
  readonly retryTopic?: string | undefined
  /** The topic for dead letters of topics with `dlq`; needs a group, and must not be `retryTopic`. Several groups may share it. */
  readonly dlqTopic?: string | undefined
  /** When aborted, the client closes at once and reports why. */
  readonly signal?: AbortSignal | undefined
  /** A pino logger, or a function for any other logger; default: pino at `info`; false for none. */
  readonly logger?: Logger | LogFunction | false | undefined
  /** Default: a driver that connects to the brokers. */
  readonly driver?: Driver | undefined
  /** The shortest time between two offset commits, ms; default 100. */
  readonly commitInterval?: number | undefined
  /** How long a rebalance waits for records in flight to be settled, ms; default 10,000. */
  readonly rebalanceTimeout?: number | undefined
  /**
   * The group reassigns this member's partitions after this time without a heartbeat, ms; default 30,000. With the consumer
   * protocol, the brokers' `group.consumer.session.timeout.ms` (default 45 s) decides that instead. Then this option only
   * limits delivery: nothing is delivered once the group has not answered for this long, until it does. So it must not
   * exceed the brokers' value.
   */
  readonly sessionTimeout?: number | undefined
  /**
   * The interval of heartbeats, ms; must be less than `sessionTimeout`; default 3,000. Heartbeats also fetch changes of the
   * assignment. With the consumer protocol they are sent more often if the brokers say so.
   */
  readonly heartbeatInterval?: number | undefined
  /**
   * How the group is joined: `'classic'` (default), `'consumer'` (KIP-848, from Kafka 4.0 on: partitions move one by one, and
   * retained partitions continue without a pause), or `'auto'`: by the consumer protocol if the group can be joined by it, else by
   * the classic one, which is logged. Members of both kinds may be in one group.
   */
  readonly groupProtocol?: GroupProtocol | undefined
  /**
   * Static membership (`group.instance.id`, KIP-345); must be different for each member. A member that is back within the
   * session time-out gets its partitions again without a rebalance, so closing does not leave the group.
   */
  readonly instanceId?: string | undefined
  /** The location of this client (`client.rack`, KIP-392): partitions are read from the nearest replica, if brokers name one. */
  readonly rack?: string | undefined
  /** Added partitions and topics are noticed within this time, ms; default 30,000. */
  readonly metadataMaxAge?: number | undefined
  /**
   * What happens to a record that a pipeline dropped unsettled (`filter`, `switchMap`, `take`…), apart from its `leaked`
   * event. A leak is found when the record is garbage-collected.
   * - `'report'` (default): nothing. The position of its partition does not pass it.
   * - `'fail'`: it goes down its topic's route with a `LeakedRecordError` and the `stage` `pipeline`.
   * - `'redeliver'`: it is delivered again as the next attempt, at most three times; then as with `'fail'`.
   */
  readonly leaks?: LeakAction | undefined
  /**
   * Returns positions that are stored elsewhere: in a database that stores them with the results, in one transaction, so that
   * each record takes effect there exactly once. Called with the newly assigned partitions, retry and DLQ topics included;
   * the first list it returns counts. Reading begins at these positions. Partitions without one begin as if this option
   * were absent. Offsets outside the log are reported, and reading begins where `startFrom` says.
   *
   * While it throws, rejects or returns no list, these partitions are not read. Each failure is a `FetchError` on `errors`,
   * and it is called again, after 100 ms at first and 10 s at most. Offsets are still committed to the group, and never
   * lowered.
   */
  readonly positions?: PositionsOption | undefined
  /** How long a position may be held back before it is reported as stalled, ms; default 60,000. */
  readonly stallAfter?: number | undefined
  /** Decompressors, in addition to gzip and snappy, and zstd where Node has it. A record in an unknown codec closes the client. */
  readonly codecs?: Codecs | undefined
}

/** The options of `Client.topic`. */
export interface TopicOptions {
  /** How often a failed record is retried through the retry topic, which the client must have then; default 0. */
  readonly retries?: number | undefined
  /** True: records that fail for good go to the DLQ topic, which the client must have then; default false. */
  readonly dlq?: boolean | undefined
  /** The delay before each retry, ms; default none. Needs `retries`. */
  readonly backoff?: Backoff | undefined
  /**
   * The longest span of records per partition, from the first that is not completed to the last that was delivered. It counts
   * records in flight, and records completed behind an open one. Further records wait in Kafka. Default 10,000. Retries are
   * not affected: the retry topic is shared by all topics, and read with 10,000 per partition.
   */
  readonly maxInFlight?: number | undefined
  /** True: a partition delivers its next fetched batch only after the previous one is completed and committed. Not for retries. */
  readonly batch?: boolean | undefined
  /**
   * Keeps the order of each key through failures: one record of a key is delivered at a time, and the next once it is
   * completed: acked, dead-lettered or discarded. `retries` are made by redelivery and not through the retry topic, where
   * the order would be lost; `attempt` starts again at 1 after a rebalance or a restart. Records of other keys, and records
   * without a key, are delivered meanwhile, within `maxInFlight`. Default: records are delivered as they are read.
   */
  readonly keyFence?: KeyFenceOptions | undefined
  /** The failure route of the topic. It replaces the route made of `retries`, `backoff` and `dlq`, which must be absent. */
  readonly onFail?: OperatorFunction<Failed, Completed> | undefined
}

/** The options of a topic with a decoder. */
export type DecodedTopicOptions<T> = TopicOptions & {
  /** The decoder; see the operator `decode`. */
  readonly decode: Decoder<T>
  /** What happens to records whose value is null; default `'pass'`. See the option of `decode`. */
  readonly tombstones?: Tombstones | undefined
}

/** The options of `Client.read`. */
export interface ReadOptions {
  /** Default: every partition; with `until: 'forever'` this includes partitions added later. */
  readonly partitions?: readonly number[] | undefined
  /**
   * Where reading begins; default `'earliest'`. A date: at the first record that is not older, or at the end if there is none.
   * A map: at the offset of each partition. A partition that is not in the map is not read; an offset below the log's start
   * is moved to the start.
   */
  readonly from?: 'earliest' | 'latest' | Date | ReadonlyMap<number, bigint> | undefined
  /**
   * Where reading ends. `'caught-up'` (default): at the end that each partition has at subscription. A date: before the first
   * record that is not older, or as `'caught-up'` if there is none. `'forever'`: never.
   */
  readonly until?: 'caught-up' | 'forever' | Date | undefined
}

/** An offset to seek to. Without `partition`, every partition of the topic that is assigned to this member. */
export interface SeekOffset {
  /** The partition to move. Default: all of the topic that are assigned to this member. */
  readonly partition?: number | undefined
  /** The next offset to read. */
  readonly offset: bigint
}

/** A date means the first record of each partition that is not older, or the end if there is none. */
export type SeekTo = SeekOffset | 'earliest' | 'latest' | Date

/** A partition that is assigned to this client. */
export interface AssignedPartition {
  /** The topic, without the suffix. */
  readonly topic: string
  /** The partition of the topic. */
  readonly partition: number
}

/** The next offset to read of a partition, stored outside Kafka. */
export interface KeptPosition extends AssignedPartition {
  /** The next offset to read. */
  readonly offset: bigint
}

/** Returns the positions that are stored elsewhere, for those assigned partitions that have one. */
export type PositionsOption = (
  assigned: readonly AssignedPartition[],
) => ObservableInput<readonly KeptPosition[]> | readonly KeptPosition[]

/** The options of `Client.publish`. */
export interface PublishOptions {
  /** How long the brokers may take to acknowledge all records, ms; default 30,000. */
  readonly timeout?: number | undefined
}

/** The options of `Client.closeGracefully`. */
export interface CloseOptions {
  /** How long to wait for records in flight, ms; default 30,000. */
  readonly timeout?: number | undefined
  /** When aborted, closing continues as with `close()`. */
  readonly signal?: AbortSignal | undefined
}

/** The state in which a client was closed. */
export interface CloseReport {
  /** True: everything delivered was completed and committed, so `unsettled` is 0 and there is no `error`. */
  readonly drained: boolean
  /**
   * The number of records delivered and not completed: in a pipeline, left by one that ended, or on a failure route or held
   * there. Retries that are not due are excluded. These records are delivered again, here or elsewhere.
   */
  readonly unsettled: number
  /** The first such record of each partition; with `committing`, the position that could not be committed. */
  readonly left: Stall[]
  /** The error that closed the client, or why its last commit failed. */
  readonly error?: RxMikaError
}

/** The options of `Client.replayDlq`. */
export interface DlqReplayOptions {
  /**
   * `'keep'` (default): records keep their count of retries, so a record that fails again goes back to the DLQ once they are
   * used up. `'fresh'`: records start again with attempt 1 and all retries of their topic.
   */
  readonly attempts?: 'keep' | 'fresh' | undefined
  /**
   * The maximum number of records per second that each replaying member delivers, evenly spaced: a pause is not made up for by a
   * burst. A fraction means less than one per second. Skipped records do not count. Default: unlimited.
   */
  readonly rate?: number | undefined
  /** `'caught-up'` (default): up to the end that the DLQ topic has at subscription. `'forever'`: continues after that. */
  readonly until?: 'caught-up' | 'forever' | undefined
  /**
   * Returns false for records of this group that stay on the DLQ topic. Such a record is not delivered. It is written byte
   * for byte, this library's headers included, to the end of its DLQ partition, and completed once that copy is
   * acknowledged, so a later replay finds it. It counts as `skipped`. The filter must not settle the record. If the filter
   * throws or returns a promise, the replay errors, and the record and all after it stay where they are.
   *
   * With `until: 'forever'`, records left out are read again only after something else was written to the topic, which is
   * checked every second. Then the whole topic is replayed once more.
   */
  readonly filter?: ((record: ConsumeRecord) => boolean) | undefined
}

/** The counts of a replay so far. */
export interface DlqReplayProgress {
  /** Records of this group that were delivered to the streams of their topics. */
  readonly delivered: number
  /** Records of other groups, and records of this group that the filter left out. */
  readonly skipped: number
  /** Offsets below the end that are not completed yet. An upper bound of the records, because the log may have gaps. */
  readonly remaining: number
}

/**
 * The records of a topic, as an Observable and as an async iterable. Applying an operator gives an Observable only.
 *
 * The Observable emits records as they come, up to `maxInFlight` of each partition. A `for await` loop takes one record at a
 * time: a record is delivered when the loop asks for it, so a slow body has one record in flight. Settle each record in the
 * body. Leaving the loop (`break`, `return`, `throw`) unsubscribes, and records taken and not settled are delivered again to
 * the next subscriber. The loop ends when the client closes, and throws the error that closed it. `return()` of an iterator
 * ends a pending `next()`.
 *
 * @example
 * for await (const record of client.topic('orders')) {
 *   await charge(record)
 *   record.ack()
 * }
 */
export type RecordStream<V = Buffer | null> = Observable<ConsumeRecord<V>> & AsyncIterable<ConsumeRecord<V>>

/**
 * Selects one topic by its name, several by their names, or all topics that match a pattern, later ones included. A pattern is
 * matched against names without the suffix, and is not anchored: use `/^orders-/` for names that begin with `orders-`.
 */
export type TopicSelection = string | RegExp | readonly string[]

/** A connection to Kafka whose topics are Observables. Made by `createClient`. */
export interface Client extends RoutingClient, AsyncDisposable {
  /**
   * Registers a topic. Subscribing delivers its records; unsubscribing pauses it. It has one subscriber at a time. Records
   * that an ended subscription left unsettled are delivered again, in order, to the next one.
   *
   * With an array of names or a pattern, the stream has the records of all these topics, later ones included: new topics are
   * noticed and joined within `metadataMaxAge`. A topic that is deleted leaves the stream without an error. Each topic has
   * its own failure route, and its retries and dead letters carry its own name. The client's retry and DLQ topics and Kafka's
   * internal topics never match. A topic that is created while the client is reading is read from its beginning, unless
   * `startFrom` is a `Date`.
   *
   * A topic belongs to one registration. A name that is already registered, by name or by a pattern, is refused. A topic that
   * two patterns match belongs to the first one. A pattern does not match topics that were registered by name before.
   *
   * Topics may be registered after `start()`. Then a topic that does not exist errors its own stream with a
   * `ConfigurationError`, and its name may be registered again. With the consumer protocol, and without a group, the other
   * topics are read on meanwhile; with the classic protocol a new topic causes a rebalance of the group.
   *
   * @throws TopicAlreadyRegisteredError; ConfigurationError; ClientClosedError
   */
  topic<T>(
    what: TopicSelection,
    options: DecodedTopicOptions<T> & { readonly tombstones: 'ack' | 'fail' },
  ): RecordStream<T>
  topic<T>(what: TopicSelection, options: DecodedTopicOptions<T>): RecordStream<T | null>
  // After the overloads with a decoder: before them, it would make the parameters of an inline decoder `any`.
  topic(what: TopicSelection, options?: TopicOptions): RecordStream
  /**
   * Connects, joins the group and delivers. Without a registered topic it connects, and the client can publish. Further calls
   * have no effect. Returns `errors`.
   *
   * @throws ConfigurationError if `startFrom` is `'committed'` and there is no group.
   */
  start(): Observable<RxMikaError>
  /**
   * All errors, as they happen; an error that closes the client comes last. Completes once the client is closed, also for
   * later subscribers. Errors before the first subscription are kept for it, at most the latest 100.
   */
  readonly errors: Observable<RxMikaError>
  /** What happens inside the client, as it happens. Completes once the client is closed. */
  readonly events: Observable<ClientEvent>
  /** Emits the current state and each change. Completes once the client is closed; later subscribers get `'closed'`. */
  readonly state: Observable<ClientState>
  /** The state at this moment; `state` emits its changes. */
  readonly currentState: ClientState
  /**
   * Publishes on subscription. Emits the places of all records, in the given order, once every record is acknowledged. Needs
   * no `start()`. Errors with `PublishError`, or with `ClientClosedError` once the client is closed. After `timeout` (ms,
   * default 30,000) it errors, and it is unknown whether the records were written.
   *
   * @throws ConfigurationError if a record cannot be published; the message names the record and the field.
   */
  publish(records: PublishRecord | readonly PublishRecord[], options?: PublishOptions): Observable<RecordMetadata[]>
  /**
   * Reads a topic between two bounds and completes. Independent of any group: it joins, commits and settles nothing, and READ
   * on the topic is enough. Cold: each subscription is a read of its own with its own connections, which unsubscribing
   * closes. Needs no `start()`. Records of a partition are emitted in order.
   *
   * It completes at its end even past gaps, markers, aborted transactions and empty partitions. While the leader of a
   * partition is away, the other partitions are read. If retention deletes the next records, reading continues at the log's
   * new start, and a `FetchError` on `errors` says from where to where.
   *
   * As an Observable it emits as fast as `next` returns: an operator that waits (`concatMap` with a promise) buffers without
   * bound. `for await` takes one record at a time, and fetches no faster than the loop runs.
   *
   * Errors with `ConfigurationError` if the topic or a partition does not exist, with `FetchError` if the topic is deleted or
   * may not be read or its records cannot be decoded, and with `ClientClosedError` if the client closes.
   *
   * ```
   * read(topic)   --a-b-c--|    a, b and c were there at subscription
   * ```
   *
   * @throws ConfigurationError if an option is invalid or unknown.
   */
  read(topic: string, options?: ReadOptions): Observable<ReadRecord> & AsyncIterable<ReadRecord>
  /**
   * Moves the assigned partitions of a registration, or of one topic by its name. Other members of the group must seek their
   * own. Resolves to the places where reading continues, once the partitions are moved and, with a group, the positions are
   * committed, also backwards. Of several calls the last one counts.
   *
   * Records of these partitions that are in flight are released: their signal aborts, and settling them returns false.
   * Records that are already on a retry or DLQ topic stay there. An offset outside the log is reported as a `FetchError`, and
   * reading continues where `startFrom` says. A `moved` event says from where to where.
   *
   * Rejects with `CommitError` if a partition is revoked, or moved again, before its position is committed, and with
   * `ClientClosedError` if the client closes. A rejection needs no handler: all but the latter are reported on `errors` too.
   *
   * @throws ConfigurationError while the client is not running, or if `to` is invalid; TopicNotRegisteredError
   */
  seek(what: TopicSelection, to: SeekTo): Promise<readonly Place[]>
  /**
   * Pauses a registration, or one topic by its name. Topics that join the registration later are paused too.
   *
   * @throws TopicNotRegisteredError
   */
  pause(what: TopicSelection): void
  /**
   * Resumes a registration, or one topic by its name. Also sends its held records, unroutable or held by a `breaker`, down
   * their route again, whether the topic was paused or not. The same goes for unroutable records of topics that are not
   * registered here.
   *
   * @throws TopicNotRegisteredError
   */
  resume(what: TopicSelection): void
  /**
   * Replays dead letters: while subscribed, this group's records on the DLQ topic are delivered to the streams of their
   * original topics. It covers the DLQ partitions assigned to this member, so run it on every instance. One replay at a
   * time: a second one errors with an `RxMikaError` of the code `RXMIKA_REPLAY_RUNNING`. If the client closes meanwhile, it
   * errors with `ClientClosedError`, or with the error that closes the client.
   *
   * @throws DlqNotConfiguredError, ConfigurationError
   */
  replayDlq(options?: DlqReplayOptions): Observable<DlqReplayProgress>
  /**
   * For every partition whose committed position is held back, the record that holds it back and why. With `{ all: true }`
   * every held record, in delivery order: there may be hundreds of thousands.
   */
  stalls(options?: StallsOptions): Stall[]
  /**
   * A snapshot of counts and positions, cheap enough for each scrape. The end offset of a partition that is not being fetched
   * (paused, without a subscriber, full) is requested by this call, and is in the next snapshot.
   */
  metrics(): ClientMetrics
  /**
   * State for probes. `ready`: the client has its assignment, and brokers answer; from the first call on, an outage is noticed
   * within 10 s. `live` is false once an error or an abort has closed the client, or when nothing can be delivered any more;
   * it stays true after an ordinary close. `reasons` says why, in plain text.
   */
  health(): ClientHealth
  /** Stops delivering at once, commits what is completed, and leaves the group. */
  close(): Promise<CloseReport>
  /**
   * Delivers nothing new, waits until what was delivered is settled, commits, and leaves the group. After `timeout` it
   * continues as `close()`. A second call does not change the time-out of the first one, but its signal counts.
   *
   * @throws ConfigurationError if `timeout` is invalid.
   */
  closeGracefully(options?: CloseOptions): Promise<CloseReport>
  /** Resolves once the client is closed, for whatever reason; never rejects. */
  readonly closed: Promise<CloseReport>
}
