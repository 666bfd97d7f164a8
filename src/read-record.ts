import type { InspectOptions } from 'node:util'
import { type ConsumedHeaders, headersByName, lastHeader } from './consumed-headers.js'
import { inspected, inspectedAs, readable } from './readable.js'
import type { HeaderPair, RecordBatch } from './record-batch.js'

/**
 * A record emitted by `client.read`. It is read without a group, so there is nothing to settle: it has no `ack`, `fail` or
 * `signal`.
 */
export interface ReadRecord {
  /** The topic, without the suffix. */
  readonly topic: string
  /** The partition of the topic. */
  readonly partition: number
  /** The offset within the partition. */
  readonly offset: bigint
  /** Milliseconds since 1970. */
  readonly timestamp: number
  /** Null if the record has no key. */
  readonly key: Buffer | null
  /** Null for a tombstone. */
  readonly value: Buffer | null
  /** All headers, those of this library too: what a group wrote into a retry or a dead letter is part of the record. */
  readonly headers: ConsumedHeaders
  /** All headers, in the record's order. */
  readonly headerPairs: readonly HeaderPair[]
  /** The last value under that name. Null is a value; undefined means that there is no such header. */
  header(name: string): Buffer | null | undefined
}

/** The record as an index in a batch. Everything else is read on access. */
export class FetchedRecord implements ReadRecord {
  readonly #topic: string
  readonly #partition: number
  readonly #batch: RecordBatch
  readonly #index: number

  constructor(topic: string, partition: number, batch: RecordBatch, index: number) {
    this.#topic = topic
    this.#partition = partition
    this.#batch = batch
    this.#index = index
  }

  get topic(): string {
    return this.#topic
  }

  get partition(): number {
    return this.#partition
  }

  get offset(): bigint {
    return BigInt(this.#batch.offset(this.#index))
  }

  get timestamp(): number {
    return this.#batch.timestamp(this.#index)
  }

  get key(): Buffer | null {
    return this.#batch.key(this.#index)
  }

  get value(): Buffer | null {
    return this.#batch.value(this.#index)
  }

  get headerPairs(): readonly HeaderPair[] {
    return this.#batch.headers(this.#index)
  }

  get headers(): ConsumedHeaders {
    return headersByName(this.headerPairs)
  }

  header(name: string): Buffer | null | undefined {
    return lastHeader(this.headerPairs, name)
  }

  /** For logs: offsets and bytes as text. */
  toJSON(): unknown {
    return readable(this.#shown())
  }

  [inspected](...rest: [depth: number, options: InspectOptions, inspect: typeof import('node:util').inspect]): string {
    return inspectedAs('ReadRecord', this.#shown(), ...rest)
  }

  #shown(): object {
    const { topic, partition, offset, timestamp, key, value, headers } = this
    return { topic, partition, offset, timestamp, key, value, headers }
  }
}
