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
 * A record's bytes to a value, at once or by a promise. What it throws is why the bytes do not decode. What its promise is
 * rejected with says nothing of the bytes, unless it is a `DecodeError`.
 */
export type DecodeFunction<T> = (bytes: Buffer, record: ConsumeRecord) => T | PromiseLike<T>

/**
 * A decoder for JSON in UTF-8, for `decode`.
 *
 * Without a schema the type is taken on trust. With one (Standard Schema: zod, valibot, arktype…) the parsed JSON is
 * validated, and the type is what the schema gives. Bytes that are not UTF-8 do not decode. What is no schema is a
 * `ConfigurationError`.
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

/** What `json` throws: also where it is called by an asynchronous decoder, the bytes are bad and no service is away. */
export class JsonError extends DecodeError {}

function parse<T>(bytes: Buffer): T {
  // Buffer.toString puts U+FFFD for what it cannot read, and the value would be another one.
  if (!isUtf8(bytes)) throw new JsonError('the bytes are not UTF-8')
  try {
    return JSON.parse(bytes.toString()) as T
  } catch (cause) {
    throw new JsonError((cause as Error).message, { cause })
  }
}

function valid<T>(result: ValidationResult<T>): T {
  if (!result.issues) return result.value
  throw new JsonError(result.issues.map(told).join('; '))
}

function told({ message, path = [] }: ValidationIssue): string {
  const keys = path.map(segment => String(typeof segment === 'object' ? segment.key : segment))
  return keys.length === 0 ? message : `${keys.join('.')}: ${message}`
}
