import { isUtf8 } from 'node:buffer'
import { DecodeError } from '../errors.js'
import { invalid } from '../options.js'
import type { ConsumeRecord } from '../record.js'
import {
  isStandardSchema,
  type StandardSchema,
  type ValidationIssue,
  type ValidationResult,
} from './standard-schema.js'

/**
 * Turns the bytes of a record into a value, or a promise of it. An exception means that the bytes cannot be decoded. A
 * rejection says nothing about the bytes, unless its reason is a `DecodeError`.
 */
export type DecodeFunction<T> = (bytes: Buffer, record: ConsumeRecord) => T | PromiseLike<T>

/**
 * A decoder of UTF-8 JSON, for `decode`.
 *
 * Without a schema, the type is not checked. With one (Standard Schema: zod, valibot, arktype…), the parsed JSON is validated
 * and has the type of the schema's output. Bytes that are not UTF-8 cannot be decoded.
 *
 * @throws ConfigurationError if `schema` is not a Standard Schema.
 *
 * @example
 * decode(json<Order>())
 *
 * @example
 * decode(json(z.object({ id: z.string(), amount: z.number() })))
 */
export function json<T = unknown>(): (bytes: Buffer) => T
export function json<T>(schema: StandardSchema<T>): DecodeFunction<T>
export function json<T>(schema?: StandardSchema<T>): DecodeFunction<T> {
  if (schema === undefined) return parse<T>
  if (!isStandardSchema(schema)) throw invalid('json: the schema', schema, 'must be a Standard Schema')
  const standard = schema['~standard']
  return bytes => {
    const result = standard.validate(parse(bytes))
    return 'then' in result ? result.then(valid) : valid(result)
  }
}

/** Thrown by `json`. The bytes are bad even if an asynchronous decoder rejects with it. */
export class JsonError extends DecodeError {}

function parse<T>(bytes: Buffer): T {
  // `Buffer.toString` replaces invalid bytes by U+FFFD, which would change the value.
  if (!isUtf8(bytes)) throw new JsonError('the bytes are not UTF-8')
  try {
    return JSON.parse(bytes.toString()) as T
  } catch (cause) {
    throw new JsonError((cause as Error).message, { cause })
  }
}

function valid<T>(result: ValidationResult<T>): T {
  if (!result.issues) return result.value
  throw new JsonError(result.issues.map(issueText).join('; '))
}

function issueText({ message, path = [] }: ValidationIssue): string {
  const keys = path.map(segment => String(typeof segment === 'object' ? segment.key : segment))
  return keys.length === 0 ? message : `${keys.join('.')}: ${message}`
}
