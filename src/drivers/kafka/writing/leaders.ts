import type { Observable } from 'rxjs'
import type { Uuid } from '../../../protocol/wire/uuid.js'

/** A producer id from a broker. */
export interface ProducerId {
  /** `noProducerId` if brokers give none: then a repeated batch may be written twice. */
  readonly id: bigint
  /** The epoch that it begins with. */
  readonly epoch: number
}

export const noProducerId = -1n

export interface PartitionLeader {
  readonly partitionId: number
  /** The broker's node id; negative if there is none at present. */
  readonly leader: number
}

export interface TopicLeaders {
  /** `ZERO_UUID` from brokers before 2.8. */
  readonly topicId: Uuid
  /** By number. */
  readonly partitions: readonly PartitionLeader[]
}

/** One record batch to send to its partition's leader. */
export interface OutgoingBatch {
  readonly topic: string
  readonly partition: number
  readonly bytes: Buffer
}

/** The leader's answer for one batch. */
export interface ProduceAnswer {
  readonly topic: string
  readonly partition: number
  /** 0: the batch was written. */
  readonly errorCode: number
  readonly baseOffset: bigint
}

/**
 * The requests of writing. Each is sent on subscription, emits once and completes, or errors; with a `WriteError` if more than
 * a message is known.
 */
export interface Leaders {
  /** The topic's partitions. Creates the topic if the brokers do so. */
  partitions(topic: string): Observable<TopicLeaders>
  producerId(): Observable<ProducerId>
  /** Sends one request. If the answer has no entry for a batch, the batch's fate is unknown. */
  produce(node: number, batches: readonly OutgoingBatch[]): Observable<readonly ProduceAnswer[]>
}

/** Why a request failed. */
export class WriteError extends Error {
  override readonly name = 'WriteError'

  constructor(
    message: string,
    options: {
      readonly cause: unknown
      /** A retry cannot help. */
      readonly permanent: boolean
      /** It is certain that nothing was sent. */
      readonly unsent: boolean
    },
  ) {
    super(message, { cause: options.cause })
    this.permanent = options.permanent
    this.unsent = options.unsent
  }

  readonly permanent: boolean
  readonly unsent: boolean
}
