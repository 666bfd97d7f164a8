import type { Type } from './type.js'

/** A field of a struct that some versions lack, or that has a default. */
export interface Field<Read, Written = Read> {
  readonly type: Type<Read, Written>
  /** The first and the last version that has it. */
  readonly first: number
  readonly last: number
  /** The value if the field is missing: in a version without it, or in a value to be written. */
  readonly absent: Read & Written
  /** Whether a value is dropped silently in a version without the field. Otherwise writing throws. */
  readonly ignorable: boolean
  /** The number of a tagged field (KIP-482); undefined for an ordinary field. */
  readonly tag: number | undefined
}

// biome-ignore lint/suspicious/noExplicitAny: the type of the field's values does not matter here.
export type AnyField = Field<any, any>

/** A field of every version, with a default. */
export function defaulted<Read, Written>(type: Type<Read, Written>, absent: Read & Written): Field<Read, Written> {
  return between(0, Number.POSITIVE_INFINITY, type, absent)
}

/** A field of this version and all later ones. */
export function since<Read, Written>(
  first: number,
  type: Type<Read, Written>,
  absent: Read & Written,
): Field<Read, Written> {
  return between(first, Number.POSITIVE_INFINITY, type, absent)
}

/** A field of these versions, both included. */
export function between<Read, Written>(
  first: number,
  last: number,
  type: Type<Read, Written>,
  absent: Read & Written,
): Field<Read, Written> {
  return { type, first, last, absent, ignorable: false, tag: undefined }
}

/** A field that is dropped silently in versions without it. */
export function ignorable<Read, Written>(field: Field<Read, Written>): Field<Read, Written> {
  return { ...field, ignorable: true }
}

/** A tagged field. It is written only if it differs from its default. */
export function tagged<Read, Written>(tag: number, field: Field<Read, Written>): Field<Read, Written> {
  return { ...field, tag }
}
