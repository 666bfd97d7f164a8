import type { ClientOptions, Driver, HeaderPair } from 'rxmika'

/** A record in the broker. */
export interface StoredRecord {
  readonly partition: number
  readonly offset: bigint
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** The headers in their order, duplicates and nulls included. */
  readonly headers: readonly HeaderPair[]
}

/** A record to write. Absent fields are null, none, or the broker's choice. */
export interface NewRecord {
  readonly key?: string | null
  readonly value: string | null
  readonly headers?: Readonly<Record<string, string>>
  readonly partition?: number
  readonly timestamp?: number
}

/** A driver that can be killed, as if it ran in its own process. */
export interface MortalDriver {
  readonly driver: Driver
  /** Resolves when the group can continue without it. Positions that the driver has not committed are not committed. */
  kill(): Promise<void>
}

/** A broker for the scenarios of the contract. Reads and writes it without the library. */
export interface Backend {
  open(): Promise<void>
  close(): Promise<void>
  /** The options with which a client reaches the broker. */
  connection(): Pick<ClientOptions, 'brokers' | 'driver' | 'groupProtocol'>
  driver(): Driver
  mortalDriver(): MortalDriver
  createTopic(name: string, partitions: number): Promise<void>
  deleteTopic(name: string): Promise<void>
  /** Writes the records of each partition in their order, in one batch. */
  publish(topic: string, records: readonly NewRecord[]): Promise<void>
  /** All records of the topic, by partition and offset. */
  records(topic: string): Promise<StoredRecord[]>
  /** The committed offset of the group. Undefined if it has none. */
  committed(group: string, topic: string, partition: number): Promise<bigint | undefined>
  /** Resolves when the group waits for members to revoke partitions. */
  rebalancing(group: string): Promise<void>
  /** The groups that the broker knows. */
  groups(): Promise<string[]>
}
