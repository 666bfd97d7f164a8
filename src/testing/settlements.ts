import { type ConsumeRecord, deliveryOf } from '../record.js'

/** How a record was settled. */
export type Settlement =
  | { readonly what: 'acked' }
  | { readonly what: 'failed'; readonly reason: unknown; readonly retry: boolean }

/**
 * Tells of the record's settlement, once, just before it takes effect: so what follows from it comes after it. A call
 * that settles nothing, being the second or too late, is not told.
 */
export function watchSettlement(record: ConsumeRecord<unknown>, told: (settlement: Settlement) => void): void {
  // A record that came through `map` settles by the one below; so it is seen however it was transformed.
  const delivered = deliveryOf(record)
  if (delivered === undefined) return
  const { ack, fail } = delivered
  const counts = () => !delivered.settled && !delivered.owner.ended
  delivered.ack = () => {
    if (counts()) told({ what: 'acked' })
    return ack.call(delivered)
  }
  delivered.fail = (reason, options) => {
    if (counts()) told({ what: 'failed', reason, retry: options?.retry ?? true })
    return fail.call(delivered, reason, options)
  }
}
