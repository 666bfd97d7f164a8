import { deliveryBehind } from '../delivery.js'
import type { ConsumeRecord } from '../record.js'

/** Whether the record can still be settled: it is neither settled nor revoked. */
export function isOpen(record: ConsumeRecord<unknown>): boolean {
  if (record.settled) return false
  const owner = deliveryBehind(record)?.owner
  // `signal` is created when it is read, so it is read only of records that no client delivered.
  return owner === undefined ? !record.signal.aborted : !owner.ended
}
