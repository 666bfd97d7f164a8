import { PublishError } from './errors.js'
import { headerPairs, type PublishRecord } from './publish.js'
import type { HeaderPair } from './record-batch.js'

/** A record as bytes. */
export interface EncodableRecord {
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly HeaderPair[]
  /** ms since 1970. Kafka's -1 means none; other negative values lie before 1970. */
  readonly timestamp: number
}

/**
 * Checks a record and encodes its strings as UTF-8. Called before the record joins a batch, so that a record that cannot be
 * encoded is refused alone.
 *
 * @param now Returns the timestamp of a record without one.
 * @throws TypeError naming the invalid part of the record; see {@link notEncodable}.
 */
export function encodable({ key, value, headers, timestamp }: PublishRecord, now: () => number): EncodableRecord {
  if (timestamp !== undefined && !Number.isSafeInteger(timestamp)) {
    const error = new TypeError(`timestamp must be an integer of ms since 1970 (got ${shown(timestamp)})`)
    throw Object.assign(error, { reason: 'INVALID_TIMESTAMP' })
  }
  return {
    key: bytes('key', key),
    value: bytes('value', value),
    headers: checkedHeaders(headers),
    timestamp: timestamp ?? Math.trunc(now()),
  }
}

/**
 * The refusal of a record for which `encodable` threw, or that could not be made. It has the `reason` that a broker would
 * give, if Kafka has one.
 *
 * @param to The topic or partition, for the message.
 */
export function notEncodable(topic: string, to: string, cause: unknown): PublishError {
  const why = cause instanceof Error ? cause.message : 'it could not be made'
  const { reason } = (typeof cause === 'object' && cause !== null ? cause : {}) as { readonly reason?: unknown }
  return new PublishError(`a record could not be written to ${to}: ${why}`, {
    ...{ cause, retriable: false, topic },
    ...(typeof reason === 'string' ? { reason } : {}),
  })
}

function checkedHeaders(headers: PublishRecord['headers']): readonly HeaderPair[] {
  const pairs: readonly unknown[] = headerPairs(headers)
  // Most records have only bytes here. Then nothing is copied.
  if (pairs.every(isOfBytes)) return pairs
  return pairs.map((pair): HeaderPair => {
    if (!Array.isArray(pair) || typeof pair[0] !== 'string') {
      throw new TypeError(`headers must be an object, or pairs of a name and a value (got ${shown(pair)})`)
    }
    return [pair[0], bytes(`header '${pair[0]}'`, pair[1])]
  })
}

function isOfBytes(pair: unknown): pair is HeaderPair {
  return Array.isArray(pair) && typeof pair[0] === 'string' && (pair[1] === null || Buffer.isBuffer(pair[1]))
}

function bytes(what: string, content: unknown): Buffer | null {
  if (content === null || content === undefined) return null
  if (typeof content === 'string') return Buffer.from(content)
  if (Buffer.isBuffer(content)) return content
  if (content instanceof Uint8Array) return Buffer.from(content.buffer, content.byteOffset, content.byteLength)
  throw new TypeError(`${what} must be a Buffer, a string or null (got ${shown(content)})`)
}

/** Shows the kind of a value and not its content, which may be a secret. */
function shown(value: unknown): string {
  if (typeof value === 'number') return String(value)
  return Array.isArray(value) ? 'an array' : typeof value
}
