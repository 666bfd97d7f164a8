/** Counts of one topic's records since the client was created. Retries count under the topic they were first published to. */
export interface TopicMetrics {
  /** Emitted to the topic's pipeline; every attempt counts. */
  readonly delivered: number
  /** Settled by `ack()`. */
  readonly acked: number
  /** Settled by `fail()`, undecodable, or without a consumer. */
  readonly failed: number
  /** Failed and tried again: the broker acknowledged the copy on the retry topic, or `redeliver` took the record. */
  readonly retried: number
  /** Failed for good: the broker acknowledged the copy on the DLQ topic. */
  readonly deadLettered: number
  /** Failed and given up by `discard()`. */
  readonly discarded: number
  /** Dropped by the pipeline without being settled. */
  readonly leaked: number
}

/** One partition assigned to this client, with the topic as users name it. */
export interface PartitionMetrics {
  /** The topic, without the suffix. */
  readonly topic: string
  /** The partition of the topic. */
  readonly partition: number
  /** The offset of the first record that is not completed; if all are, of the next record to come. */
  readonly position: bigint
  /** The position that the broker has confirmed, initially the one where reading began. Undefined without a group. */
  readonly committed: bigint | undefined
  /** The offset that the next record of the log will get, at most a few seconds old. Undefined: not known yet. */
  readonly endOffset: bigint | undefined
  /** `endOffset` − `committed`; without a group `endOffset` − `position`. An upper bound of the number of records. */
  readonly lag: bigint | undefined
  /** Records in a pipeline or on their failure route. */
  readonly inFlight: number
  /** When the oldest record in a pipeline was delivered, ms since 1970. Undefined if there is none. */
  readonly oldestUnsettledSince: number | undefined
  /** Retries whose time has not come. */
  readonly delayed: number
  /** Records that are unroutable, or held by a step of their route. */
  readonly held: number
  /** Records that are completed behind `position`. A getter: spreading or cloning the object does not copy it. */
  readonly finishedBehind: number
}

/** A snapshot of a client's counts; see `Client.metrics()`. Counts start with the client and never decrease. */
export interface ClientMetrics {
  /** By topic, as users name it. Has no prototype, because a topic may be named `constructor`. */
  readonly topics: Readonly<Record<string, TopicMetrics>>
  /** The partitions that this client reads, those of retry and DLQ topics included. */
  readonly partitions: readonly PartitionMetrics[]
  /** Records that the broker acknowledged, copies on retry and DLQ topics included. */
  readonly published: number
  /** OffsetCommit requests that the broker confirmed. */
  readonly commits: number
  /** How often this member received an assignment, the first time included. */
  readonly rebalances: number
}

/** State for probes; see `Client.health()`. */
export interface ClientHealth {
  /** False: the client cannot recover, and the process must be restarted. */
  readonly live: boolean
  /** True: the client has its assignment, and brokers answer. */
  readonly ready: boolean
  /** Why it is not ready or not live; empty if it is both. */
  readonly reasons: string[]
}
