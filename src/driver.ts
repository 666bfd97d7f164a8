import type { Logger } from 'pino'
import type { Observable, SchedulerLike } from 'rxjs'
import type { CommitPoint } from './commit-point.js'
import type { RxMikaError } from './errors.js'
import type { Outgoing } from './outgoing.js'
import type { RecordBatch } from './record-batch.js'

/** Where to read partitions without a committed position. With `'committed'`, a partition without one is an error. */
export type StartFrom = 'earliest' | 'latest' | 'committed' | Date

/**
 * - `'classic'`: in every rebalance all members give up their partitions and receive a new assignment.
 * - `'consumer'` (KIP-848): the broker moves single partitions; partitions that stay are read on meanwhile.
 * - `'auto'`: consumer if the group can be joined by it, else classic.
 */
export type GroupProtocol = 'classic' | 'consumer' | 'auto'

/**
 * One assignment of one partition. The driver makes the object when the partition is assigned and keeps it until the
 * partition is revoked or lost; it is never used again after that. Everything about the partition refers to this object, so
 * that nothing of an earlier assignment can affect a later one.
 */
export interface PartitionAssignment {
  /** Full name, suffix included. */
  readonly topic: string
  /** The partition of the topic. */
  readonly partition: number
  /** The offset where reading starts: the committed position, or what `startFrom` gives. */
  readonly position: number
  /** The metadata committed with the position; empty if there is none. */
  readonly metadata: string
  /** True once revoked, lost or closed. The driver sets it before it emits the event. */
  readonly ended: boolean
  /**
   * The offset that the next record of the log will get, as of the last few seconds. Absent or undefined: not known,
   * because the partition is not being fetched; call `endOffsets` instead.
   */
  readonly endOffset?: number | undefined
}

/** What `Driver.consume` reads, and as which member of which group. */
export interface ConsumeRequest {
  /** Absent: every partition is read from `startFrom`, nothing is committed, and no group is created. */
  readonly group: string | undefined
  /** Full names of existing topics. `Driver.subscribe` changes the list. */
  readonly topics: readonly string[]
  /**
   * Returns whether the topic was created while this client was reading. The group cannot have missed any of its records,
   * so without a committed position it is read from its beginning, unless `startFrom` is a `Date`. Absent: false for every topic.
   */
  readonly cameLater?: (topic: string) => boolean
  /** Where to begin in partitions without a committed position. */
  readonly startFrom: StartFrom
  /** The longest time that `revoking` can be held, ms. */
  readonly rebalanceTimeout: number
  /** The group reassigns the partitions of a member that sends no heartbeat for this time, ms. */
  readonly sessionTimeout: number
  /** The interval of heartbeats, ms. */
  readonly heartbeatInterval: number
  /** The group protocol. Absent: the driver chooses. */
  readonly groupProtocol?: GroupProtocol
  /** `group.instance.id` of static membership (KIP-345). */
  readonly instanceId?: string | undefined
  /** `client.rack`, for fetching from the nearest replica (KIP-392). */
  readonly rack?: string | undefined
  /** Added partitions and topics are noticed within this time, ms. */
  readonly metadataMaxAge?: number
}

/** What `Driver.consume` emits. Switch on `type`. */
export type DriverEvent =
  /**
   * The outcome of a rebalance, emitted even if nothing changed. `added` are new, and paused until `resume`; `retained`
   * continue where they were. A partition in neither list was `revoked` or `lost` before, or follows as `added` later:
   * for a partition without a leader, the driver cannot find the starting offset yet.
   */
  | {
      readonly type: 'assigned'
      readonly added: readonly PartitionAssignment[]
      readonly retained: readonly PartitionAssignment[]
    }
  /**
   * The topics that may get partitions without another rebalance, because the group has not assigned all of them yet or
   * their positions are still being looked up. A topic is listed before the `assigned` that lacks its partitions, and no longer
   * after the one that has them. If this event is never emitted, there are no such topics.
   */
  | { readonly type: 'awaited'; readonly topics: ReadonlySet<string> }
  /**
   * Records from index `from` on. Per assignment they are in offset order, without overlap. Not emitted for paused
   * assignments, except for fetches already in flight.
   */
  | {
      readonly type: 'batch'
      readonly assignment: PartitionAssignment
      readonly batch: RecordBatch
      readonly from: number
    }
  /**
   * A rebalance begins that may revoke these assignments. Commits are accepted until every `until` passed to `hold`
   * completes or `rebalanceTimeout` is over; heartbeats continue meanwhile. No batch of these assignments is emitted
   * before the next `assigned`; other assignments continue.
   */
  | {
      readonly type: 'revoking'
      readonly assignments: readonly PartitionAssignment[]
      hold(until: Observable<unknown>): void
    }
  /** The rebalance took these assignments away. They had their chance to commit. */
  | { readonly type: 'revoked'; readonly assignments: readonly PartitionAssignment[] }
  /** The group rebalanced without this member: these partitions may have new owners already. */
  | { readonly type: 'lost'; readonly assignments: readonly PartitionAssignment[] }
  /** The assignment was in doubt, and the group has confirmed that this member still belongs to it; see {@link Driver.doubtful}. */
  | { readonly type: 'confirmed' }
  /** No broker can be reached. The driver keeps trying. */
  | { readonly type: 'disconnected'; readonly error: unknown }
  /** A broker answers again. */
  | { readonly type: 'reconnected' }
  /** The driver restarted from scratch after a crash of the client it is built on. */
  | { readonly type: 'restarted'; readonly error: unknown }
  /**
   * A topic cannot be read any more: it was deleted, or the right to read it was withdrawn. Other topics continue. Emitted
   * once per outage. The driver keeps checking and reads the topic again, without another event, once that is possible.
   */
  | {
      readonly type: 'unreadable'
      readonly topic: string
      readonly error: RxMikaError
      /** True: the brokers do not know the topic any more. */
      readonly isGone: boolean
    }
  /** A failure that heals by itself, or that concerns one partition only. */
  | { readonly type: 'trouble'; readonly error: RxMikaError }

/** Where to continue reading an assignment: an offset, an end of the log, or the first record not older than a date. */
export interface Seek {
  /** The assignment to move. */
  readonly assignment: PartitionAssignment
  /** The offset to continue at, or how to find it. */
  readonly to: number | 'earliest' | 'latest' | Date
}

/** An assignment that a seek has replaced. */
export interface Moved {
  /** The assignment that has ended. */
  readonly from: PartitionAssignment
  /** The assignment that replaces it. It is paused. */
  readonly to: PartitionAssignment
}

/** A bounded read of one topic, independent of any group; see {@link Driver.read}. */
export interface ReadRequest {
  /** Full name. */
  readonly topic: string
  /** Absent: every partition; with `until: 'forever'` this includes partitions added later. */
  readonly partitions?: readonly number[] | undefined
  /**
   * A date: the first record that is not older, or the end if there is none. A map: the position of each partition. A
   * partition that is not in the map is not read; a position below the log's start is moved to the start.
   */
  readonly from: 'earliest' | 'latest' | Date | ReadonlyMap<number, number>
  /**
   * `'caught-up'`: up to the end that each partition has when the read begins. A date: up to the first record that is not
   * older (excluded), or as `'caught-up'` if there is none.
   */
  readonly until: 'caught-up' | 'forever' | Date
  /** For reading from the nearest replica (KIP-392). */
  readonly rack?: string | undefined
  /** While true, no new fetch is sent; fetches already in flight are still emitted. Absent: never paused. */
  readonly paused?: Observable<boolean>
}

/** What `Driver.read` emits. Switch on `type`. */
export type ReadEvent =
  /** The records with indexes `from` to `to - 1`, possibly none. Per partition they are in offset order, without overlap. */
  | {
      readonly type: 'batch'
      readonly partition: number
      readonly batch: RecordBatch
      readonly from: number
      readonly to: number
    }
  /** A failure that heals by itself, or a position that moved because records were deleted or the log was truncated. */
  | { readonly type: 'trouble'; readonly error: RxMikaError }

/** Whether brokers can be reached. */
export type ConnectionEvent = Extract<DriverEvent, { readonly type: 'disconnected' | 'reconnected' }>

/** What a driver gets from its client. */
export interface DriverContext {
  /** The name of the client in logs and quotas of brokers. */
  readonly clientId: string
  /** The log of the client. */
  readonly logger: Logger
}

/**
 * The connection of one client to Kafka. No method throws or returns a promise: asynchronous results are Observables, so
 * that a driver in virtual time makes the whole client run in virtual time.
 */
export interface Driver {
  /** Runs everything that waits. Absent: RxJS's `asyncScheduler`. */
  readonly scheduler?: SchedulerLike
  /**
   * The wall clock of the machine, ms since 1970. The client writes it into headers and reports. It may jump; no duration
   * is measured by it. Absent: the scheduler's `now()`, which is `Date.now()` in real time.
   */
  wallTime?(): number
  /**
   * True: the group has not answered for longer than the session time-out, so other members may own what is assigned here.
   * Computed from the clock when read, because a process that was suspended gets no event. No record is delivered until
   * `confirmed`, `lost` or `assigned` is emitted. Absent: never in doubt.
   */
  readonly doubtful?: boolean
  /**
   * Failures that may heal and belong to no call: brokers that cannot be reached, each with its address and the reason.
   * Emitted within 5 s, and then at most once a minute. Hot. Absent: such failures are not reported.
   */
  readonly trouble?: Observable<RxMikaError>
  /**
   * The latest reason why a broker cannot be reached, set from the first failed attempt on. Undefined while all contacted
   * brokers answer. Used as the `cause` of time-outs. Absent: never known.
   */
  readonly lastFailure?: RxMikaError | undefined
  /**
   * The same events as `connect` and `consume` emit, for the time when neither is subscribed: a client may be connected
   * only to publish. Hot. Absent: outages are not reported then.
   */
  readonly connection?: Observable<ConnectionEvent>
  /**
   * From now on the driver sends a request every few seconds if it sends no other, so that `disconnected` is emitted within
   * 10 s of an outage, whatever the client does. Further calls have no effect. Absent: `disconnected` is emitted in any case.
   */
  keepAsking?(): void
  /**
   * Completes when a broker answers. Errors with `ConnectionError` or `ConfigurationError` only if the failure cannot heal.
   * Emits `disconnected` if no broker answers meanwhile, and `reconnected` after that.
   */
  connect(context: DriverContext): Observable<ConnectionEvent>
  /**
   * Announces that `consume` will join this group, so that its coordinator can be looked up and connected while the topics
   * are looked up. `consume` meets a failure again. Absent: nothing is done early.
   */
  willJoin?(group: string): void
  /** Partition counts by full name. Creates topics if the broker does so. A topic missing from the result does not exist. */
  topics(names: readonly string[]): Observable<ReadonlyMap<string, number>>
  /**
   * The full names of those of these topics that exist. Without `names`: all topics that this client may see, except
   * Kafka's internal ones. Emits once they are known, and again whenever they change, well within the `metadataMaxAge` of
   * `consume`. Creates no topic, and continues while brokers are away. Errors with a `ConfigurationError` if the first look-up
   * finds a named topic that this client may not see.
   */
  topicNames(names?: readonly string[]): Observable<readonly string[]>
  /** For each partition of the topic, the offset that its next record will get. */
  endOffsets(topic: string): Observable<ReadonlyMap<number, number>>
  /** Joins the group on subscription. Errors only with failures that cannot heal. Completes after `leave`. */
  consume(request: ConsumeRequest): Observable<DriverEvent>
  /**
   * Replaces the topics of the running `consume`; does nothing without one. Added topics are assigned and removed ones are
   * revoked: by a rebalance of the group, or at once without a group. With the consumer protocol, partitions of all other
   * topics are read on meanwhile.
   *
   * @param topics Full names of topics that exist.
   */
  subscribe(topics: readonly string[]): void
  /** Stops fetching for these assignments. A fetch in flight may still be emitted. */
  pause(assignments: readonly PartitionAssignment[]): void
  /** Begins or continues fetching for these assignments. */
  resume(assignments: readonly PartitionAssignment[]): void
  /**
   * One fetch outside `consume`, for records whose bytes are no longer held. Emits the batch with the first record at or
   * after `offset`, if there is one, possibly batches that follow, and completes.
   */
  readAt(assignment: PartitionAssignment, offset: number): Observable<RecordBatch>
  /** The longest metadata of a commit, in characters. Absent: 4,096, the default of `offset.metadata.max.bytes`. */
  readonly maxCommitMetadata?: number
  /**
   * Reads a topic between two bounds, independent of `consume` and of other reads. Begins on subscription; completes once
   * every partition is read to its end, past gaps, markers and aborted transactions. Unsubscribing ends its fetches and
   * closes its connections. Joins no group, commits nothing and creates no topic: READ on the topic is enough.
   *
   * While the leader of a partition is away, the other partitions are read. Errors with `ConfigurationError` if the topic or
   * a partition does not exist, and with `FetchError` if the topic is deleted, forbidden or cannot be decoded.
   */
  read(request: ReadRequest): Observable<ReadEvent>
  /**
   * Moves assignments: each is replaced by a new one, paused, that begins at the new position. Emits the replacements as
   * they are made, those of several leaders one after the other, and completes when all are made. Until then the old
   * assignments continue. An old assignment has ended when its replacement is emitted, so that nothing read or committed
   * for it counts any more.
   *
   * Assignments that end for another reason are left out. Of several calls for one partition the last one counts. A position
   * outside the log is reported as `trouble`, and reading begins where `startFrom` says. Commits nothing.
   */
  seek(moves: readonly Seek[]): Observable<readonly Moved[]>
  /**
   * Sends one OffsetCommit request. Completes when the broker has confirmed it; errors with `CommitError`. Points whose
   * assignment has ended are not sent. The caller treats any other error as retriable.
   */
  commit(points: readonly CommitPoint[]): Observable<never>
  /**
   * Writes a record and calls the methods of `outgoing` with the outcome; returns at once. Retries for as long as the record
   * is wanted, whatever brokers and connections do, and reports each reason by `delayed`. `ok` means that the broker has
   * acknowledged it. The caller treats any result that is neither `ok` nor a refusal as a retriable refusal, and produces
   * the record again. A refusal has Kafka's error name in `reason`: a copy of a failed record that is refused as
   * MESSAGE_TOO_LARGE is made smaller, and one refused as INVALID_TIMESTAMP gets the present time.
   *
   * Records of one partition, chosen by key or by number, are written in the order of the calls, whatever is refused
   * meanwhile. A record that cannot be written is refused alone. Records that wait for one partition delay no other.
   *
   * This is the one method without an Observable: tens of thousands of records may be waiting, and a subscription for each
   * is expensive. The callbacks run on the driver's scheduler, in virtual time if that is virtual.
   *
   * A timestamp may be any safe integer: -1 means none in Kafka, and other negative ones lie before 1970.
   */
  produce(outgoing: Outgoing): void
  /** Leaves the group; all assignments have ended. Completes in bounded time, also if there is nothing to leave. */
  leave(): Observable<never>
  /** Closes every connection. Called after `leave`. Completes in bounded time. */
  close(): Observable<never>
}
