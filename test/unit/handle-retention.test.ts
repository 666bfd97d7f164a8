import { setImmediate } from 'node:timers/promises'
import { Subject } from 'rxjs'
import { type ConsumeRecord, handle } from 'rxmika'
import { expect, it } from 'vitest'
import { collectGarbage } from '../collect-garbage.js'
import { fakeRecord } from '../marbles/fake-record.js'

it('keeps no later records in memory when a call hangs beyond its time-out', async () => {
  const source = new Subject<ConsumeRecord>()
  let handled = 0
  source.pipe(handle(async () => (handled++ === 0 ? hang() : undefined), { timeout: 1 })).subscribe()
  const records: WeakRef<ConsumeRecord>[] = []
  for (let offset = 0; offset < 100; offset++) {
    const record = fakeRecord({ offset })
    records.push(new WeakRef(record))
    source.next(record)
    while (handled <= offset) await setImmediate()
  }
  await setImmediate()
  collectGarbage()
  expect(records.slice(1, -1).filter(record => record.deref() !== undefined)).toEqual([])
  expect(hanging).toHaveLength(1)
})

/** References that settle the handlers' promises, as a driver's pool or a socket would keep them. */
const hanging: ((value: undefined) => void)[] = []
const hang = () => new Promise<undefined>(resolve => hanging.push(resolve))
