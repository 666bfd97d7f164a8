/** What happened to the records of one topic since the client was made. Retries count under the topic first published to. */
export interface TopicMetrics {
  /** Handed to the topic's pipeline, every attempt anew. */
  readonly delivered: number
  /** Settled by `ack()`. */
  readonly acked: number
  /** Settled by `fail()`, or undecodable, or without a consumer. */
  readonly failed: number
  /** Failed and to be tried again: a copy stands on the retry topic, or `redeliver` has it. */
  readonly retried: number
  /** Failed for good: a copy stands on the DLQ topic. */
  readonly deadLettered: number
  /** Failed and given up by `discard`. */
  readonly discarded: number
  /** Dropped by the pipeline unsettled. */
  readonly leaked: number
}

/** One partition that is read here, topic as users name it. */
export interface PartitionMetrics {
  readonly topic: string
  readonly partition: number
  /** The offset of the first record that is not completed, or of the next to come. */
  readonly position: bigint
  /** The position that the broker has confirmed, or that reading began at; undefined without a group. */
  readonly committed: bigint | undefined
  /** The offset that the next record of the log will get, as last heard: at most a few seconds old. Undefined: not heard yet. */
  readonly endOffset: bigint | undefined
  /** `endOffset` − `committed`, without a group − `position`: records are as many at most. */
  readonly lag: bigint | undefined
  /** Records in a pipeline or on their failure route. */
  readonly inFlight: number
  /** When the oldest record that is in a pipeline was delivered, ms since 1970; undefined: none is. */
  readonly oldestUnsettledSince: number | undefined
  /** Retries whose time has not come. */
  readonly delayed: number
  /** Records that are unroutable, or held by a step of their route. */
  readonly held: number
  /** Records that are completed behind `position`. A getter: it is not copied with the others. */
  readonly finishedBehind: number
}

/** A snapshot of a client's counts; see `Client.metrics()`. Counts begin with the client and never go down. */
export interface ClientMetrics {
  /** By name, as users have it. Without a prototype: a topic may be named `constructor`. */
  readonly topics: Readonly<Record<string, TopicMetrics>>
  readonly partitions: readonly PartitionMetrics[]
  /** Records that the broker acknowledged, copies on retry and DLQ topics included. */
  readonly published: number
  /** OffsetCommit requests that the broker confirmed. */
  readonly commits: number
  /** How often this member was told what it has, the first time included. */
  readonly rebalances: number
}

/** For probes; see `Client.health()`. */
export interface ClientHealth {
  /** False: it can never go on, and only a restart of the process helps. */
  readonly live: boolean
  /** It has its assignment, and brokers answer. */
  readonly ready: boolean
  /** Why it is not ready or not live; empty if it is both. */
  readonly reasons: string[]
}
