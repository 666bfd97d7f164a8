import Batch from 'kafkajs/src/consumer/batch.js'
import { batchesOf, type FetchedBatch } from './decoding/lazy-fetch.js'
import type { FetchedPartition } from './kafkajs-internals.js'
import { MessageBatch } from './message-batch.js'

/** The batches of one partition's part of a response that was asked from `offset`. */
export type FetchedBatches = (topic: string, offset: number, fetched: FetchedPartition) => readonly FetchedBatch[]

/** Batches as they stand in the response; see `decodeLazily`. */
export const decodedLazily: FetchedBatches = (_topic, offset, { messages }) =>
  batchesOf({ messages, fetchedOffset: String(offset) } as { messages: unknown[] })

/** What kafkajs has decoded: one batch for all that came; markers and aborted records are gaps in it. */
export const decodedByKafkajs: FetchedBatches = (topic, offset, fetched) => {
  if (fetched.messages.length === 0) return []
  const batch = new Batch(topic, String(offset), fetched)
  if (batch.isEmptyIncludingFiltered()) return []
  return [{ batch: new MessageBatch(batch.messages, Number(batch.lastOffset())), from: 0 }]
}
