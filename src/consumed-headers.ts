import type { HeaderPair } from './record-batch.js'

/** A record's headers by name: a single value, or an array of values in order if the name occurs several times. */
export type ConsumedHeaders = { readonly [name: string]: Buffer | null | readonly (Buffer | null)[] | undefined }

/** Tells which headers this library added for a group. */
export interface OwnHeaders {
  isOwn(name: string): boolean
}

/** @param own Headers to leave out. */
export function headersByName(pairs: readonly HeaderPair[], own?: OwnHeaders): ConsumedHeaders {
  // Has no prototype, because a header may be named `constructor` or `__proto__`.
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

/** The last value under that name. Null is a value; undefined means that there is no such header. */
export function lastHeader(pairs: readonly HeaderPair[], name: string): Buffer | null | undefined {
  for (let at = pairs.length - 1; at >= 0; at--) {
    const pair = pairs[at]!
    if (pair[0] === name) return pair[1]
  }
  return undefined
}
