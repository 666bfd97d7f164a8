/**
 * A schema of zod, valibot, arktype and others: the part of Standard Schema V1 (standardschema.dev) used here, copied as
 * the specification suggests.
 */
export interface StandardSchema<Output> {
  /** The interface that the specification defines. */
  readonly '~standard': {
    readonly version: 1
    readonly validate: (value: unknown) => ValidationResult<Output> | Promise<ValidationResult<Output>>
  }
}

export type ValidationResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly ValidationIssue[] }

export interface ValidationIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

/** Schemas of some libraries are functions, so `typeof value` cannot be checked. */
export function isStandardSchema<Output>(value: unknown): value is StandardSchema<Output> {
  return value !== null && value !== undefined && typeof (value as StandardSchema<Output>)['~standard'] === 'object'
}
