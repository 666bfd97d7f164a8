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

export type Environment = Readonly<Record<string, string | undefined>> | ((name: string) => string | undefined)

/** TLS as `node:tls` takes it: `ca`, `cert`, `key`, `rejectUnauthorized`…; true for the defaults. */
export type SslOptions = boolean | import('node:tls').ConnectionOptions

export type CodecName = 'gzip' | 'snappy' | 'lz4' | 'zstd'
export type Codecs = { readonly [name in CodecName]?: (compressed: Buffer) => Buffer }

/** What happens to records that a pipeline dropped unsettled; see `ClientOptions.leaks`. */
export type LeakAction = 'report' | 'fail' | 'redeliver'

export interface ClientOptions {
  /** Where the keys named below are read when an option is absent; default `process.env`. */
  readonly env?: Environment | undefined
  /** `KAFKA_BROKERS`, comma-separated; default `localhost:29092`. */
  readonly brokers?: readonly string[] | undefined
  /** `KAFKA_TLS_ENABLED`. */
  readonly ssl?: SslOptions | undefined
  /** `KAFKA_SASL_MECHANISM` (`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`), `KAFKA_SASL_USERNAME`, `KAFKA_SASL_PASSWORD`. */
  readonly sasl?: SaslOptions | undefined
  /**
   * Where to begin on partitions for which the group has no committed offset; default `'earliest'`. With `'committed'`, which
   * needs a group, the client closes with an error if there is none. A partition that is added to a topic later is read from its
   * beginning, unless this is a `Date`. `KAFKA_CONSUMER_START_FROM`: one of these words, or a time as in RFC 3339.
   */
  readonly startFrom?: StartFrom | undefined
  /** Appended to the group and to every topic name. `KAFKA_GLOBAL_SUFFIX`. */
  readonly suffix?: string | undefined
  /** By which brokers name this client in their logs and quotas; default `rxmika`. */
  readonly clientId?: string | undefined
  /** Without a group every partition is read from `startFrom` and nothing is committed. */
  readonly group?: string | undefined
  /** Where topics with `retries` send what failed; needs a group. Many groups may share it. */
  readonly retryTopic?: string | undefined
  /** Where topics with `dlq` send what failed for good; needs a group, and is another one than `retryTopic`. */
  readonly dlqTopic?: string | undefined
  /** Aborted, the client closes at once and reports why. */
  readonly signal?: AbortSignal | undefined
  /** Default: pino at `info`; false for none. */
  readonly logger?: Logger | false | undefined
  /** Default: sockets to real brokers. */
  readonly driver?: Driver | undefined
  /** At most one offset commit per this many ms; default 100. */
  readonly commitInterval?: number | undefined
  /** How long records in flight may take to settle before partitions are given up, ms; default 10,000. */
  readonly rebalanceTimeout?: number | undefined
  /**
   * After so long without a heartbeat the group gives this member's partitions to others, ms; default 30,000. By the
   * consumer protocol the brokers decide that (`group.consumer.session.timeout.ms`, 45 s by default); here nothing is
   * delivered any more once the group has not answered for so long, until it does, so it must not be more than theirs.
   */
  readonly sessionTimeout?: number | undefined
  /**
   * How often the group is told that this member lives, and asked whether its partitions changed, ms; less than
   * `sessionTimeout`, default 3,000. By the consumer protocol more often, where the brokers say so.
   */
  readonly heartbeatInterval?: number | undefined
  /**
   * How the group is joined: `'classic'` (default), `'consumer'` (KIP-848, from Kafka 4.0 on: partitions move one by one, and
   * what is kept goes on without a pause), or `'auto'`: by the consumer protocol where the group can be joined by it, else by
   * the classic one, which is logged. Members of both kinds may be in one group.
   */
  readonly groupProtocol?: GroupProtocol | undefined
  /**
   * Static membership (KIP-345): the name of this member's place in the group, another one for each member. A member that
   * is back within the session time-out has its partitions again without a rebalance, so a close does not leave the group.
   */
  readonly instanceId?: string | undefined
  /** Where this client is: partitions are read from the nearest replica where brokers say which that is (KIP-392). */
  readonly rack?: string | undefined
  /** How soon partitions and topics that are added are noticed, ms; default 30,000. */
  readonly metadataMaxAge?: number | undefined
  /**
   * What happens to a record that a pipeline dropped unsettled (`filter`, `switchMap`, `take`…), beside its `leaked` event.
   * `'report'` (default): nothing, and its partition's position stays. `'fail'`: it goes down its topic's route with a
   * `LeakedRecordError`, `stage` `pipeline`. `'redeliver'`: it is delivered again as the next attempt; one that leaks once more
   * after three times goes on as with `'fail'`. A leak is found when the record is garbage-collected.
   */
  readonly leaks?: LeakAction | undefined
  /**
   * Positions that are kept elsewhere: in a database that stores them with its results, in one transaction, so that each
   * record has its effect there exactly once. Called with what is newly assigned, whenever that is, retry and DLQ topics
   * included; the first list that it gives counts. Reading begins there; partitions that it gives no position for begin
   * as without the option. Offsets that are not in the log are reported, and reading begins where `startFrom` says.
   *
   * While it throws, rejects or gives no list, those partitions are not read: each failure is a `FetchError` on `errors`,
   * and it is asked again, after 100 ms at first and 10 s at most. Commits go on as before and never lower what the group
   * has.
   */
  readonly positions?: PositionsOption | undefined
  /** A position held back this long is reported as stalled, ms; default 60,000. */
  readonly stallAfter?: number | undefined
  /** Decompression beyond gzip and snappy, and zstd where Node has it. A record in any other codec closes the client. */
  readonly codecs?: Codecs | undefined
}

export interface TopicOptions {
  /** How often a failed record is tried again through the retry topic, which the client needs then; default 0. */
  readonly retries?: number | undefined
  /** Failed records, their retries used up, go to the DLQ topic, which the client needs then; default false. */
  readonly dlq?: boolean | undefined
  /** The delay before each retry, ms; default none. It goes with `retries`. */
  readonly backoff?: Backoff | undefined
  /**
   * How many records a partition goes on past one that is not completed: what is delivered and not completed, and what is
   * completed behind it. The rest waits in Kafka. Default 10,000. Retries are read from the retry topic, which all topics
   * share, with 10,000 a partition, whatever this says.
   */
  readonly maxInFlight?: number | undefined
  /** Nothing more of a partition is delivered before the fetched batch is completed and committed; not so with retries. */
  readonly batch?: boolean | undefined
  /**
   * Keeps the order of each key through failures: one record of a key is delivered at a time, and the next once that one
   * is completed, be it acked, dead-lettered or discarded. `retries` are made here and not through the retry topic, where
   * the order would be lost; `attempt` begins anew after a rebalance or a restart. Records of other keys, and those
   * without one, go on, within `maxInFlight`. Default: none, records are delivered as they are read.
   */
  readonly keyFence?: KeyFenceOptions | undefined
  /** The topic's own failure route, in place of the one made of `retries`, `backoff` and `dlq`, which are left out then. */
  readonly onFail?: OperatorFunction<Failed, Completed> | undefined
}

/** The options of a topic whose values are decoded. */
export type DecodedTopicOptions<T> = TopicOptions & {
  /** As the operator `decode` takes it. */
  readonly decode: Decoder<T>
  /** As an option of `decode`; default `'pass'`. */
  readonly tombstones?: Tombstones | undefined
}

export interface ReadOptions {
  /** Default: every partition; with `until: 'forever'` also those that are added later. */
  readonly partitions?: readonly number[] | undefined
  /**
   * Where reading begins; default `'earliest'`. A date: at the first record that is not older, or at the end if there is none.
   * A map: at the offset of each partition; a partition that is missing in it is not read, and an offset below the log's
   * start is its start.
   */
  readonly from?: 'earliest' | 'latest' | Date | ReadonlyMap<number, bigint> | undefined
  /**
   * Where it ends. `'caught-up'` (default): at the end that each partition has at subscription. A date: before the first
   * record that is not older, and if there is none, as `'caught-up'`. `'forever'`: nowhere.
   */
  readonly until?: 'caught-up' | 'forever' | Date | undefined
}

/** An offset to seek to; of every partition of the topic that this member has, unless one is named. */
export interface SeekOffset {
  readonly partition?: number | undefined
  readonly offset: bigint
}

/** A date: the first record of each partition that is not older, or its end if there is none. */
export type SeekTo = SeekOffset | 'earliest' | 'latest' | Date

export interface AssignedPartition {
  readonly topic: string
  readonly partition: number
}

/** The next offset to read of a partition, as it is kept elsewhere. */
export interface KeptPosition extends AssignedPartition {
  readonly offset: bigint
}

/** Gives the positions that are kept elsewhere, of those partitions that it has any of. */
export type PositionsOption = (
  assigned: readonly AssignedPartition[],
) => ObservableInput<readonly KeptPosition[]> | readonly KeptPosition[]

export interface PublishOptions {
  /** How long the brokers may take to acknowledge all of the records, ms; default 30,000. */
  readonly timeout?: number | undefined
}

export interface CloseOptions {
  /** ms; default 30,000. */
  readonly timeout?: number | undefined
  /** Aborted, goes on as `close()`. */
  readonly signal?: AbortSignal | undefined
}

export interface CloseReport {
  /** Everything delivered was completed and committed: `unsettled` is 0, and there is no `error`. */
  readonly drained: boolean
  /**
   * Delivered and not completed: in a pipeline, left by one that ended, on a failure route or held there; retries not yet due
   * excluded. They are delivered again, here or elsewhere.
   */
  readonly unsettled: number
  /** Of each partition the first record of those, or, with `committing`, the position that could not be committed. */
  readonly left: Stall[]
  /** What closed the client, or why its last commit failed. */
  readonly error?: RxMikaError
}

export interface DlqReplayOptions {
  /**
   * `'keep'` (default): each record goes on with the retries it has had, so that one that fails once more goes back to the DLQ
   * when they are used up. `'fresh'`: as if it had never been tried, with attempt 1 and all of its topic's retries.
   */
  readonly attempts?: 'keep' | 'fresh'
  /**
   * How many records a second are delivered at most, by each member that replays, evenly: what was not delivered in time is not
   * made up for in a burst. A fraction is less than one a second. Records that are passed over do not count. Default: no limit.
   */
  readonly rate?: number
  /** `'caught-up'` (default): up to the end the DLQ topic had at subscription. `'forever'`: goes on. */
  readonly until?: 'caught-up' | 'forever' | undefined
  /**
   * False leaves one of this group's records out: it is not delivered, but written to the end of its DLQ partition byte
   * for byte, this library's headers included, and completed once that copy is acknowledged; so a later replay finds it
   * there. It counts as `skipped`. The record is to be looked at, not settled. When the filter throws, the replay errors
   * with that, and the record and all after it stay where they are.
   *
   * With `until: 'forever'` what was left out is not read again before something else is written to the topic, which is
   * looked for every second; then all of it is gone through once more.
   */
  readonly filter?: ((record: ConsumeRecord) => boolean) | undefined
}

export interface DlqReplayProgress {
  /** This group's records handed to their topics' streams. */
  readonly delivered: number
  /** Other groups' records, and this group's that the filter left out. */
  readonly skipped: number
  /** Offsets below the end that are not completed yet; an upper bound where the log has gaps. */
  readonly remaining: number
}

/**
 * The records of a topic: an Observable, and an async iterable. What operators make of it is an Observable.
 *
 * As an Observable it is given records as they come, up to `maxInFlight` of each partition. In a loop it takes one record at
 * a time: what is not asked for is not delivered, so a slow body holds one record in flight. Settle each record in the body.
 * Leaving the loop (`break`, `return`, `throw`) unsubscribes, and what was taken and not settled is delivered again to the
 * next subscriber. The loop ends when the client closes, and throws the error that closed it. `return()` of an iterator
 * ends a `next()` that waits.
 *
 * @example
 * for await (const record of client.topic('orders')) {
 *   await charge(record)
 *   record.ack()
 * }
 */
export type RecordStream<V = Buffer | null> = Observable<ConsumeRecord<V>> & AsyncIterable<ConsumeRecord<V>>

/**
 * Which topics: one by its name, several by theirs, or all whose names match, those that come later included. A pattern is
 * matched against names without the suffix, and not anchored: `/^orders-/` for those that begin with it.
 */
export type TopicSelection = string | RegExp | readonly string[]

/** A connection to Kafka whose topics are Observables. Made by `createClient`. */
export interface Client extends RoutingClient, AsyncDisposable {
  /**
   * Registers a topic. Subscribing delivers its records, unsubscribing pauses it; one subscriber at a time. Records that
   * an ended subscription left unsettled are delivered again, in order, to the next one.
   *
   * With an array of names or a pattern it is one stream of all these topics, and of those that come later: they are noticed
   * and joined within `metadataMaxAge`. One that is deleted leaves without an error. Each has its own route, retries and dead
   * letters under its own name. The client's retry and DLQ topics and Kafka's internal topics never match. A topic that
   * came to be while the client was reading is read from its beginning, unless `startFrom` is a `Date`.
   *
   * Each topic is for one registration. A name that one has already, also by its pattern, is refused; what two patterns match
   * is for the first; a pattern leaves topics alone that were registered by name before.
   *
   * Topics may be registered after `start()`. One that does not exist then errors its own stream by a `ConfigurationError`,
   * and its name may be registered again. By the consumer protocol, and without a group, the other topics go on meanwhile; by
   * the classic one a new topic is a rebalance of the group.
   *
   * @throws TopicAlreadyRegisteredError; ConfigurationError; ClientClosedError
   */
  topic<T>(
    what: TopicSelection,
    options: DecodedTopicOptions<T> & { readonly tombstones: 'ack' | 'fail' },
  ): RecordStream<T>
  topic<T>(what: TopicSelection, options: DecodedTopicOptions<T>): RecordStream<T | null>
  // Behind those with a decoder: this one would have its function's parameters be of any type.
  topic(what: TopicSelection, options?: TopicOptions): RecordStream
  /**
   * Connects, joins and delivers; with no topic registered it connects, and publishes. Idempotent. Returns `errors`.
   *
   * @throws ConfigurationError when `startFrom` is `'committed'` and there is no group.
   */
  start(): Observable<RxMikaError>
  /**
   * Everything that goes wrong, as it does; the error that closes the client comes last. Completes once closed, also for who
   * subscribes after that. What goes wrong before the first subscriber is kept for it, at most the newest 100 errors.
   */
  readonly errors: Observable<RxMikaError>
  /** What happens inside, as it does. Completes once closed. */
  readonly events: Observable<ClientEvent>
  /** Replays the current state. Completes once closed; who subscribes after that gets `'closed'` and completes. */
  readonly state: Observable<ClientState>
  readonly currentState: ClientState
  /**
   * Publishes on subscription; emits once every record is acknowledged, their places in the order given. Needs no
   * `start()`. Errors with `PublishError`, or `ClientClosedError` once closed. `timeout`: ms, default 30,000; after it the
   * records may have been written all the same, or not.
   *
   * @throws ConfigurationError when called with what cannot be published; the message names it.
   */
  publish(records: PublishRecord | readonly PublishRecord[], options?: PublishOptions): Observable<RecordMetadata[]>
  /**
   * Reads a topic from one place to another and completes, beside any group: nothing is joined, committed or settled, and no
   * right is needed but to READ the topic. Cold: each subscription is a read of its own, with connections of its own, which
   * unsubscribing closes. Needs no `start()`. Records of one partition come in their order.
   *
   * It completes at its end also over gaps, markers, aborted transactions and empty partitions. While the leader of a
   * partition is away, the others are read, and that one when it is back. If retention deletes what comes next, reading goes
   * on at the log's new start, and a `FetchError` on `errors` says from where to where.
   *
   * As an Observable it pushes as fast as `next` returns: an operator that waits (`concatMap` with a promise) queues what it
   * is given, without a bound. `for await` takes one record at a time, and fetches no faster than the loop goes.
   *
   * Errors with `ConfigurationError` if the topic or a partition does not exist, with `FetchError` if the topic is deleted or
   * may not be read, or if records cannot be decoded, and with `ClientClosedError` if the client closes.
   *
   * ```
   * read(topic)   --a-b-c--|    a, b and c were there at subscription
   * ```
   *
   * @throws ConfigurationError when called with an option that is invalid or unknown.
   */
  read(topic: string, options?: ReadOptions): Observable<ReadRecord> & AsyncIterable<ReadRecord>
  /**
   * Moves the partitions that this member has now of what was registered so, or of one topic by its name; others that have some do so for themselves. Resolves to
   * the places where reading goes on, once they are moved and, with a group, committed, also backwards. Of several calls
   * the last one counts.
   *
   * What was in flight of them is released: its signal aborts, and settling it returns false. What is already on a retry
   * or DLQ topic stays there. An offset that is not in the log is reported as `FetchError`, and reading goes on where
   * `startFrom` says. A `moved` event says from where to where.
   *
   * Rejects with `CommitError` if a partition is given up, or moved again, before its position is committed, and with
   * `ClientClosedError` if the client closes. A rejection is reported on `errors`, too, so it needs no handler.
   *
   * @throws ConfigurationError while the client is not running, or if `to` is invalid; TopicNotRegisteredError
   */
  seek(what: TopicSelection, to: SeekTo): Promise<readonly Place[]>
  /**
   * Stops delivering what was registered so, or one topic by its name; those that come later are paused with it.
   *
   * @throws TopicNotRegisteredError
   */
  pause(what: TopicSelection): void
  /**
   * Goes on delivering. Also sends what is held of it, as unroutable or by a `breaker`, down its route again, whether it
   * was paused or not; and what is held as unroutable of topics that are not registered here.
   *
   * @throws TopicNotRegisteredError
   */
  resume(what: TopicSelection): void
  /**
   * While subscribed, this group's records on the DLQ topic are delivered to the streams of their original topics. It
   * concerns the DLQ partitions that this member has or gains: run it on every instance. One at a time: a second errors with
   * an `RxMikaError` of the code `RXMIKA_REPLAY_RUNNING`. Cut off by a close it errors with `ClientClosedError`.
   *
   * @throws DlqNotConfiguredError, ConfigurationError
   */
  replayDlq(options?: DlqReplayOptions): Observable<DlqReplayProgress>
  /**
   * Every partition whose committed position is held back, by which record and why. With `{ all: true }` every record that
   * is held, in delivery order, and not only the first of its partition: there may be hundreds of thousands.
   */
  stalls(options?: StallsOptions): Stall[]
  /**
   * A snapshot of counts and positions, cheap enough for each scrape. The end of a partition that is not fetched (paused,
   * without a subscriber, full) is asked for by this call, and is in the next snapshot.
   */
  metrics(): ClientMetrics
  /**
   * For probes. `ready`: it has its assignment and brokers answer; an outage shows within 10 s of its beginning, from the first
   * call on. `live` is false once an error, an abort included, closed the client, or nothing can go on; it stays true after an
   * ordinary close. `reasons` says why, in plain text.
   */
  health(): ClientHealth
  /** Stops now; commits what is completed; leaves the group. */
  close(): Promise<CloseReport>
  /**
   * Delivers nothing new, waits for what was delivered, commits, leaves the group. On timeout goes on as `close()`. A second
   * call does not lengthen or shorten the first one's patience, but its signal does.
   *
   * @throws ConfigurationError when `timeout` is none.
   */
  closeGracefully(options?: CloseOptions): Promise<CloseReport>
  /** Resolves when fully closed, however that came about; never rejects. */
  readonly closed: Promise<CloseReport>
}
