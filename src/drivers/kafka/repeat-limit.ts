import { systemClock } from '../../clock.js'

/** At most this many reasons are remembered; the oldest goes first. */
const maxRemembered = 1_000

/** Lets the same thing be reported once in a while, however often it happens. */
export class RepeatLimit {
  readonly #reported = new Map<string, number>()

  /** @param every ms. */
  constructor(readonly every: number) {}

  /** True if this reason was not reported within the last `every` ms; then it counts as reported now. */
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
