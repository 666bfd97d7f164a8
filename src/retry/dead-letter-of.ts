import { deliveryBehind } from '../delivery.js'
import { checkOptions, invalid, type KnownOptions } from '../options.js'
import { withJson } from '../readable.js'
import { type Field, isWellFormed } from './headers.js'

/** A failed record: its group, where it was first published, and how often and why it failed. */
export interface DeadLetter {
  /** The consumer group that failed it; undefined if its headers do not say (Spring's may not). */
  readonly group: string | undefined
  /** The topic it was first published to, as its headers name it: with the suffix, if there is one. */
  readonly topic: string
  /** The partition that it was first published to. */
  readonly partition?: number
  /** The offset at which it was first published. */
  readonly offset?: bigint
  /** When it was first published, ms since 1970. */
  readonly timestamp?: number
  /** How often it was retried before it was given up. */
  readonly retries: number
  /** The message of the newest failure; empty if there is none. */
  readonly reason: string
  /** The name of the newest error, or its class in Java. */
  readonly errorName?: string
  /** The stack of the newest error. It may be cut off. */
  readonly stack?: string
  /** `decode`, `handle`, `route` or `pipeline`. */
  readonly stage?: string
  /** `exhausted`, `not-retryable`, `undecodable`, `no-consumer` or `malformed`. */
  readonly disposition?: string
  /** ms since 1970. */
  readonly firstFailedAt?: number
  /** When it failed last, ms since 1970. */
  readonly failedAt?: number
}

/** The value or values of a header in any client: bytes, text, or arrays of them, as kafkajs has them. */
type AnyHeader = Uint8Array | string | null | undefined
/** Headers as any client has them: an object, pairs or a map. */
export type AnyHeaders =
  /** By name, as kafkajs has them. */
  | { readonly [name: string]: AnyHeader | readonly AnyHeader[] }
  | readonly (readonly [name: string, value: AnyHeader])[]
  | ReadonlyMap<string, AnyHeader | readonly AnyHeader[]>

/** A record read from a DLQ topic by any client. Only its headers are used. */
export interface RecordWithHeaders {
  /** All headers of the record. */
  readonly headers?: AnyHeaders | undefined
}

/** The options of `deadLetterOf`. */
export interface DeadLetterOfOptions {
  /** The full name of the group whose failure is returned. Default: the group with the latest failure. */
  readonly group?: string | undefined
}

const known: KnownOptions<DeadLetterOfOptions> = { group: true }

/**
 * Returns what the headers of a dead letter say: who failed it, where, when, how often and why.
 *
 * Reads the headers of this library and of MiKa in Go (`mika_err_…`), of Spring Kafka (`kafka_dlt-…`, and `kafka_original-…`
 * with `kafka_exception-…`), and of a broker's share groups (`__dlq.errors.…`, KIP-1191). The record may come from any client,
 * or be a `ConsumeRecord` of a replay.
 *
 * Headers are data from outside: an invalid field is left out, and without a valid topic name there is no dead letter. No
 * record makes it throw.
 *
 * If several groups have failed the record, the latest failure is returned. A failure without a time counts as the oldest.
 * @example
 * consumer.run({
 *   eachMessage: async ({ message }) => {
 *     const letter = deadLetterOf(message)
 *     if (letter) console.log(`${letter.topic}-${letter.partition}@${letter.offset}: ${letter.reason}`)
 *   },
 * })
 *
 * @returns undefined if the record is not a dead letter, or not one of `group`.
 * @throws ConfigurationError if an option is invalid or unknown.
 */
export function deadLetterOf(record: RecordWithHeaders, options: DeadLetterOfOptions = {}): DeadLetter | undefined {
  checkOptions('deadLetterOf', options, known)
  const { group } = options
  if (group !== undefined && (typeof group !== 'string' || group.trim() === '')) {
    throw invalid('deadLetterOf: group', group, 'must be a non-empty string')
  }
  const headers = lastValues(pairsOf(record))
  let newest: DeadLetter | undefined
  for (const deadLetter of [...ownFormat(headers), spring(headers), broker(headers)]) {
    if (deadLetter === undefined || (group !== undefined && deadLetter.group !== group)) continue
    if (newest === undefined || (deadLetter.failedAt ?? -1) > (newest.failedAt ?? -1)) newest = deadLetter
  }
  return newest && withJson(newest)
}

type Headers = ReadonlyMap<string, Buffer>

// ── This library's, and MiKa's ───────────────────────────────────────────────────────────────────────────────────────

const prefix = 'mika_err_'
const marker = '_org_topic'

function* ownFormat(headers: Headers): Generator<DeadLetter | undefined> {
  for (const name of headers.keys()) {
    if (!name.startsWith(prefix) || !name.endsWith(marker)) continue
    // A group may be called `org_topic`, so the two parts of the name may overlap: then it is a foreign header.
    const group = name.slice(prefix.length, -marker.length)
    if (group !== '' && name.length > prefix.length + marker.length) yield ownFormatOf(group, headers)
  }
}

function ownFormatOf(group: string, headers: Headers): DeadLetter | undefined {
  const bytes = (field: Field) => {
    const value = headers.get(`${prefix}${group}_${field}`)
    return value !== undefined && isWellFormed(field, value) ? value : undefined
  }
  const text = (field: Field) => bytes(field)?.toString()
  const number = (field: Field) => decimal(bytes(field))
  const topic = text('org_topic')
  if (topic === undefined) return undefined
  return letter(group, topic, {
    partition: number('org_partition'),
    offset: bigint(bytes('org_offset')),
    timestamp: decimalDate(bytes('org_timestamp'), -1n),
    retries: number('retries'),
    reason: text('msg'),
    errorName: text('error_name'),
    stack: text('error_stack'),
    stage: text('stage'),
    disposition: text('disposition'),
    firstFailedAt: decimalDate(bytes('first_failed_at'), 0n),
    failedAt: decimalDate(bytes('failed_at'), 0n),
  })
}

// ── Spring Kafka's: KafkaHeaders.DLT_*, and what @RetryableTopic writes. Numbers are binary, big-endian ────────────────

function spring(headers: Headers): DeadLetter | undefined {
  // Headers of the dead-letter publisher come first: they are newer than those of a retry topic.
  const get = (name: string) => headers.get(`kafka_dlt-${name}`) ?? headers.get(`kafka_${name}`)
  const topic = topicName(get('original-topic'))
  if (topic === undefined) return undefined
  const attempts = int(headers.get('retry_topic-attempts'))
  return letter(get('original-consumer-group')?.toString(), topic, {
    partition: int(get('original-partition')),
    offset: long(get('original-offset')),
    timestamp: longDate(get('original-timestamp')),
    // Attempts include the first delivery.
    retries: attempts === undefined ? undefined : Math.max(0, attempts - 1),
    reason: get('exception-message')?.toString(),
    errorName: get('exception-cause-fqcn')?.toString() ?? get('exception-fqcn')?.toString(),
    stack: get('exception-stacktrace')?.toString(),
  })
}

// ── A broker's share groups (KIP-1191): as text ──────────────────────────────────────────────────────────────────────

function broker(headers: Headers): DeadLetter | undefined {
  const get = (name: string) => headers.get(`__dlq.errors.${name}`)
  const topic = topicName(get('topic'))
  if (topic === undefined) return undefined
  const deliveries = decimal(get('delivery.count'))
  return letter(get('group')?.toString(), topic, {
    partition: decimal(get('partition')),
    offset: bigint(get('offset')),
    retries: deliveries === undefined ? undefined : Math.max(0, deliveries - 1),
    reason: get('message')?.toString(),
  })
}

// ── Fields ───────────────────────────────────────────────────────────────────────────────────────────────────────────

type Fields = {
  readonly [field in Exclude<keyof DeadLetter, 'group' | 'topic'>]?: DeadLetter[field] | undefined
}

function letter(group: string | undefined, topic: string, { retries = 0, reason = '', ...rest }: Fields): DeadLetter {
  const known = Object.entries(rest).filter(([, value]) => value !== undefined)
  return { group, topic, ...Object.fromEntries(known), retries, reason }
}

/** A topic name, if Kafka accepts it as one. */
function topicName(value: Buffer | undefined): string | undefined {
  return value !== undefined && isWellFormed('org_topic', value) ? value.toString() : undefined
}

const maxInt = 2n ** 31n - 1n
const maxLong = 2n ** 63n - 1n
/** The latest date of JavaScript, ms. */
const maxDate = 8_640_000_000_000_000n

/** Decimal digits only: `BigInt` would also accept spaces, signs and `0x`. -1 is Kafka's timestamp for none. */
function bigint(value: Buffer | undefined, min = 0n, max = maxLong): bigint | undefined {
  if (value === undefined || value.length > 19) return undefined
  const text = value.toString('latin1')
  return /^(\d+|-1)$/.test(text) ? within(BigInt(text), min, max) : undefined
}

function decimal(value: Buffer | undefined): number | undefined {
  const number = bigint(value, 0n, maxInt)
  return number === undefined ? undefined : Number(number)
}

function decimalDate(value: Buffer | undefined, min: bigint): number | undefined {
  const ms = bigint(value, min, maxDate)
  return ms === undefined ? undefined : Number(ms)
}

/** An integer of at most four bytes: older versions wrote small numbers with fewer. */
function int(value: Buffer | undefined): number | undefined {
  if (value === undefined || value.length === 0 || value.length > 4) return undefined
  const number = value.readIntBE(0, value.length)
  return number >= 0 ? number : undefined
}

function long(value: Buffer | undefined, min = 0n, max = maxLong): bigint | undefined {
  return value?.length === 8 ? within(value.readBigInt64BE(0), min, max) : undefined
}

function longDate(value: Buffer | undefined): number | undefined {
  const ms = long(value, -1n, maxDate)
  return ms === undefined ? undefined : Number(ms)
}

function within(number: bigint, min: bigint, max: bigint): bigint | undefined {
  return number >= min && number <= max ? number : undefined
}

// ── Headers of any client ────────────────────────────────────────────────────────────────────────────────────────────

function pairsOf(record: RecordWithHeaders): readonly (readonly [unknown, unknown])[] {
  // The `headers` of a `ConsumeRecord` are without this library's own, so the delivery behind it is read.
  const delivered = deliveryBehind(record)?.headerPairs
  if (delivered !== undefined) return delivered
  try {
    const { headers } = record
    if (typeof headers !== 'object' || headers === null) return []
    if (Array.isArray(headers)) return headers
    return headers instanceof Map ? [...headers] : Object.entries(headers)
  } catch {
    return []
  }
}

/** By name the last value; names whose last value is null are left out. */
function lastValues(pairs: readonly (readonly [unknown, unknown])[]): Headers {
  const values = new Map<string, Buffer>()
  for (const pair of pairs) {
    if (!Array.isArray(pair) || typeof pair[0] !== 'string') continue
    const value: unknown = Array.isArray(pair[1]) ? pair[1].at(-1) : pair[1]
    if (typeof value === 'string') values.set(pair[0], Buffer.from(value))
    else if (value instanceof Uint8Array) values.set(pair[0], Buffer.from(value.buffer, value.byteOffset, value.length))
    else values.delete(pair[0])
  }
  return values
}
