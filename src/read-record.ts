import type { InspectOptions } from 'node:util'
import { type ConsumedHeaders, headersByName, lastHeader } from './consumed-headers.js'
import { inspected, inspectedAs, readable } from './readable.js'
import type { HeaderPair, RecordBatch } from './record-batch.js'

/**
 * A record that `client.read` emits. It belongs to no group, so there is nothing to settle: it has neither `ack` and `fail`
 * nor a `signal`.
 */
export interface ReadRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
  /** Milliseconds since 1970. */
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** All of them, those of this library too: what a group wrote into a retry or a dead letter is part of the record. */
  readonly headers: ConsumedHeaders
  /** All of them in the order of the record. */
  readonly headerPairs: readonly HeaderPair[]
  /** The last value of that name; null is a value, undefined means there is none. */
  header(name: string): Buffer | null | undefined
}

/** The record as a place in a batch. Everything else is read when it is asked for. */
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
