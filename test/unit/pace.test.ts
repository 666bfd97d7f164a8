import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Pace } from '../../src/client/pace.js'
import { Clock } from './clock.js'

/** Takes each turn as it comes, with timers that are late by so many ms each. Returns the times of the turns. */
function turns(rate: number, lateness: readonly number[], until: number) {
  const clock = new Clock()
  let late = 0
  const scheduler = Object.create(clock, {
    schedule: {
      value: (work: () => void, delay = 0) => clock.schedule(work, delay + (lateness[late++ % lateness.length] ?? 0)),
    },
  })
  const slow = { scheduler, monotonic: () => clock.now(), wall: () => clock.now() }
  const taken: number[] = []
  const take = () => {
    while (pace.isOpen) {
      pace.take()
      taken.push(clock.now())
    }
  }
  const pace = new Pace(rate, slow, take)
  take()
  clock.runTo(until)
  pace.end()
  return { taken, pace, clock }
}

describe('a Pace', () => {
  it('never gives a turn earlier than the rate allows, counted from the first', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.5, max: 5_000, noNaN: true }),
        fc.array(fc.integer({ min: 0, max: 60 }), { maxLength: 20 }),
        (rate, lateness) => {
          const { taken } = turns(rate, lateness, 2_000)
          taken.forEach((at, turn) => {
            expect(at - taken[0]!).toBeGreaterThanOrEqual((turn * 1_000) / rate - 1e-6)
          })
        },
      ),
    )
  })

  it.each([10, 300, 1_000, 4_000])('keeps %d a second although timers are late by some ms', rate => {
    const { taken } = turns(rate, [1, 3, 0, 7], 10_000)
    expect(taken.length).toBeGreaterThan(rate * 10 * 0.97)
    expect(taken.length).toBeLessThanOrEqual(rate * 10 + 1)
  })

  it('does not catch up on time in which no turn was requested', () => {
    const { pace, clock } = turns(100, [0], 95)
    clock.runTo(1_000)
    expect(pace.isOpen).toBe(true)
    expect(pace.take()).toBe(0)
    expect(pace.isOpen).toBe(false)
    // A caller that does not wait gets the time of its own turn.
    expect([pace.take(), pace.take()]).toEqual([10, 20])
    pace.end()
  })
})
