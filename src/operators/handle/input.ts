import { type Delivery, deliveryBehind } from '../../delivery.js'
import type { ConsumeRecord } from '../../record.js'

export type AnyRecord = ConsumeRecord<unknown>

/** The deliveries behind what `handle` was given: one record, or an array of them. */
export function deliveries(input: unknown): readonly Delivery[] {
  return (Array.isArray(input) ? input : [input]).map(deliveryBehind).filter(delivery => delivery !== undefined)
}

/** Without what was settled or taken away while it waited; undefined when nothing is left. */
export function unsettled<I>(input: I): I | undefined {
  if (!Array.isArray(input)) return isOurs(input as AnyRecord) ? input : undefined
  if (input.length > 0 && input.every(isOurs)) return input
  const left = input.filter(isOurs)
  return left.length > 0 ? (left as I) : undefined
}

function isOurs(record: AnyRecord): boolean {
  if (record.settled) return false
  const owner = deliveryBehind(record)?.owner
  return owner === undefined ? !record.signal.aborted : !owner.ended
}

export function whereOf(input: unknown): string {
  const records = (Array.isArray(input) ? input : [input]) as AnyRecord[]
  const { topic, partition, offset } = records[0]!.source
  const first = `the record at ${topic} partition ${partition} offset ${offset}`
  return records.length === 1 ? first : `${first} (and ${records.length - 1} more)`
}
