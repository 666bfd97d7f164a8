import type { Observable } from 'rxjs'

/** A producer id, as a broker gave it out. */
export interface ProducerId {
  /** `noProducerId` where brokers give none out: a repeated batch may be written twice then. */
  readonly id: bigint
  /** With what it begins. */
  readonly epoch: number
}

export const noProducerId = -1n

export interface PartitionLeader {
  readonly partitionId: number
  /** The broker's node id; negative: none at present. */
  readonly leader: number
}

/** One record batch on its way to its partition's leader. */
export interface OutgoingBatch {
  readonly topic: string
  readonly partition: number
  readonly bytes: Buffer
}

/** What the leader says to one batch. */
export interface ProduceAnswer {
  readonly topic: string
  readonly partition: number
  /** 0: written. */
  readonly errorCode: number
  readonly baseOffset: bigint
}

/**
 * What writing asks of the brokers. Each asks on subscription, emits once and completes, or errors; `WriteError` where
 * more is known than a message.
 */
export interface Leaders {
  /** The topic's partitions, by number. Creates the topic where the brokers do so. */
  partitions(topic: string): Observable<readonly PartitionLeader[]>
  producerId(): Observable<ProducerId>
  /** Sends one request; an answer that leaves a batch out says nothing about it. */
  produce(node: number, batches: readonly OutgoingBatch[]): Observable<readonly ProduceAnswer[]>
}

/** Why brokers could not be asked. */
export class WriteError extends Error {
  override readonly name = 'WriteError'

  constructor(
    message: string,
    options: {
      readonly cause: unknown
      /** Trying again changes nothing. */
      readonly permanent: boolean
      /** Nothing was sent, for certain. */
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
