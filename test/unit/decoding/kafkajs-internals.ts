import { createRequire } from 'node:module'

// What kafkajs itself encodes and decodes, to compare with. It has no types for these.
const require = createRequire(import.meta.url)

export interface KafkaJSMessage {
  readonly offset: string
  readonly timestamp: string
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Record<string, Buffer | Buffer[]>
  readonly isControlRecord: boolean
}

export interface KafkaJSPartition {
  readonly partition: number
  readonly errorCode: number
  readonly highWatermark: string
  readonly lastStableOffset: string
  readonly lastStartOffset?: string
  readonly abortedTransactions: { readonly producerId: string; readonly firstOffset: string }[]
  readonly preferredReadReplica?: number
  readonly messages: KafkaJSMessage[]
}

export interface KafkaJSFetchResponse {
  readonly throttleTime: number
  readonly clientSideThrottleTime?: number
  readonly errorCode?: number
  readonly sessionId?: number
  readonly responses: { readonly topicName: string; readonly partitions: KafkaJSPartition[] }[]
}

interface Encoder {
  readonly buffer: Buffer
}

interface BatchOptions {
  readonly compression?: number
  readonly firstOffset?: unknown
  readonly firstTimestamp?: number
  readonly maxTimestamp?: number
  readonly partitionLeaderEpoch?: number
  readonly lastOffsetDelta?: number
  readonly transactional?: boolean
  readonly producerId?: unknown
  readonly records: unknown[]
}

interface RecordOptions {
  readonly offsetDelta: number
  readonly timestampDelta: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers?: Record<string, Buffer | Buffer[]>
}

export const Long: { fromValue(value: number | string): unknown } = require('kafkajs/src/utils/long')

export const encodeKafkaJSRecord: (
  record: RecordOptions,
) => unknown = require('kafkajs/src/protocol/recordBatch/record/v0')

export const encodeKafkaJSBatch: (batch: BatchOptions) => Promise<Encoder> =
  require('kafkajs/src/protocol/recordBatch/v0').RecordBatch

export const encodeKafkaJSMessageSet: (set: {
  messageVersion: number
  compression: number
  entries: { key: string; value: string; timestamp?: number }[]
}) => Encoder = require('kafkajs/src/protocol/messageSet')

export const kafkaJSCrc32c: (bytes: Buffer) => number = require('kafkajs/src/protocol/recordBatch/crc32C')

export const decodeByKafkaJS = (version: number, payload: Buffer): Promise<KafkaJSFetchResponse> =>
  require(`kafkajs/src/protocol/requests/fetch/v${version}/response`).decode(payload)
