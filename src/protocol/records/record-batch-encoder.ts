import { gzipSync } from 'node:zlib'
import { crc32c } from './crc32c.js'
import { type BatchBody, batchHeaderBytes, type EncodableRecord, RecordBatchBuilder } from './record-batch-builder.js'

export type { EncodableRecord } from './record-batch-builder.js'

/** How a broker recognizes a batch that it already has: the producer, and the sequence number of the first record. */
export interface ProducerSequence {
  readonly producerId: bigint
  readonly epoch: number
  readonly first: number
  /** Whether the batch is part of the producer's open transaction; default false. */
  readonly transactional?: boolean
}

const crcFrom = 21
/** Attribute of a batch: its records are compressed by gzip. */
const gzipAttribute = 1
const transactionalAttribute = 16

/**
 * Encodes a record batch of format 2, uncompressed unless `compression` is given. Unlike kafkajs's encoder, it keeps the order
 * of headers and null headers, and allocates no buffer per record.
 */
export function encodeRecordBatch(
  records: readonly EncodableRecord[],
  sequence: ProducerSequence,
  compression?: 'gzip',
): Buffer {
  const builder = new RecordBatchBuilder()
  for (const record of records) builder.add(record)
  return sealed(builder.build()!, sequence, compression)
}

/**
 * The batch of these records, with its header and checksum. Without compression it uses the body's own bytes, and writes the
 * header into them.
 */
export function sealed(body: BatchBody, sequence: ProducerSequence, compression: 'gzip' | undefined): Buffer {
  if (compression === undefined) return withHeader(body.bytes, 0, body, sequence)
  const records = gzipSync(body.bytes.subarray(batchHeaderBytes))
  return withHeader(Buffer.concat([Buffer.alloc(batchHeaderBytes), records]), gzipAttribute, body, sequence)
}

function withHeader(
  batch: Buffer,
  attributes: number,
  { count, baseTimestamp, maxTimestamp }: BatchBody,
  { producerId, epoch, first, transactional = false }: ProducerSequence,
): Buffer {
  batch.writeBigInt64BE(0n, 0) // The base offset, which the broker assigns.
  batch.writeInt32BE(batch.length - 12, 8)
  batch.writeInt32BE(-1, 12) // The leader's epoch.
  batch.writeInt8(2, 16)
  batch.writeInt16BE(transactional ? attributes | transactionalAttribute : attributes, crcFrom)
  batch.writeInt32BE(count - 1, 23)
  batch.writeBigInt64BE(BigInt(baseTimestamp), 27)
  batch.writeBigInt64BE(BigInt(maxTimestamp), 35)
  batch.writeBigInt64BE(producerId, 43)
  batch.writeInt16BE(epoch, 51)
  batch.writeInt32BE(first, 53)
  batch.writeInt32BE(count, 57)
  batch.writeUInt32BE(crc32c(batch, crcFrom, batch.length), 17)
  return batch
}
