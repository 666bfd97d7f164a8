import type { RxMikaError } from '../../../errors.js'
import type { KnownTopic } from '../cluster/metadata.js'
import type { PartitionMap, TopicPartition } from '../topic-partition.js'

/** What one member of a group is, as far as reading is concerned: which partitions it has, and what it may commit. */
export interface Member {
  /** Joins, and stays joined until `leave`. */
  start(): void
  /**
   * True: the group has not answered for longer than a session, so others may have what this member has. Only the group
   * can tell; `settleDoubt` asks it.
   */
  readonly doubtful: boolean
  /** Resolves once the group has answered whether this member is still one of it. */
  settleDoubt(): Promise<void>
  /**
   * Commits positions. Rejects with a `CommitError`. Waits for a rebalance that is under way, so `points` is asked just
   * before each sending: it gives what is this member's then.
   */
  commit(points: () => readonly PositionToCommit[]): Promise<void>
  /** The positions that the group has committed, of all partitions of these topics. */
  committed(topics: readonly KnownTopic[]): Promise<PartitionMap<CommittedPosition>>
  /** The set of topics changed. */
  subscribe(topics: readonly string[]): void
  /** Leaves the group, in bounded time. */
  leave(): Promise<void>
}

/** A position as it is sent. */
export interface PositionToCommit {
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
  /** Of the record before it; -1: not known. */
  readonly leaderEpoch: number
  readonly metadata: string
}

export interface CommittedPosition {
  readonly offset: number
  /** Of the record before it; -1 if it is not known (KIP-320). */
  readonly leaderEpoch: number
  readonly metadata: string
}

/** What a member tells and asks of whoever reads for it. None of these may throw. */
export interface MemberOwner {
  /** What it has now. */
  held(): readonly TopicPartition[]
  /** A rebalance of everything begins: what is being taken up may not be this member's any more. */
  interrupted(): void
  /** These may go to others: resolves once what is in flight of them was settled and committed, in bounded time. */
  givingUp(partitions: readonly TopicPartition[]): Promise<void>
  /** All that this member has from now on: what else it had is revoked, and what is new is taken up. */
  assigned(share: readonly TopicPartition[]): void
  /** The group went on without this member: others may have all that it had. */
  lost(error: Error): void
  /** The group was in doubt, and knows this member still. */
  confirmed(): void
  /** Something that may heal, for the client's `errors`. */
  trouble(error: RxMikaError): void
  /** What cannot heal. */
  failed(error: RxMikaError): void
}

/** What a group is joined with. */
export interface MemberSettings {
  readonly group: string
  /** Static membership (KIP-345); `undefined`: the member is a new one each time. */
  readonly instanceId: string | undefined
  readonly rack: string | undefined
  /**
   * After this long without an answer others may have what this member has, ms. The classic protocol tells it to the
   * brokers. By the consumer protocol the brokers have their own (`group.consumer.session.timeout.ms`), and tell nobody; so
   * this one must not be longer.
   */
  readonly sessionTimeout: number
  /** At most so long between two heartbeats, ms. By the consumer protocol less, where the brokers say so. */
  readonly heartbeatInterval: number
  /** ms. */
  readonly rebalanceTimeout: number
}
