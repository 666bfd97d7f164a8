import { Observable, type OperatorFunction } from 'rxjs'
import { failedByDecoder } from '../delivery.js'
import { ConfigurationError, DecodeError, isRxMikaError } from '../errors.js'
import { Fifo } from '../fifo.js'
import { checkLimit, checkOptions, invalid, type KnownOptions } from '../options.js'
import { placeName } from '../place.js'
import type { ConsumeRecord } from '../record.js'
import { isRecord, notRecord } from './is-record.js'
import { type DecodeFunction, JsonError, json } from './json.js'
import { isStandardSchema, type StandardSchema } from './standard-schema.js'
import { subscribeLinked } from './subscribe-linked.js'

/** Turns bytes into a value: a function, or a Standard Schema (zod, valibot, arktype…), which validates the parsed JSON. */
export type Decoder<T> = DecodeFunction<T> | StandardSchema<T>

/** What happens to a record whose value is null: `'pass'` emits it as it is, `'ack'` completes it, `'fail'` fails it. */
export type Tombstones = 'pass' | 'ack' | 'fail'

/** The options of `decode`. */
export interface DecodeOptions {
  /** The maximum number of asynchronous decodings in flight; further records wait. Default 64. */
  readonly concurrency?: number | undefined
  /**
   * What happens to records whose value is null. `'pass'` (default): they are emitted with the value null. `'ack'`: they are
   * acked and not emitted. `'fail'`: they fail with a `DecodeError`, without retries. With the last two, no value is null
   * unless the decoder returns null, and the types say so.
   */
  readonly tombstones?: Tombstones | undefined
}

const known: KnownOptions<DecodeOptions> = { concurrency: true, tombstones: true }

/** @throws ConfigurationError */
export function checkTombstones(option: string, tombstones: unknown): void {
  if (tombstones === 'pass' || tombstones === 'ack' || tombstones === 'fail') return
  throw invalid(option, tombstones, "must be 'pass', 'ack' or 'fail'")
}

/** @throws ConfigurationError unless it is a valid argument of `decode`. */
export function checkDecoder(what: string, decoder: unknown): void {
  // `json` itself is a function too, and would return a function for every record.
  if (decoder === json)
    throw new ConfigurationError(`${what} must be json(), the result of calling json (got json itself)`)
  if (typeof decoder === 'function' || isStandardSchema(decoder)) return
  throw invalid(what, decoder, 'must be a function or a Standard Schema')
}

/** A record that has not been emitted yet. */
interface Pending<T> {
  readonly record: ConsumeRecord
  readonly bytes: Buffer | null
  state: 'waiting' | 'decoding' | 'decoded' | 'failed'
  value: T | null
}

/**
 * Turns the bytes of each record into a value.
 *
 * Records are emitted in their order, even if the decoder is asynchronous and several decodings are in flight. A
 * synchronous decoder emits synchronously. A record that cannot be decoded is not emitted, and the pipeline continues.
 *
 * ```
 * source              -a--x--b---|      x is not JSON
 * decode(json())      -A-----B---|      x fails with a DecodeError, without retries
 * ```
 *
 * - If the decoder throws, or a schema reports issues, the bytes are bad: the record fails with a `DecodeError`, is not
 *   retried, and goes to the topic's dead-letter step with its bytes intact.
 * - If the decoder's promise rejects, the bytes need not be bad: a schema registry may be down. The record fails with the
 *   reason of the rejection and is retried like any failure. A promise that rejects with a `DecodeError` says that the bytes
 *   are bad; `json` does so.
 * - A tombstone (a null value) is not decoded; see `tombstones`.
 *
 * @example
 * client.topic('orders').pipe(decode(json<Order>(), { tombstones: 'ack' }), handle(({ value }) => save(value)))
 *
 * @example
 * client.topic('orders').pipe(decode(z.object({ id: z.string() })), handle(({ value }) => value && save(value)))
 *
 * @param decoder `(bytes, record) => value`, or a promise of the value; or a Standard Schema.
 * @throws ConfigurationError if `decoder` is neither, or an option is invalid or unknown.
 */
export function decode<T>(
  decoder: Decoder<T>,
  options: DecodeOptions & { readonly tombstones: 'ack' | 'fail' },
): OperatorFunction<ConsumeRecord, ConsumeRecord<T>>
export function decode<T>(
  decoder: Decoder<T>,
  options?: DecodeOptions,
): OperatorFunction<ConsumeRecord, ConsumeRecord<T | null>>
export function decode<T>(
  decoder: Decoder<T>,
  options: DecodeOptions = {},
): OperatorFunction<ConsumeRecord, ConsumeRecord<T | null>> {
  checkOptions('decode', options, known)
  const { concurrency = 64, tombstones = 'pass' } = options
  checkTombstones('decode: tombstones', tombstones)
  checkLimit('decode: concurrency', concurrency)
  checkDecoder('decode: the decoder', decoder)
  const decodeBytes = isStandardSchema<T>(decoder) ? json(decoder) : decoder

  return source =>
    new Observable(subscriber => {
      /** In the order they arrived. Empty as long as every decoding is synchronous. */
      const pending = new Fifo<Pending<T>>()
      /** The part of `pending` whose decoding has not begun. */
      const waiting = new Fifo<Pending<T>>()
      let underWay = 0
      let sourceCompleted = false

      const emit = () => {
        for (let first = pending.peek(); first !== undefined && isDone(first); first = pending.peek()) {
          pending.shift()
          const { record, state, value } = first
          if (state === 'decoded') subscriber.next(record.map(() => value))
        }
        if (sourceCompleted && pending.size === 0) subscriber.complete()
      }

      const decoded = (one: Pending<T>, value: T | null) => {
        one.state = 'decoded'
        one.value = value
      }
      const undecodable = (one: Pending<T>, cause: unknown) => {
        one.state = 'failed'
        one.record.fail(decodeError(one.record, cause), { retry: false })
      }
      const rejected = (one: Pending<T>, reason: unknown) => {
        if (isRxMikaError(reason, 'RXMIKA_DECODE')) return undecodable(one, reason)
        one.state = 'failed'
        one.record.fail(reason, failedByDecoder)
      }
      const decodedLater = (settle: () => void) => {
        underWay--
        if (subscriber.closed) return
        settle()
        while (underWay < concurrency) {
          const next = waiting.shift()
          if (next === undefined) break
          begin(next)
        }
        emit()
      }

      const begin = (one: Pending<T>) => {
        one.state = 'decoding'
        if (one.bytes === null) return decoded(one, null)
        try {
          const result = decodeBytes(one.bytes, one.record)
          if (!isPromise(result)) return decoded(one, result)
          underWay++
          Promise.resolve(result).then(
            value => decodedLater(() => decoded(one, value)),
            reason => decodedLater(() => rejected(one, reason)),
          )
        } catch (cause) {
          undecodable(one, cause)
        }
      }

      subscribeLinked(source, subscriber, {
        next: record => {
          if (!isRecord(record)) return subscriber.error(notRecord('decode', record))
          if (tombstones !== 'pass' && record.value === null) {
            if (tombstones === 'ack') record.ack()
            else record.fail(decodeError(record, new TypeError('it is a tombstone')), { retry: false })
            return
          }
          const one: Pending<T> = { record, bytes: record.value, state: 'waiting', value: null }
          pending.push(one)
          if (underWay < concurrency) begin(one)
          else waiting.push(one)
          emit()
        },
        error: error => subscriber.error(error),
        complete: () => {
          sourceCompleted = true
          emit()
        },
      })
    })
}

function isDone({ state }: Pending<unknown>): boolean {
  return state === 'decoded' || state === 'failed'
}

function isPromise<T>(result: T | PromiseLike<T>): result is PromiseLike<T> {
  return typeof (result as PromiseLike<T> | null | undefined)?.then === 'function'
}

function decodeError(record: ConsumeRecord<unknown>, cause: unknown): DecodeError {
  const isDecodeError = isRxMikaError(cause, 'RXMIKA_DECODE')
  const isJson = isDecodeError && cause instanceof JsonError
  if (isDecodeError && !isJson) return cause
  const original = isJson ? (cause.cause ?? cause) : cause
  return new DecodeError(`the record at ${placeName(record.source)} does not decode: ${messageOf(cause)}`, {
    cause: original,
  })
}

/** Decoders may throw any value, even one that cannot be turned into text. */
function messageOf(cause: unknown): string {
  try {
    return cause instanceof Error ? cause.message : String(cause)
  } catch {
    return 'its decoder threw'
  }
}
