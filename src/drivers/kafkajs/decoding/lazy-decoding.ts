import { FetchError } from '../../../errors.js'
import { placeName } from '../../../place.js'
import type { LazyRecordBatch } from '../../../protocol/records/lazy-record-batch.js'
import type { DecodingOptions } from '../../../protocol/records/partition-records.js'
import { decodeFetchResponse, type FetchedPartition } from './fetch-response.js'
import type { DecodedMessage } from './message-set-batch.js'

/** A partition that the broker answered with an error code. */
export interface RefusedFetch {
  readonly topic: string
  readonly partition: number
  /** The offset asked for. */
  readonly offset: bigint
  readonly errorCode: number
}

export interface LazyFetchOptions extends DecodingOptions {
  /**
   * What was fetched cannot be read. For a partition it is said when nothing is left to deliver before it: the position
   * stays, and kafkajs asks again at once unless the partition is paused, which may be done here. `error.cause` is an
   * `UnsupportedCodecError` or a `CorruptBatchError`. Without a partition it is the whole response, and the connection
   * is dropped. Called inside of kafkajs: must not throw.
   */
  readonly onUnreadable: (error: FetchError) => void
  /**
   * True: this is taken care of, and kafkajs shall see no records and no error. Otherwise kafkajs drops the whole
   * response, other partitions included, and reacts in its own way: for an offset out of range it resets the position
   * and says nothing. Must not throw.
   */
  readonly onRefused?: (refused: RefusedFetch) => boolean
}

/** What stands in for a whole record batch in kafkajs, which moves its position past `offset`. */
export interface BatchMessage {
  readonly offset: string
  /** Always false: kafkajs would not hand a batch of markers over, and positions have to pass them, too. */
  readonly isControlRecord: false
  readonly batch: LazyRecordBatch
}

export interface FetchRequest {
  readonly topics: readonly {
    readonly topic: string
    readonly partitions: readonly { readonly partition: number; readonly fetchOffset: string }[]
  }[]
}

export interface Call {
  readonly request: { readonly apiVersion: number }
  readonly response: { readonly decode: (payload: Buffer) => Promise<unknown> }
}

export type Protocol = (request: FetchRequest) => Call
export type LookupRequest = (apiKey: number, definitions: unknown) => Protocol

/** A broker of kafkajs, as far as it is used here; not part of its public types. */
export interface KafkaJSBroker {
  lookupRequest: LookupRequest
  readonly connectionPool: { readonly host: string; readonly port: number }
}

/** The cluster of kafkajs that a partition assigner's factory is given: it belongs to one consumer. */
export interface KafkaJSCluster {
  findBroker(node: { nodeId: string }): Promise<KafkaJSBroker>
}

/** One response, from its bytes to the shape that kafkajs's own decoder gives. */
export class LazyDecoding {
  readonly #version: number

  constructor(
    private readonly broker: KafkaJSBroker,
    private readonly request: FetchRequest,
    private readonly call: Call,
    private readonly payload: Buffer,
    private readonly options: LazyFetchOptions,
  ) {
    this.#version = call.request.apiVersion
  }

  async decode() {
    const { codecs, checkCrcs } = this.options
    const fetchOffset = (topic: string, partition: number) => Number(this.#fetchOffset(topic, partition))
    const response = decodeFetchResponse(this.payload, this.#version, { codecs, checkCrcs, fetchOffset })
    if (response.error !== undefined) {
      this.options.onUnreadable(response.error)
      throw this.#connectionClosed(response.error)
    }
    const responses = []
    for (const partition of response.partitions) {
      responses.push({ topicName: partition.topic, partitions: [await this.#partition(partition)] })
    }
    const { throttleTime, errorCode, sessionId } = response
    // From version 8 on the broker leaves the waiting to the client (KIP-219).
    const throttling = this.#version < 8 ? { throttleTime } : { throttleTime: 0, clientSideThrottleTime: throttleTime }
    return { ...throttling, errorCode, sessionId, responses }
  }

  async #partition(fetched: FetchedPartition) {
    const { partition, highWatermark, lastStableOffset, logStartOffset, preferredReadReplica } = fetched
    return {
      partition,
      errorCode: this.#isTakenCareOf(fetched) ? 0 : fetched.errorCode,
      highWatermark: `${highWatermark}`,
      lastStableOffset: `${lastStableOffset}`,
      // With kafkajs's slip of the pen.
      lastStartOffset: `${logStartOffset}`,
      // Aborted records are gone already, and kafkajs would look for them in what the messages do not have.
      abortedTransactions: [],
      preferredReadReplica,
      messages: await this.#messages(fetched),
    }
  }

  async #messages(fetched: FetchedPartition): Promise<readonly BatchMessage[] | readonly DecodedMessage[]> {
    if (fetched.oldFormat) return this.#oldMessages(fetched, fetched.oldFormat)
    const { batches, error } = fetched
    if (error !== undefined && batches.length === 0) this.options.onUnreadable(error)
    return batches.map((batch): BatchMessage => ({ offset: `${batch.lastOffset}`, isControlRecord: false, batch }))
  }

  #isTakenCareOf({ topic, partition, errorCode }: FetchedPartition): boolean {
    if (errorCode === 0) return false
    const offset = this.#fetchOffset(topic, partition)
    return this.options.onRefused?.({ topic, partition, offset, errorCode }) ?? false
  }

  #fetchOffset(topic: string, partition: number): bigint {
    for (const asked of this.request.topics) {
      if (asked.topic !== topic) continue
      const found = asked.partitions.find(each => each.partition === partition)
      if (found) return BigInt(found.fetchOffset)
    }
    return 0n
  }

  /** Decoded by kafkajs, from a response with this partition alone. */
  async #oldMessages({ topic, partition }: FetchedPartition, bytes: Buffer): Promise<readonly DecodedMessage[]> {
    const head = Buffer.alloc(this.#version < 7 ? 4 : 10)
    const one = Buffer.from([0, 0, 0, 1])
    const name = Buffer.from(topic)
    const nameLength = Buffer.from([name.length >>> 8, name.length & 255])
    type Decoded = { responses: { partitions: { messages: DecodedMessage[] }[] }[] }
    try {
      const payload = Buffer.concat([head, one, nameLength, name, one, bytes])
      const { responses } = (await this.call.response.decode(payload)) as Decoded
      return responses[0]!.partitions[0]!.messages
    } catch (cause) {
      const offset = this.#fetchOffset(topic, partition)
      const message = `the messages at ${placeName({ topic, partition, offset })} cannot be read: ${(cause as Error).message}`
      this.options.onUnreadable(new FetchError(message, { cause, topic, partition, offset }))
      return []
    }
  }

  /** By this name kafkajs drops the connection and makes it anew. */
  #connectionClosed(error: FetchError): Error {
    const { host, port } = this.broker.connectionPool
    return Object.assign(new Error(error.message, { cause: error }), {
      name: 'KafkaJSConnectionClosedError',
      host,
      port,
    })
  }
}
