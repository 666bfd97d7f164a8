import { FetchError, isRxMikaError, type RxMikaError } from '../../errors.js'

/**
 * The error for an exception in a part of this driver that handles its own failures. It is a fault of this library, and errors
 * the stream instead of ending the process.
 */
export function unexpected(cause: unknown): RxMikaError {
  if (isRxMikaError(cause)) return cause
  const message = cause instanceof Error ? cause.message : String(cause)
  return new FetchError(`reading stopped by an unexpected error, please report it: ${message}`, { cause })
}
