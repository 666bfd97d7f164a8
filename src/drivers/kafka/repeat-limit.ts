import { systemClock } from '../../clock.js'

/** The maximum number of remembered reasons. The oldest is removed first. */
const maxRemembered = 1_000

/** Lets a reason be reported only once in a while, however often it occurs. */
export class RepeatLimit {
  readonly #reported = new Map<string, number>()

  /** @param every The shortest time between two reports, ms. */
  constructor(readonly every: number) {}

  /** Returns true if this reason was not reported within the last `every` ms. Then it counts as reported now. */
  allows(reason: string): boolean {
    const now = systemClock.monotonic()
    const last = this.#reported.get(reason)
    if (last !== undefined && now - last < this.every) return false
    this.#reported.delete(reason)
    this.#reported.set(reason, now)
    if (this.#reported.size > maxRemembered) this.#reported.delete(this.#reported.keys().next().value!)
    return true
  }
}
