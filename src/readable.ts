import type { InspectOptions } from 'node:util'

// How public objects are printed, in JSON and by `console.log`. Offsets are bigint and keys are bytes, and JSON has neither.
// The internal fields of a record are of no use to a reader.

/** The method that Node's `console.log` and `util.inspect` call on an object to print it. */
export const inspected: unique symbol = Symbol.for('nodejs.util.inspect.custom') as never

type Inspect = (value: unknown, options: InspectOptions) => string

/** How many bytes of a key, a value or a header are shown. */
const maxBytesShown = 1_024
/** How deep, and how many entries of one object or list, are shown. */
const maxDepthShown = 6
const maxEntriesShown = 100

/** A base class for objects that print well in JSON and in `console.log`. */
export abstract class Readable {
  /** For logs: offsets and bytes as text. */
  toJSON(): unknown {
    return entriesOf(this, maxDepthShown)
  }

  [inspected](depth: number, options: InspectOptions, inspect: Inspect): string {
    return inspectedAs('', Object.fromEntries(Object.entries(this)), depth, options, inspect)
  }
}

/** Gives an object that is built field by field the `toJSON` of {@link Readable}. It is not enumerable, so a spread copies fields only. */
export function withJson<T extends object>(value: T): T {
  return Object.defineProperty(value, 'toJSON', { value: () => entriesOf(value, maxDepthShown) })
}

/** The text of an object for `console.log`: its name and its fields, bytes as text. */
export function inspectedAs(
  name: string,
  fields: object,
  depth: number,
  options: InspectOptions,
  inspect: Inspect,
): string {
  if (depth < 0) return `[${name || 'Object'}]`
  const shown = Object.fromEntries(
    Object.entries(fields).map(([field, value]) => [field, value instanceof Uint8Array ? readableBytes(value) : value]),
  )
  const text = inspect(shown, { ...options, depth: options.depth === undefined ? 2 : options.depth })
  return name === '' ? text : `${name} ${text}`
}

/**
 * Returns a value that JSON can represent, whatever is given: bigint and bytes become text, errors their name and message.
 * Values that are too deep, too long or unreadable become a short note. Never throws.
 */
export function readable(value: unknown, depth = maxDepthShown): unknown {
  try {
    if (typeof value === 'bigint') return String(value)
    if (typeof value === 'function' || typeof value === 'symbol') return String(value)
    if (typeof value !== 'object' || value === null) return value
    if (value instanceof Uint8Array) return readableBytes(value)
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? String(value) : value.toISOString()
    if (depth <= 0) return Array.isArray(value) ? '[Array]' : '[Object]'
    if (value instanceof Error) return readableError(value, depth)
    if (typeof (value as { toJSON?: unknown }).toJSON === 'function') {
      return readable((value as { toJSON(): unknown }).toJSON(), depth - 1)
    }
    if (value instanceof Map) return entriesOf(Object.fromEntries([...value].map(([k, v]) => [String(k), v])), depth)
    if (Array.isArray(value) || value instanceof Set) return listOf([...value], depth)
    return entriesOf(value, depth)
  } catch {
    return '[unreadable]'
  }
}

/** An error as its name, message, own properties and cause. */
export function readableError(error: Error, depth = maxDepthShown): unknown {
  const { name, message, cause } = error
  const own = entriesOf({ ...error, name: undefined, cause: undefined, stack: undefined }, depth)
  return { name, message, ...own, ...(cause === undefined ? {} : { cause: readable(cause, depth - 1) }) }
}

/** UTF-8 bytes as text, other bytes as `base64:…`. At most the first 1,024 bytes are shown. */
export function readableBytes(bytes: Uint8Array): string {
  const isCut = bytes.byteLength > maxBytesShown
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, maxBytesShown))
  const rest = isCut ? `… (${bytes.byteLength} bytes)` : ''
  try {
    // `stream` where the bytes were cut: then half a character at the end is not an error.
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(buffer, { stream: isCut }) + rest
  } catch {
    return `base64:${buffer.toString('base64')}${rest}`
  }
}

function listOf(list: readonly unknown[], depth: number): unknown[] {
  const shown = list.slice(0, maxEntriesShown).map(entry => readable(entry, depth - 1))
  if (list.length > maxEntriesShown) shown.push(`… (${list.length} entries)`)
  return shown
}

function entriesOf(value: object, depth: number): Record<string, unknown> {
  const names = Object.keys(value)
  // `fromEntries` defines properties and does not assign them: a header may be named `__proto__`.
  return Object.fromEntries(
    names
      .slice(0, maxEntriesShown)
      .map(name => [name, readable((value as Record<string, unknown>)[name], depth - 1)] as const)
      .filter(([, entry]) => entry !== undefined),
  )
}
