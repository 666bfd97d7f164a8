import type { RecordBatch } from '../../../record-batch.js'
import {
  type BatchMessage,
  type KafkaJSBroker,
  type KafkaJSCluster,
  LazyDecoding,
  type LazyFetchOptions,
  type LookupRequest,
} from './lazy-decoding.js'
import { type DecodedMessage, MessageSetBatch } from './message-set-batch.js'

const FETCH = 1
/** Older ones carry only formats that are not decoded here. */
const FIRST_VERSION = 4

/** The records of a batch from index `from` on. */
export interface FetchedBatch {
  readonly batch: RecordBatch
  readonly from: number
}

const lazyBrokers = new WeakSet<KafkaJSBroker>()

/** Makes all brokers of a consumer's cluster decode lazily. To be called once, before anything is fetched. */
export function fetchLazily(cluster: KafkaJSCluster, options: LazyFetchOptions): void {
  const findBroker = cluster.findBroker.bind(cluster)
  cluster.findBroker = async node => {
    const broker = await findBroker(node)
    decodeLazily(broker, options)
    return broker
  }
}

/**
 * Replaces kafkajs's decoding of fetched records, and nothing else: requests, errors, throttling and positions stay its
 * own. It sees one message for a record batch; `batchesOf` gets the batches back. A second call changes nothing.
 */
export function decodeLazily(broker: KafkaJSBroker, options: LazyFetchOptions): void {
  if (lazyBrokers.has(broker)) return
  lazyBrokers.add(broker)
  let lookupRequest = lazily(broker, broker.lookupRequest, options)
  // A property, because kafkajs sets it anew whenever the broker is connected again.
  Object.defineProperty(broker, 'lookupRequest', {
    configurable: true,
    enumerable: true,
    get: () => lookupRequest,
    set: (lookup: LookupRequest) => {
      lookupRequest = lazily(broker, lookup, options)
    },
  })
}

/**
 * The record batches behind what `eachBatch` receives, in the order of the log: what was asked for begins at index `from`
 * of each. Batches without records are among them, for the position has to pass them, too.
 */
export function batchesOf(payloadBatch: { readonly messages: readonly unknown[] }): readonly FetchedBatch[] {
  const { messages, fetchedOffset } = payloadBatch as {
    messages: BatchMessage[] | DecodedMessage[]
    fetchedOffset: string
  }
  const from = Number(fetchedOffset)
  if (isLazy(messages)) return messages.map(({ batch }) => ({ batch, from: batch.firstIndexAt(from) }))
  if (messages.length === 0) return []
  // Its headers would be lost.
  if (messages[0]!.magicByte > 1)
    throw new Error('kafkajs has decoded a record batch by itself: call fetchLazily first')
  return [{ batch: new MessageSetBatch(messages), from: 0 }]
}

/** All of a partition are, or none. */
function isLazy(messages: BatchMessage[] | DecodedMessage[]): messages is BatchMessage[] {
  return messages[0] !== undefined && 'batch' in messages[0]
}

function lazily(broker: KafkaJSBroker, lookup: LookupRequest, options: LazyFetchOptions): LookupRequest {
  return (apiKey, definitions) => {
    const protocol = lookup(apiKey, definitions)
    if (apiKey !== FETCH) return protocol
    return request => {
      const call = protocol(request)
      if (call.request.apiVersion < FIRST_VERSION) return call
      const decode = (payload: Buffer) => new LazyDecoding(broker, request, call, payload, options).decode()
      return { ...call, response: { ...call.response, decode } }
    }
  }
}
