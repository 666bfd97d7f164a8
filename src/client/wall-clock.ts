import type { Clock } from '../clock.js'

/** The two clocks round differently, and NTP slews one of them; less than this is no step, ms. */
const shortestStep = 20
/** More steps are kept as one, dated by the later: it counts for longer then, which is the safe side. */
const mostSteps = 16

/**
 * The wall clock, for times that were written earlier by the same clock or another: how late is it, were it not for steps
 * forward? Set forward by an hour, it would call every delayed retry due that was written before. A step is forgotten for
 * a delay once it is older than that delay: what was written before the step has waited that long by then.
 */
export class WallClock {
  readonly #steps: { readonly at: number; readonly by: number }[] = []
  /** By how much the wall clock was ahead of the monotonic one when it was last looked at. */
  #ahead: number

  constructor(readonly clock: Clock) {
    this.#ahead = clock.wall() - clock.monotonic()
  }

  /** ms since 1970. What the client dates, it dates by this: the clock must have been looked at to know of its steps. */
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
    if (by > 0 && by < shortestStep) return
    this.#ahead = ahead
    if (by < 0) this.#takeBack(-by)
    else if (by > 0) this.#steps.push({ at, by })
    if (this.#steps.length > mostSteps) {
      const [oldest, next] = this.#steps.splice(0, 2) as [{ by: number }, { at: number; by: number }]
      this.#steps.unshift({ at: next.at, by: oldest.by + next.by })
    }
  }

  /** Set back, the clock undoes the newest steps forward. */
  #takeBack(by: number): void {
    for (let left = by; left > 0; ) {
      const newest = this.#steps.pop()
      if (newest === undefined) return
      if (newest.by > left) this.#steps.push({ at: newest.at, by: newest.by - left })
      left -= newest.by
    }
  }
}
