import { FetchError, isRxMikaError, type RxMikaError } from '../../errors.js'

/**
 * What a part of this driver threw that handles its own failures: a fault of this library, which ends reading by an error
 * instead of ending the process.
 */
export function unexpected(cause: unknown): RxMikaError {
  if (isRxMikaError(cause)) return cause
  const message = cause instanceof Error ? cause.message : String(cause)
  return new FetchError(`reading stopped by an unexpected error, please report it: ${message}`, { cause })
}
