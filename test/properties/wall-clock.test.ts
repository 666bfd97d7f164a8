import * as fc from 'fast-check'
import { asyncScheduler } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { WallClock } from '../../src/client/wall-clock.js'
import { dueIn, type OwnHeaders, ownDelay } from '../../src/retry/headers.js'

const hour = 3_600_000

/** A machine whose wall clock is set from time to time. */
class Machine {
  monotonicNow = 500
  wallNow = Date.UTC(2026, 10, 28)
  readonly clock = { scheduler: asyncScheduler, monotonic: () => this.monotonicNow, wall: () => this.wallNow }

  pass(ms: number): void {
    this.monotonicNow += ms
    this.wallNow += ms
  }
}

type Own = OwnHeaders & { kind: 'own' }
const written = (failedAt: number, delay: number) => ({ kind: 'own', failedAt, notBefore: failedAt + delay }) as Own

function due(headers: Own, wallClock: WallClock): number {
  return dueIn(headers, wallClock.nowFor(ownDelay(headers)))
}

describe('a delayed copy', () => {
  it('waits for its own delay after it was written, however the clock is set meanwhile', () => {
    const step = fc.record({
      passes: fc.integer({ min: 0, max: 20_000 }),
      set: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 19 }), fc.integer({ min: -48 * hour, max: 48 * hour })),
      delay: fc.constantFrom(1_000, 10_000, 60_000),
    })
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), steps => {
        const machine = new Machine()
        const wallClock = new WallClock(machine.clock)
        const copies: { readonly headers: Own; readonly at: number; readonly delay: number }[] = []
        for (const { passes, set, delay } of steps) {
          copies.push({ headers: written(wallClock.now(), delay), at: machine.monotonicNow, delay })
          machine.pass(passes)
          machine.wallNow += set
          for (const { headers, at, delay } of copies) {
            const wait = due(headers, wallClock)
            const waited = machine.monotonicNow - at
            expect(wait).toBeLessThanOrEqual(delay)
            // Several steps, each too small to be noticed, add up to one that is noticed.
            expect(waited + wait).toBeGreaterThanOrEqual(delay - 20)
          }
        }
      }),
      { numRuns: 300 },
    )
  })

  it('waits for the rest of its delay if the clock was not set meanwhile', () => {
    const machine = new Machine()
    const wallClock = new WallClock(machine.clock)
    machine.wallNow += hour
    expect(due(written(machine.wallNow - hour, 5_000), wallClock)).toBe(5_000)
    machine.pass(5_000)
    expect(due(written(machine.wallNow - 1_000, 5_000), wallClock)).toBe(4_000)
    expect(due(written(machine.wallNow - 1_000, 5_001), wallClock)).toBe(5_001)
  })

  it('is due at the same time if the clock is set forward and then back', () => {
    const machine = new Machine()
    const wallClock = new WallClock(machine.clock)
    const headers = written(machine.wallNow, 10_000)
    for (const by of [hour, 2 * hour, -2.5 * hour]) {
      machine.pass(1_000)
      machine.wallNow += by
      wallClock.nowFor(0)
    }
    machine.wallNow -= hour / 2
    expect(due(headers, wallClock)).toBe(7_000)
    // Set back further than it was ever set forward: an earlier copy waits its whole delay, and no longer.
    machine.wallNow -= hour
    expect(due(headers, wallClock)).toBe(10_000)
  })

  it('keeps few steps, however often the clock is set', () => {
    const machine = new Machine()
    const wallClock = new WallClock(machine.clock)
    const headers = written(machine.wallNow, 20_000)
    for (let at = 0; at < 10_000; at++) {
      machine.pass(1)
      machine.wallNow += hour
      expect(due(headers, wallClock)).toBe(20_000 - at - 1)
    }
  })

  it('counts a step for the length of the delay after it was noticed, however often the clock is read', () => {
    const machine = new Machine()
    const wallClock = new WallClock(machine.clock)
    machine.wallNow += hour
    wallClock.now()
    for (let at = 0; at < 59; at++) {
      machine.pass(100)
      expect(wallClock.nowFor(6_000)).toBe(machine.wallNow - hour)
    }
    machine.pass(100)
    expect(wallClock.nowFor(6_000)).toBe(machine.wallNow)
    expect(wallClock.nowFor(6_001)).toBe(machine.wallNow - hour)
  })

  it('treats steps below 20 ms as rounding, unless they add up', () => {
    const machine = new Machine()
    const wallClock = new WallClock(machine.clock)
    machine.wallNow += 19
    expect(wallClock.nowFor(1_000)).toBe(machine.wallNow)
    machine.wallNow += 1
    expect(wallClock.nowFor(1_000)).toBe(machine.wallNow - 20)
  })

  it('cancels exactly as much as the clock was set back', () => {
    const machine = new Machine()
    const wallClock = new WallClock(machine.clock)
    for (const by of [hour, 2 * hour, -2 * hour]) {
      machine.wallNow += by
      wallClock.now()
    }
    expect(wallClock.nowFor(1_000)).toBe(machine.wallNow - hour)
  })

  it('keeps 16 steps: the oldest two are merged, with the later date', () => {
    const machine = new Machine()
    const wallClock = new WallClock(machine.clock)
    const set = () => {
      machine.pass(1_000)
      machine.wallNow += hour
      wallClock.now()
    }
    for (let at = 0; at < 16; at++) set()
    // The first is 15 s old, and the second 14.
    expect(wallClock.nowFor(15_000)).toBe(machine.wallNow - 15 * hour)
    set()
    expect(wallClock.nowFor(16_000)).toBe(machine.wallNow - 17 * hour)
    expect(wallClock.nowFor(15_000)).toBe(machine.wallNow - 15 * hour)
  })
})
