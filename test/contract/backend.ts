import type { ClientOptions, Driver, HeaderPair } from 'rxmika'

/** A record as it stands in the broker. */
export interface StoredRecord {
  readonly partition: number
  readonly offset: bigint
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** In the order of the record, duplicates and nulls included. */
  readonly headers: readonly HeaderPair[]
}

/** A record to write; what it leaves out is null, none or the broker's choice. */
export interface NewRecord {
  readonly key?: string | null
  readonly value: string | null
  readonly headers?: Readonly<Record<string, string>>
  readonly partition?: number
  readonly timestamp?: number
}

/** A driver in a process of its own, as it were, that can be killed. */
export interface MortalDriver {
  readonly driver: Driver
  /** Resolves when the group can go on without it. What the driver had not committed stays so. */
  kill(): Promise<void>
}

/** What the scenarios of the contract run on. It looks at the broker from outside, without the library. */
export interface Backend {
  open(): Promise<void>
  close(): Promise<void>
  /** What a client needs to reach the broker. */
  connection(): Pick<ClientOptions, 'brokers' | 'driver' | 'groupProtocol'>
  driver(): Driver
  mortalDriver(): MortalDriver
  createTopic(name: string, partitions: number): Promise<void>
  deleteTopic(name: string): Promise<void>
  /** Writes the records of each partition in their order, in one batch. */
  publish(topic: string, records: readonly NewRecord[]): Promise<void>
  /** Everything on the topic, by partition and offset. */
  records(topic: string): Promise<StoredRecord[]>
  /** The next offset that the group will read; undefined where it has committed none. */
  committed(group: string, topic: string, partition: number): Promise<bigint | undefined>
  /** Resolves when the group waits for members to give partitions up. */
  rebalancing(group: string): Promise<void>
  /** The groups that the broker knows. */
  groups(): Promise<string[]>
}
