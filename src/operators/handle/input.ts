import { type Delivery, deliveryBehind } from '../../delivery.js'
import { placeName } from '../../place.js'
import type { ConsumeRecord } from '../../record.js'
import { isOpen } from '../is-open.js'

export type AnyRecord = ConsumeRecord<unknown>

/** The deliveries behind the input of `handle`: one record, or an array of records. */
export function deliveries(input: unknown): readonly Delivery[] {
  return (Array.isArray(input) ? input : [input]).map(deliveryBehind).filter(delivery => delivery !== undefined)
}

/** Like `deliveries(input).forEach(act)`. Allocates nothing for a single record: a rebalance visits every waiting call in one turn. */
export function eachDelivery(input: unknown, act: (delivery: Delivery) => void): void {
  if (Array.isArray(input)) return deliveries(input).forEach(act)
  const delivery = deliveryBehind(input)
  if (delivery !== undefined) act(delivery)
}

/** Like `deliveries(input).some(is)`. Allocates nothing for a single record, for the same reason. */
export function someDelivery(input: unknown, is: (delivery: Delivery) => boolean): boolean {
  if (Array.isArray(input)) return deliveries(input).some(is)
  const delivery = deliveryBehind(input)
  return delivery !== undefined && is(delivery)
}

export function recordsOf(input: unknown): readonly AnyRecord[] {
  return Array.isArray(input) ? input : [input as AnyRecord]
}

/** The input without the records that were settled or revoked while it waited; undefined if none is left. */
export function unsettled<I>(input: I): I | undefined {
  if (!Array.isArray(input)) return isOpen(input as AnyRecord) ? input : undefined
  if (input.length > 0 && input.every(isOpen)) return input
  const left = input.filter(isOpen)
  return left.length > 0 ? (left as I) : undefined
}

export function whereOf(input: unknown): string {
  const records = recordsOf(input)
  const first = `the record at ${placeName(records[0]!.source)}`
  return records.length === 1 ? first : `${first} (and ${records.length - 1} more)`
}
