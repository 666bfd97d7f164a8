import { isRxMikaError, PublishError } from './errors.js'
import type { RecordMetadata } from './publish.js'

/** The broker has acknowledged a record, and it is in the log at this place. */
export interface Written extends RecordMetadata {
  /** Tells this outcome from a refusal. */
  readonly ok: true
}

/** A record was not acknowledged. */
export interface Refused {
  /** Tells this outcome from a success. */
  readonly ok: false
  /** Why it was not acknowledged. */
  readonly error: PublishError
}

/**
 * The outcome of one record. Tell the two apart by `ok` and never by a class: the driver may have been built with another
 * copy of this package.
 */
export type ProduceResult = Written | Refused

export function written(topic: string, partition: number, offset: bigint): Written {
  return { ok: true, topic, partition, offset }
}

export function refused(error: PublishError): Refused {
  return { ok: false, error }
}

/**
 * Returns a driver's answer for a record as a valid result. Only `ok` together with a place counts as success. Everything
 * else is a refusal, retriable unless it says otherwise, so a driver with a wrong answer loses no record.
 */
export function recognized(result: unknown, topic: string): ProduceResult {
  if (typeof result === 'object' && result !== null) {
    const { ok, partition, offset, error } = result as Partial<Written & { error: unknown }>
    if (ok === true && Number.isInteger(partition) && typeof offset === 'bigint') return result as Written
    if ((ok as unknown) === false) return isPublishError(error) ? (result as unknown as Refused) : unclear(topic, error)
  }
  return unclear(topic, isRxMikaError(result) ? result : undefined)
}

function isPublishError(error: unknown): error is PublishError {
  return isRxMikaError(error, 'RXMIKA_PUBLISH') && typeof error.retriable === 'boolean'
}

function unclear(topic: string, cause: unknown): Refused {
  const why = cause instanceof Error ? cause.message : 'the driver answered neither with a place nor with an error'
  return refused(
    new PublishError(`publishing to ${topic} was not acknowledged: ${why}`, { cause, retriable: true, topic }),
  )
}
