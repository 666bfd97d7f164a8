import type { HeaderPair } from './record-batch.js'

/** Headers by name: one value, or several under the same name. */
export type RecordHeaders = {
  readonly [name: string]: HeaderValue | readonly HeaderValue[] | undefined
}
/** The value of a header to publish. Strings are written as UTF-8. */
export type HeaderValue = Buffer | string | null

/** A record to publish. */
export interface PublishRecord {
  /** The topic, without the suffix. */
  readonly topic: string
  /** Strings are written as UTF-8. Default: no key (null). */
  readonly key?: Buffer | string | null | undefined
  /** Strings are written as UTF-8. Null is a tombstone. */
  readonly value: Buffer | string | null
  /** An object, or pairs where the order between names or a repeated name matters. */
  readonly headers?: RecordHeaders | readonly HeaderPair[] | undefined
  /** Default: chosen by the key as Java's client does; without a key, in turn. */
  readonly partition?: number | undefined
  /** Milliseconds since 1970; default now. */
  readonly timestamp?: number | undefined
}

/** A record as a driver writes it. */
export interface ProduceRecord extends PublishRecord {
  /** Compresses the record, in a record batch of its own. */
  readonly compression?: 'gzip' | undefined
}

/** Where a record was written. */
export interface RecordMetadata {
  /** The topic, without the suffix. */
  readonly topic: string
  /** The partition that the record was written to. */
  readonly partition: number
  /** The offset that the record has there. */
  readonly offset: bigint
}

/** Headers as pairs in their order. `encodable` accepts strings as well, so only values given by name are encoded here. */
export function headerPairs(headers: PublishRecord['headers']): readonly HeaderPair[] {
  if (headers === undefined || headers === null) return []
  if (Array.isArray(headers)) return headers as readonly HeaderPair[]
  const pairs: HeaderPair[] = []
  for (const [name, value] of Object.entries(headers as RecordHeaders)) {
    if (value === undefined) continue
    for (const one of Array.isArray(value) ? value : [value]) {
      pairs.push([name, typeof one === 'string' ? Buffer.from(one) : one])
    }
  }
  return pairs
}
