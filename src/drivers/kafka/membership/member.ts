import type { RxMikaError } from '../../../errors.js'
import type { KnownTopic } from '../cluster/metadata.js'
import type { PartitionMap, TopicPartition } from '../topic-partition.js'

/** A member of a group, as far as reading needs it: its partitions, and its commits. */
export interface Member {
  /** Joins, and stays joined until `leave`. */
  start(): void
  /**
   * True: the group has not answered for longer than the session time-out, so others may own this member's partitions. Only the
   * group knows; `settleDoubt` asks it.
   */
  readonly doubtful: boolean
  /** Resolves once the group has said whether this member still belongs to it. */
  settleDoubt(): Promise<void>
  /**
   * Commits positions. Rejects with a `CommitError`. It may wait for a rebalance, so `points` is called just before each
   * request, and returns positions of partitions that this member has then.
   */
  commit(points: () => readonly PositionToCommit[]): Promise<void>
  /** The committed positions of all partitions of these topics. */
  committed(topics: readonly KnownTopic[]): Promise<PartitionMap<CommittedPosition>>
  /**
   * Whether a partition of the last `assigned` is still this member's: a topic that was recreated has to be assigned again.
   * Absent: it is, because partitions are assigned by the name of their topic.
   */
  owns?(place: TopicPartition): boolean
  /** Changes the set of topics. */
  subscribe(topics: readonly string[]): void
  /** Leaves the group, in bounded time. */
  leave(): Promise<void>
}

/** A position to commit. */
export interface PositionToCommit {
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
  /** The leader epoch of the record before the position; -1 if unknown. */
  readonly leaderEpoch: number
  readonly metadata: string
}

export interface CommittedPosition {
  readonly offset: number
  /** The leader epoch of the record before the position; -1 if unknown (KIP-320). */
  readonly leaderEpoch: number
  readonly metadata: string
}

/** The owner of a member. None of these methods may throw. */
export interface MemberOwner {
  /** The partitions that it reads now. */
  held(): readonly TopicPartition[]
  /** A rebalance of all partitions begins: partitions that are being taken up may not belong to this member any more. */
  interrupted(): void
  /** These partitions may be revoked. Resolves, in bounded time, once their records in flight are settled and committed. */
  givingUp(partitions: readonly TopicPartition[]): Promise<void>
  /** The group has rebalanced more than once since the last assignment: all partitions are revoked. `assigned` follows. */
  superseded(): void
  /**
   * The complete assignment from now on: other partitions are revoked, and new ones are taken up.
   *
   * @param awaited Topics of which the group may give more partitions without another rebalance. Absent: none.
   */
  assigned(share: readonly TopicPartition[], awaited?: readonly string[]): void
  /** Replaces the awaited topics of the last `assigned`. */
  awaits(topics: readonly string[]): void
  /** The group rebalanced without this member: others may own all of its partitions. */
  lost(error: Error): void
  /** The session was in doubt, and the group still knows this member. */
  confirmed(): void
  /** A failure that may heal, for the client's `errors`. */
  trouble(error: RxMikaError): void
  /** A failure that cannot heal. */
  failed(error: RxMikaError): void
}

/** The settings of a member. */
export interface MemberSettings {
  readonly group: string
  /** Static membership (KIP-345); undefined: the member is a new one each time. */
  readonly instanceId: string | undefined
  readonly rack: string | undefined
  /**
   * After this time without an answer, others may own this member's partitions, ms. With the classic protocol it is sent to the
   * brokers. With the consumer protocol the brokers have their own value (`group.consumer.session.timeout.ms`), which they do
   * not report, so this one must not be longer.
   */
  readonly sessionTimeout: number
  /** The longest time between two heartbeats, ms. With the consumer protocol it is shorter if the brokers say so. */
  readonly heartbeatInterval: number
  /** ms. */
  readonly rebalanceTimeout: number
}
