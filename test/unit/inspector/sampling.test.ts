import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { markKinds } from '../../../src/inspector/messages'
import { Sampling } from '../../../src/inspector/sampling'

type Step = readonly [what: 'deliver' | 'ack' | 'fail' | 'frame', row: number, count: number]

const step: fc.Arbitrary<Step> = fc.tuple(fc.constantFrom('deliver', 'ack', 'fail', 'frame'), fc.nat(120), fc.nat(400))

it('counts every record, bounds the marks of a frame, and marks an ack only if its delivery has a mark', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), steps => {
      const sampling = new Sampling()
      const next = new Map<number, number>()
      const open = new Map<number, number[]>()
      const done = { delivered: 0, acked: 0, failed: 0 }
      const counted = { delivered: 0, acked: 0, failed: 0 }
      const marked = new Set<string>()
      const frame = () => {
        const { marks, counts, shown, of } = sampling.take(0)
        expect(marks.length).toBeLessThanOrEqual(240 + 1_000 + 240)
        let [delivered, all] = [0, 0]
        for (const [, ...values] of counts) {
          counted.delivered += values[0]
          counted.acked += values[1]
          counted.failed += values[2]
          all += values[0]
        }
        for (const [kind, row, , offset] of marks) {
          const place = `${row}@${offset}`
          if (markKinds[kind] === 'delivered') {
            delivered++
            marked.add(place)
          } else if (markKinds[kind] === 'acked') expect(marked).toContain(place)
        }
        expect([shown, of]).toEqual([delivered, all])
        // However many deliveries a frame has, some of them have marks.
        if (all > 0) expect(shown).toBeGreaterThan(0)
      }
      for (const [what, row, count] of steps) {
        const rows = open.get(row) ?? []
        open.set(row, rows)
        if (what === 'frame') frame()
        else if (what === 'deliver') {
          for (let at = 0; at < count; at++) {
            const offset = next.get(row) ?? 0
            next.set(row, offset + 1)
            rows.push(offset)
            done.delivered++
            sampling.delivered(row, offset, 1, 0)
          }
        } else {
          const how = what === 'ack' ? 'acked' : 'failed'
          for (const offset of rows.splice(0, count)) {
            done[how]++
            sampling.settled(row, how, offset, 1, 0)
          }
        }
      }
      frame()
      expect(counted).toEqual(done)
    }),
    { numRuns: 60 },
  )
})

it('shares the marks among the partitions: a quiet one has marks beside a busy one', () => {
  const sampling = new Sampling()
  for (let frame = 0; frame < 4; frame++) {
    for (let offset = 0; offset < 2_000; offset++) sampling.delivered(0, frame * 2_000 + offset, 1, 0)
    for (let row = 1; row <= 10; row++) sampling.delivered(row, frame, 1, 0)
    const { marks } = sampling.take(0)
    if (frame === 0) continue
    expect(new Set(marks.map(([, row]) => row)).size).toBe(11)
  }
})
