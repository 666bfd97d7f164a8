import { deliveryBehind } from '../../delivery.js'
import { RxMikaError } from '../../errors.js'
import type { ConsumeRecord } from '../../record.js'
import { isObject } from '../is-promise.js'

type AnyRecord = ConsumeRecord<unknown>
/** A record of a batch, and why it failed. */
export type FailedRecord = readonly [record: AnyRecord, reason: unknown]

/** The same symbol in every copy of this package in the process. */
const brand: unique symbol = Symbol.for('rxmika.batch-failure') as never

/**
 * A handler of arrays throws it, or rejects or errors with it, if only some records of its batch failed. These records fail,
 * each with its own reason; the others are acked, and their outcomes have the value `undefined`. If the handler returns it,
 * that counts as well.
 *
 * @example
 * handle(async records => {
 *   const refused = await insertMany(records.map(({ value }) => value))
 *   if (refused.length > 0) throw BatchFailure.of(...refused.map(({ at, error }) => [records[at], error] as const))
 * })
 */
export class BatchFailure extends RxMikaError {
  /** The records that failed, each with its reason. */
  readonly failures: readonly FailedRecord[]

  get [brand](): true {
    return true
  }

  private constructor(failures: readonly FailedRecord[]) {
    super('RXMIKA_BATCH_FAILURE', `${failures.length} of the batch failed`, { cause: failures[0]![1] })
    this.failures = failures
  }

  /**
   * Makes the error that a handler throws.
   *
   * @param failures At least one record of the batch, each with the reason of its failure. Of several reasons for one record
   * the first counts. A record that is not in the batch is a `TypeError` that fails the whole batch.
   * @throws TypeError if there is no failure, or one is not a pair.
   */
  static of(...failures: readonly FailedRecord[]): BatchFailure {
    if (failures.length === 0) throw new TypeError('BatchFailure.of must be given at least one [record, reason]')
    for (const failure of failures) {
      if (!Array.isArray(failure) || !isObject(failure[0])) {
        throw new TypeError('BatchFailure.of must be given pairs [record, reason]')
      }
    }
    return new BatchFailure(failures)
  }
}

/**
 * The reasons by record if the batch failed with a `BatchFailure`; a TypeError if one of its records is not in the batch;
 * undefined for any other reason, with which all records fail.
 */
export function failuresIn(
  reason: unknown,
  batch: readonly AnyRecord[],
): Map<unknown, unknown> | TypeError | undefined {
  if (!isBatchFailure(reason)) return undefined
  const known = new Set(batch.map(identityOf))
  const failures = new Map<unknown, unknown>()
  for (const [record, why] of reason.failures) {
    const identity = identityOf(record)
    if (!known.has(identity)) {
      return new TypeError('BatchFailure.of was given a record that is not of the batch', { cause: reason })
    }
    if (!failures.has(identity)) failures.set(identity, why)
  }
  return failures
}

export function isBatchFailure(reason: unknown): reason is BatchFailure {
  if (!isObject(reason)) return false
  try {
    return (reason as { [brand]?: true })[brand] === true
  } catch {
    // A handler may throw any value: a proxy, say.
    return false
  }
}

/** The same value for a record and its mapped versions. */
export function identityOf(record: AnyRecord): unknown {
  return deliveryBehind(record) ?? record
}
