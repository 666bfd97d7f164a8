import type { Logger } from 'pino'
import type { Observable, SchedulerLike } from 'rxjs'
import type { CommitPoint } from './commit-point.js'
import type { RxMikaError } from './errors.js'
import type { Outgoing } from './outgoing.js'
import type { RecordBatch } from './record-batch.js'

/** For partitions where the group has no committed position. `'committed'`: having none is an error. */
export type StartFrom = 'earliest' | 'latest' | 'committed' | Date

/**
 * `'classic'`: every change of the group has all members give everything up and share it out anew; `'consumer'` (KIP-848):
 * the broker moves single partitions, and what is kept goes on meanwhile; `'auto'`: the driver decides.
 */
export type GroupProtocol = 'classic' | 'consumer' | 'auto'

/**
 * One assignment of one partition: made by the driver when the partition is assigned, the same object until it is
 * revoked or lost, never used again after. Everything that concerns the partition names this object, so that nothing
 * of an earlier assignment can touch a later one.
 */
export interface PartitionAssignment {
  readonly topic: string
  readonly partition: number
  /** The offset where reading starts: the committed position, or what `startFrom` gives. */
  readonly position: number
  /** What was committed beside the position; empty where there is none. */
  readonly metadata: string
  /** True once revoked, lost or closed. Set by the driver before it says so. */
  readonly ended: boolean
  /**
   * The offset that the next record of the log will get, as heard within the last seconds. Absent or undefined: not heard
   * lately, because the partition is not fetched, and `endOffsets` is to be asked.
   */
  readonly endOffset?: number | undefined
}

export interface ConsumeRequest {
  /** Absent: every partition is read from `startFrom`, nothing is committed, no group is left behind. */
  readonly group: string | undefined
  /** Full names; `Driver.subscribe` changes them. They are known to exist. */
  readonly topics: readonly string[]
  /**
   * Whether the topic came to be while this client was reading: then the group has missed nothing of it yet, and where it
   * has no position it is read from its beginning, unless `startFrom` is a `Date`. Absent: none did.
   */
  readonly cameLater?: (topic: string) => boolean
  readonly startFrom: StartFrom
  /** How long `revoking` may be held, ms. */
  readonly rebalanceTimeout: number
  readonly sessionTimeout: number
  readonly heartbeatInterval: number
  /** Which protocol the group is joined by; absent: the driver decides. */
  readonly groupProtocol?: GroupProtocol
  /** Static membership: the name of this member's place in the group (KIP-345). */
  readonly instanceId?: string | undefined
  /** Where this client is, for reading from the nearest replica (KIP-392). */
  readonly rack?: string | undefined
  /** How soon partitions and topics that are added are noticed, ms. */
  readonly metadataMaxAge?: number
}

export type DriverEvent =
  /**
   * The outcome of a rebalance, also when nothing changed. `added` are new and paused until `resume`d; `retained` go on
   * where they were. What is in neither had its `revoked` or `lost` before, or comes as `added` later: a partition
   * without a leader, of which nobody knows where to read.
   */
  | {
      readonly type: 'assigned'
      readonly added: readonly PartitionAssignment[]
      readonly retained: readonly PartitionAssignment[]
    }
  /** Records from index `from` on; per assignment in offset order, without overlap. Never of a paused assignment but for what was under way. */
  | {
      readonly type: 'batch'
      readonly assignment: PartitionAssignment
      readonly batch: RecordBatch
      readonly from: number
    }
  /**
   * A rebalance begins, and these may be given up. Commits pass until `until` given to `hold` completes or
   * `rebalanceTimeout` is over; heartbeats go on meanwhile. No batch of these comes before the next `assigned`; what else
   * is held goes on.
   */
  | {
      readonly type: 'revoking'
      readonly assignments: readonly PartitionAssignment[]
      hold(until: Observable<unknown>): void
    }
  | { readonly type: 'revoked'; readonly assignments: readonly PartitionAssignment[] }
  /** The group went on without us: these may have new owners already. */
  | { readonly type: 'lost'; readonly assignments: readonly PartitionAssignment[] }
  /** Delivery was in doubt, and the group says that we are one of it still; see {@link Driver.doubtful}. */
  | { readonly type: 'confirmed' }
  | { readonly type: 'disconnected'; readonly error: unknown }
  | { readonly type: 'reconnected' }
  /** The driver had to begin anew, because what it stands on crashed. */
  | { readonly type: 'restarted'; readonly error: unknown }
  /**
   * A topic of this consumption cannot be read: it is gone, or the right to read it was taken away while it was read. The
   * others go on. Told once until it can be read again, which the driver looks for; then it is, without another event.
   */
  | {
      readonly type: 'unreadable'
      readonly topic: string
      readonly error: RxMikaError
      /** The brokers do not know it any more. */
      readonly isGone: boolean
    }
  /** Something went wrong that heals by itself, or concerns one partition. */
  | { readonly type: 'trouble'; readonly error: RxMikaError }

/** Where an assignment is to be read on: an offset, or the first record not older than a date, and so on. */
export interface Seek {
  readonly assignment: PartitionAssignment
  readonly to: number | 'earliest' | 'latest' | Date
}

export interface Moved {
  readonly from: PartitionAssignment
  readonly to: PartitionAssignment
}

/** A bounded read of one topic, beside any group; see {@link Driver.read}. */
export interface ReadRequest {
  /** Full name. */
  readonly topic: string
  /** Absent: every partition; with `until: 'forever'` also those that are added later. */
  readonly partitions?: readonly number[] | undefined
  /**
   * A date: the first record that is not older, or the end if there is none. A map: the position of each partition; a
   * partition that is missing in it is not read, and a position below the log's start is its start.
   */
  readonly from: 'earliest' | 'latest' | Date | ReadonlyMap<number, number>
  /**
   * `'caught-up'`: the end that each partition has when the read begins. A date: before the first record that is not older,
   * and if there is none, as `'caught-up'`.
   */
  readonly until: 'caught-up' | 'forever' | Date
  /** For reading from the nearest replica (KIP-392). */
  readonly rack?: string | undefined
  /** True: nothing more is fetched, except for fetches already in flight. Absent: never paused. */
  readonly paused?: Observable<boolean>
}

export type ReadEvent =
  /** Records with the indexes `from … to - 1`; per partition in offset order, without overlap. There may be none. */
  | {
      readonly type: 'batch'
      readonly partition: number
      readonly batch: RecordBatch
      readonly from: number
      readonly to: number
    }
  /** Something that heals by itself, or a position that moved because the log did. */
  | { readonly type: 'trouble'; readonly error: RxMikaError }

/** Whether the brokers can be reached. */
export type ConnectionEvent = Extract<DriverEvent, { readonly type: 'disconnected' | 'reconnected' }>

export interface DriverContext {
  readonly clientId: string
  readonly logger: Logger
}

/**
 * The connection to Kafka, of one client. No method throws or returns a promise: what takes time is an Observable, so that
 * a driver on virtual time makes the whole client run in virtual time.
 */
export interface Driver {
  /** The time of everything that waits; absent: RxJS's `asyncScheduler`. */
  readonly scheduler?: SchedulerLike
  /**
   * The wall clock of the machine, ms since 1970: what the client writes into headers and reports. It may jump; no duration
   * is measured by it. Absent: the scheduler's `now()`, in real time `Date.now()`.
   */
  wallTime?(): number
  /**
   * True: the group has not answered for longer than a session, so others may have what is assigned here. It is looked at
   * by the clock, for a process that stood still learns of it no other way. Nothing is handed out until `confirmed`,
   * `lost` or `assigned` says what is so. Absent: never.
   */
  readonly doubtful?: boolean
  /**
   * What goes wrong beside any call and may heal: brokers that cannot be reached, each by its address and the reason,
   * within 5 s, and then once a minute at most. Hot. Absent: nothing is told beside the calls.
   */
  readonly trouble?: Observable<RxMikaError>
  /**
   * The newest reason why a broker cannot be reached, known from the first failed attempt on; undefined while all that
   * are asked answer. For the `cause` of what times out. Absent: never known.
   */
  readonly lastFailure?: RxMikaError | undefined
  /**
   * The same as `connect` and `consume` tell, while neither is subscribed: a client may be connected for publishing alone.
   * Hot. Absent: outages are not told then.
   */
  readonly connection?: Observable<ConnectionEvent>
  /**
   * From now on a broker is asked something every few seconds if nothing else is, so that `disconnected` comes within 10 s of
   * an outage, whatever the client does. Called more than once, it does no more. Absent: `disconnected` comes in any case.
   */
  keepAsking?(): void
  /**
   * Completes when the brokers answer; errors with `ConnectionError` or `ConfigurationError` only when that cannot heal.
   * Tells meanwhile when they do not, and when they do after that.
   */
  connect(context: DriverContext): Observable<ConnectionEvent>
  /** Partition counts by full name, creating topics where the broker does so; a topic that is absent does not exist. */
  topics(names: readonly string[]): Observable<ReadonlyMap<string, number>>
  /**
   * The full names of those of these topics that exist, or, without names, of all that this client may see, Kafka's own left
   * out. Emits once they are known, and again whenever that changes, which is noticed well within the `metadataMaxAge` of
   * `consume`. Creates none. Goes on while brokers are away; errors with a `ConfigurationError` if at first one of the
   * named may not be seen.
   */
  topicNames(names?: readonly string[]): Observable<readonly string[]>
  /** Per partition of the topic the offset that the next record will get. */
  endOffsets(topic: string): Observable<ReadonlyMap<number, number>>
  /** Joins on subscription; errors only with what cannot heal; completes after `leave`. */
  consume(request: ConsumeRequest): Observable<DriverEvent>
  /**
   * Replaces the topics of the `consume` that is under way; without one it does nothing. What is new is joined, what is
   * left out is revoked, as a rebalance of the group or, without a group, at once. By the consumer protocol all else
   * goes on meanwhile.
   *
   * @param topics Full names of topics that exist.
   */
  subscribe(topics: readonly string[]): void
  pause(assignments: readonly PartitionAssignment[]): void
  resume(assignments: readonly PartitionAssignment[]): void
  /**
   * One fetch beside those of `consume`, for records whose bytes were let go: emits the batch that holds the first record
   * at or after `offset`, if there is one, perhaps some that follow, and completes.
   */
  readAt(assignment: PartitionAssignment, offset: number): Observable<RecordBatch>
  /** Characters of metadata that a commit may have beside a position. Absent: 4,096, as Kafka has it by default. */
  readonly maxCommitMetadata?: number
  /**
   * Reads a topic between two bounds, beside `consume` and any other read. Begins on subscription; completes once every
   * partition is read to its end, past gaps, markers and aborted transactions. Unsubscribing ends its fetches and closes
   * its connections. Joins no group, commits nothing and creates no topic: READ on the topic is enough.
   *
   * While the leader of a partition is away, the others are read. Errors with `ConfigurationError` if the topic or a
   * partition does not exist, and with `FetchError` if the topic is deleted, forbidden or cannot be decoded.
   */
  read(request: ReadRequest): Observable<ReadEvent>
  /**
   * Moves assignments: each gets another in its place, paused, that begins at the new position. Emits them once they are
   * moved, those of several leaders one after the other, and completes when none is left. Until then the old ones go on.
   * The old assignment has ended when its successor is emitted, so that nothing read or committed for it counts any more.
   *
   * An assignment that ended otherwise is left out. Of several calls for one partition the last one counts. A position that
   * is not in the log is reported as `trouble`, and reading begins where `startFrom` says. Commits nothing.
   */
  seek(moves: readonly Seek[]): Observable<readonly Moved[]>
  /**
   * One request; completes when the broker confirmed it; errors with `CommitError`. Points whose assignment has ended
   * are not sent. Any other error counts as one that may pass.
   */
  commit(points: readonly CommitPoint[]): Observable<never>
  /**
   * Writes a record and tells it what became of that; returns at once. Goes on trying, for as long as the record is
   * wanted, whatever brokers and connections do, and says why in the meantime. Only what the broker confirmed is `ok`; what
   * is neither that nor a refusal counts as a refusal that may pass, and is produced again. A refusal says in `reason` why,
   * as Kafka names it: a copy of a failed record that is MESSAGE_TOO_LARGE or has an INVALID_TIMESTAMP is made smaller, or
   * at the present time.
   *
   * What goes to one partition, by key or by number, is written in the order of the calls, whatever is refused meanwhile.
   * A record that cannot be written is refused alone, and what one partition waits for holds up no other.
   *
   * The one method that is no Observable: there may be tens of thousands of records at once, and a subscription for each is
   * dear. The record is told in the driver's own time, virtual where that is.
   *
   * A timestamp may be any safe integer: -1 is Kafka's word for none, and others lie before 1970.
   */
  produce(outgoing: Outgoing): void
  /** Leaves the group; what was assigned has ended. Completes in bounded time, also when there is nothing to leave. */
  leave(): Observable<never>
  /** Ends every connection, having left. Completes in bounded time. */
  close(): Observable<never>
}
