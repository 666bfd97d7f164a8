import { deliveryBehind } from '../delivery.js'
import type { ConsumeRecord } from '../record.js'

/** Whether the record is still to be settled: it is neither settled nor revoked. */
export function isOpen(record: ConsumeRecord<unknown>): boolean {
  if (record.settled) return false
  const owner = deliveryBehind(record)?.owner
  // Only a record that no client delivered is asked for its signal: reading it makes one.
  return owner === undefined ? !record.signal.aborted : !owner.ended
}
