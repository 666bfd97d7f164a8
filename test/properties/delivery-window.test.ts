import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DeliveryWindow } from '../../src/client/delivery-window.js'
import type { DeliveredRecord } from '../../src/record.js'
import { FakeOwner } from '../marbles/fake-record.js'
import { deliveredRecord } from '../marbles/signals.js'

/** One step; numbers choose a slot around the window, from a little below its head to a little above its tail. */
type Step = { readonly type: 'push' } | { readonly type: 'complete' | 'replace'; readonly near: number }

const near = fc.nat(10_000)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.constant<Step>({ type: 'push' }) },
  { weight: 5, arbitrary: fc.record({ type: fc.constant('complete' as const), near }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('replace' as const), near }) },
)
/** Many pushes at first, so that the ring grows and wraps. */
const steps = fc
  .tuple(fc.nat(150), fc.array(step, { maxLength: 250, size: 'max' }))
  .map(([pushes, steps]): Step[] => [...Array.from({ length: pushes }, (): Step => ({ type: 'push' })), ...steps])

/** All records that were ever pushed, and which of them are completed. */
class Model {
  readonly slots: { record: DeliveredRecord; completed: boolean }[] = []

  get head(): number {
    const first = this.slots.findIndex(({ completed }) => !completed)
    return first === -1 ? this.slots.length : first
  }

  get tail(): number {
    return this.slots.length
  }

  get left(): DeliveredRecord[] {
    return this.slots.filter(({ completed }) => !completed).map(({ record }) => record)
  }

  get ranges(): [number, number][] {
    const ranges: [number, number][] = []
    for (let slot = this.head; slot < this.tail; slot++) {
      const { record, completed } = this.slots[slot]!
      const offset = record.batch.offset(0)
      if (!completed) continue
      if (this.slots[slot - 1]!.completed && ranges.length > 0) ranges.at(-1)![1] = offset
      else ranges.push([offset, offset])
    }
    return ranges
  }
}

describe('DeliveryWindow', () => {
  it('is an array of records from which completed ones at the front are removed', () => {
    fc.assert(
      fc.property(steps, steps => {
        const owner = new FakeOwner()
        const window = new DeliveryWindow()
        const model = new Model()
        for (const step of steps) {
          if (step.type === 'push') {
            const record = deliveredRecord(owner, model.tail * 2, model.tail)
            model.slots.push({ record, completed: false })
            window.push(record)
            continue
          }
          const below = Math.max(0, model.head - 3)
          const slot = below + (step.near % (model.tail + 3 - below))
          const known = model.slots[slot]
          if (step.type === 'complete') {
            const head = model.head
            if (known !== undefined) known.completed = true
            expect(window.complete(slot)).toBe(model.head > head)
          } else {
            const again = deliveredRecord(owner, slot * 2, slot)
            if (known?.completed === false) known.record = again
            window.replace(again)
          }
        }
        const { head, tail, span, completedBehind } = window
        expect({ head, tail, span }).toEqual({ head: model.head, tail: model.tail, span: model.tail - model.head })
        expect(completedBehind).toBe(span - model.left.length)
        expect([...window]).toEqual(model.left)
        expect(window.finishedRanges()).toEqual(model.ranges)
        for (let slot = -1; slot < tail + 3; slot++) {
          const { record, completed } = model.slots[slot] ?? { completed: true }
          expect(window.at(slot)).toBe(completed ? undefined : record)
        }
      }),
      { numRuns: 500 },
    )
  })

  it('releases a record when it is completed, even behind an uncompleted one', async () => {
    setFlagsFromString('--expose-gc')
    const collectGarbage: () => void = runInNewContext('gc')
    const owner = new FakeOwner()
    const window = new DeliveryWindow()
    const takeIn = () => {
      const record = deliveredRecord(owner, window.tail, window.tail)
      window.push(record)
      return new WeakRef(record)
    }
    const records = Array.from({ length: 5 }, takeIn)
    for (const slot of [0, 1, 3]) window.complete(slot)
    // A WeakRef keeps its object until the end of the turn in which it was created.
    await new Promise(resolve => setImmediate(resolve))
    collectGarbage()
    expect(records.map(record => record.deref() !== undefined)).toEqual([false, false, true, false, true])
    expect([...window]).toHaveLength(2)
  })
})
