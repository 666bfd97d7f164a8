import { bufferCount, concatMap, from } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { FailureRoute } from '../../src/client/failure-route'
import { Failed } from '../../src/failure'
import { DeliveredRecord, type RecordOwner } from '../../src/record'
import type { RecordBatch } from '../../src/record-batch'

const owner = { topic: 'orders', partition: 0, ended: false } as RecordOwner

describe('a failure route whose steps batch', () => {
  it('holds a record that breaks every batch it is in, and few beside it', () => {
    const held: number[] = []
    const route = new FailureRoute(
      failures =>
        failures.pipe(
          bufferCount(2),
          concatMap(batch => {
            if (batch.some(({ record }) => (record as DeliveredRecord).slot === 0)) throw new Error('poison')
            return from(batch)
          }),
        ),
      ({ record }) => held.push((record as DeliveredRecord).slot),
      () => {},
    )
    for (let slot = 0; slot < 20; slot++) {
      route.next(new Failed(new DeliveredRecord(owner, {} as RecordBatch, 0, slot, undefined, 0), 'no', 1, true))
    }
    // All reach the end here, which is unroutable too: what was held for the breaks came before the poison.
    expect(held.indexOf(0)).toBeGreaterThanOrEqual(0)
    expect(held.indexOf(0)).toBeLessThanOrEqual(3)
  })
})
