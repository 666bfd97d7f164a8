import type { Clock } from '../clock.js'

/** Smaller differences do not count as steps, ms: the two clocks round differently, and NTP slews one of them. */
const minStep = 20
/** Beyond this number, the two oldest steps are merged at the later date, so that they count longer, which is the safe side. */
const maxSteps = 16

/**
 * The wall clock, for comparisons with times that were written earlier by this or another clock. It can subtract recent steps
 * forward: after a step of one hour, every delayed retry written before would otherwise look due. For a delay, steps that are
 * older than the delay do not matter: what was written before them has waited that long.
 */
export class WallClock {
  readonly #steps: { readonly at: number; readonly by: number }[] = []
  /** By how much the wall clock was ahead of the monotonic clock at the last reading. */
  #ahead: number

  constructor(readonly clock: Clock) {
    this.#ahead = clock.wall() - clock.monotonic()
  }

  /** ms since 1970. All dates of the client come from here, because each reading detects steps of the clock. */
  now(): number {
    const [wall, monotonic] = [this.clock.wall(), this.clock.monotonic()]
    this.#notice(wall - monotonic, monotonic)
    return wall
  }

  /** ms since 1970, without the steps forward of the last `delay` ms. */
  nowFor(delay: number): number {
    let now = this.now()
    const monotonic = this.clock.monotonic()
    for (const { at, by } of this.#steps) if (monotonic - at < delay) now -= by
    return now
  }

  #notice(ahead: number, at: number): void {
    const by = ahead - this.#ahead
    if (by > 0 && by < minStep) return
    this.#ahead = ahead
    if (by < 0) this.#takeBack(-by)
    else if (by > 0) this.#steps.push({ at, by })
    if (this.#steps.length > maxSteps) {
      const [oldest, next] = this.#steps.splice(0, 2) as [{ by: number }, { at: number; by: number }]
      this.#steps.unshift({ at: next.at, by: oldest.by + next.by })
    }
  }

  /** A step back undoes the latest steps forward. */
  #takeBack(by: number): void {
    for (let left = by; left > 0; ) {
      const newest = this.#steps.pop()
      if (newest === undefined) return
      if (newest.by > left) this.#steps.push({ at: newest.at, by: newest.by - left })
      left -= newest.by
    }
  }
}
