import { deliveryBehind } from '../delivery.js'
import { kindOf } from '../options.js'
import type { ConsumeRecord } from '../record.js'
import { isObject } from './is-promise.js'

/** Whether it is a record: of a client of any copy of this package, or one that a test made. */
export function isRecord(value: unknown): value is ConsumeRecord<unknown> {
  return deliveryBehind(value) !== undefined || (isObject(value) && typeof value.ack === 'function')
}

/**
 * Returns the error of a stream whose operator was given something else than a record, most often by `map(({ value }) => …)`
 * before it. The message has only the kind of the value, because the value may be a secret.
 *
 * @param operator As the message begins: `keep`.
 * @param wanted What the operator accepts.
 * @param within Where the value was: `an array with `.
 */
export function notRecord(operator: string, value: unknown, wanted = 'records', within = ''): TypeError {
  return new TypeError(
    `${operator} must be given ${wanted} (got ${within}${kindOf(value)}); to change what a record holds, use ` +
      'map(record => record.map(value => …)), which keeps its ack() and fail()',
  )
}
