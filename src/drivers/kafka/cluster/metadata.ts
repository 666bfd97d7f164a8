import type { KafkaError } from '../../../protocol/errors.js'
import type { Uuid } from '../../../protocol/wire/uuid.js'

/** What the brokers said of one partition. */
export interface KnownPartition {
  /** The broker that leads it; -1: none does. */
  readonly leader: number
  /** Counts its leaders (KIP-320); -1 from brokers before 2.1. */
  readonly leaderEpoch: number
}

/** What the brokers said of one topic. */
export interface KnownTopic {
  readonly name: string
  /** Its id (KIP-516); `ZERO_UUID` from brokers before 2.8. A topic that was deleted and made again has another. */
  readonly id: Uuid
  /** By partition number. */
  readonly partitions: readonly KnownPartition[]
  /** Why nothing is known, where that is so: the topic does not exist, or this client may not see it. */
  readonly error: KafkaError | undefined
}
