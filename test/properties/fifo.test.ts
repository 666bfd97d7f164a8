import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Fifo } from '../../src/fifo.js'
import { collectGarbage } from '../collect-garbage.js'

type Step =
  | { readonly type: 'push' | 'shift'; readonly count: number }
  | { readonly type: 'unshift' | 'drain' | 'clear' }

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ type: fc.constantFrom('push' as const, 'shift' as const), count: fc.nat(40) }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('unshift' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constantFrom('drain' as const, 'clear' as const) }) },
) satisfies fc.Arbitrary<Step>

describe('a queue', () => {
  it('has the items of an array, in its order (generated)', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), steps => {
        const queue = new Fifo<number>()
        const model: number[] = []
        let next = 0
        for (const step of steps) {
          if (step.type === 'push') {
            for (let at = 0; at < step.count; at++) {
              queue.push(next)
              model.push(next++)
            }
          } else if (step.type === 'shift') {
            for (let at = 0; at < step.count; at++) expect(queue.shift()).toBe(model.shift())
          } else if (step.type === 'unshift') {
            queue.unshift(next)
            model.unshift(next++)
          } else if (step.type === 'drain') expect(queue.drain()).toEqual(model.splice(0))
          else {
            queue.clear()
            model.length = 0
          }
          const items: number[] = []
          queue.forEach(item => {
            items.push(item)
          })
          expect(items).toEqual(model)
          expect(queue.size).toBe(model.length)
          expect(queue.peek()).toBe(model[0])
        }
      }),
    )
  })

  it('keeps nothing of the items that left it', async () => {
    const queue = new Fifo<object>()
    const weak = Array.from({ length: 5_000 }, () => {
      const item = {}
      queue.push(item)
      return new WeakRef(item)
    })
    while (queue.size > 1) queue.shift()
    // References that were made in a turn hold until its end.
    await setImmediate()
    collectGarbage()
    expect(weak.filter(ref => ref.deref() !== undefined)).toHaveLength(1)
  })
})
