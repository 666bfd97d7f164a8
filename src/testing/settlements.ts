import { type ConsumeRecord, deliveryOf } from '../record.js'

/** How a record was settled. */
export type Settlement =
  | { readonly what: 'acked' }
  | { readonly what: 'failed'; readonly reason: unknown; readonly retry: boolean }

/**
 * Reports the record's settlement once, just before it takes effect, so that its consequences come after it. A call that
 * settles nothing, because it is the second or too late, is not reported.
 */
export function watchSettlement(record: ConsumeRecord<unknown>, report: (settlement: Settlement) => void): void {
  // The settlement of the underlying record is watched, so that mapped records are covered too.
  const delivered = deliveryOf(record)
  if (delivered === undefined) return
  const { ack, fail } = delivered
  const counts = () => !delivered.settled && !delivered.owner.ended
  delivered.ack = () => {
    if (counts()) report({ what: 'acked' })
    return ack.call(delivered)
  }
  delivered.fail = (reason, options) => {
    if (counts()) report({ what: 'failed', reason, retry: options?.retry ?? true })
    return fail.call(delivered, reason, options)
  }
}
