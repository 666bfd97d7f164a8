import type { Type } from './type.js'

/** A field of a struct that is not in every version, or that has a default. */
export interface Field<Read, Written = Read> {
  readonly type: Type<Read, Written>
  /** The first and the last version that has it. */
  readonly first: number
  readonly last: number
  /** What it is taken for where it is missing: in a version without it, or in a value that is to be written. */
  readonly absent: Read & Written
  /** Whether a value may be dropped silently in a version that has no such field; otherwise writing throws. */
  readonly ignorable: boolean
  /** Its number among the tagged fields (KIP-482); undefined for a field in its place. */
  readonly tag: number | undefined
}

// biome-ignore lint/suspicious/noExplicitAny: a field whose values are of no concern here.
export type AnyField = Field<any, any>

/** In every version, and need not be given when writing. */
export function defaulted<Read, Written>(type: Type<Read, Written>, absent: Read & Written): Field<Read, Written> {
  return between(0, Number.POSITIVE_INFINITY, type, absent)
}

/** In this version and all after it. */
export function since<Read, Written>(
  first: number,
  type: Type<Read, Written>,
  absent: Read & Written,
): Field<Read, Written> {
  return between(first, Number.POSITIVE_INFINITY, type, absent)
}

/** In these versions, both included. */
export function between<Read, Written>(
  first: number,
  last: number,
  type: Type<Read, Written>,
  absent: Read & Written,
): Field<Read, Written> {
  return { type, first, last, absent, ignorable: false, tag: undefined }
}

/** Left out without a word in versions that do not have it. */
export function ignorable<Read, Written>(field: Field<Read, Written>): Field<Read, Written> {
  return { ...field, ignorable: true }
}

/** Among the tagged fields. It is written only where it differs from its default. */
export function tagged<Read, Written>(tag: number, field: Field<Read, Written>): Field<Read, Written> {
  return { ...field, tag }
}
