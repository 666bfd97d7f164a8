import type { KafkaError } from '../../../protocol/errors.js'
import type { Uuid } from '../../../protocol/wire/uuid.js'

/** The metadata of one partition. */
export interface KnownPartition {
  /** The leader; -1 if there is none. */
  readonly leader: number
  /** The leader epoch (KIP-320); -1 from brokers before 2.1. */
  readonly leaderEpoch: number
}

/** The metadata of one topic. */
export interface KnownTopic {
  readonly name: string
  /** The topic id (KIP-516); `ZERO_UUID` from brokers before 2.8. A recreated topic has another id. */
  readonly id: Uuid
  /** By partition number. */
  readonly partitions: readonly KnownPartition[]
  /** Why there is no metadata, if so: the topic does not exist, or this client may not see it. */
  readonly error: KafkaError | undefined
}
