import type { HeaderPair } from './record-batch.js'

/** A record's headers by name: the only value of a name, or all of them in order. */
export type ConsumedHeaders = { readonly [name: string]: Buffer | null | readonly (Buffer | null)[] | undefined }

/** Which headers are this library's own for a group. */
export interface OwnHeaders {
  isOwn(name: string): boolean
}

/** @param own These are left out. */
export function headersByName(pairs: readonly HeaderPair[], own?: OwnHeaders): ConsumedHeaders {
  // Without a prototype: a header may be named `constructor` or `__proto__`.
  const headers: Record<string, Buffer | null | (Buffer | null)[]> = Object.create(null)
  for (const [name, value] of pairs) {
    if (own?.isOwn(name)) continue
    const before = headers[name]
    if (before === undefined) headers[name] = value
    else if (Array.isArray(before)) before.push(value)
    else headers[name] = [before, value]
  }
  return headers
}

/** The last value of that name; null is a value, undefined means there is none. */
export function lastHeader(pairs: readonly HeaderPair[], name: string): Buffer | null | undefined {
  for (let at = pairs.length - 1; at >= 0; at--) {
    const pair = pairs[at]!
    if (pair[0] === name) return pair[1]
  }
  return undefined
}
