import type { Subscription } from 'rxjs'
import type { Clock } from '../clock.js'
import { longestDuration } from '../options.js'

/** Up to this much lateness of a timer is made up for, ms, so that the mean is the rate. */
const slack = 20
/** How long turns may be taken after their timer fired, ms. */
const turnLength = 2

/** A number of turns per second, evenly spaced. A pause is not made up for by a burst. */
export class Pace {
  readonly #interval: number
  /** When the next turn is; undefined before the first turn. */
  #next: number | undefined
  #timer: Subscription | undefined
  /** Until then a turn is late because of its timer; after that, because none was wanted. */
  #lateUntil = Number.NEGATIVE_INFINITY

  /**
   * @param rate Turns per second; greater than 0.
   * @param onTurn Called when a turn has come after `isOpen` was false.
   */
  constructor(
    rate: number,
    readonly clock: Clock,
    readonly onTurn: () => void,
  ) {
    this.#interval = 1_000 / rate
  }

  /** Whether a turn may be taken now. If not, `onTurn` is called when one may. */
  get isOpen(): boolean {
    const wait = this.#wait()
    if (wait <= 0) return true
    // If the turn is later, `onTurn` leads here again.
    const delay = Math.min(Math.ceil(wait), longestDuration)
    this.#timer ??= this.clock.scheduler.schedule(() => {
      this.#timer = undefined
      this.#lateUntil = this.clock.monotonic() + turnLength
      this.onTurn()
    }, delay)
    return false
  }

  /** Takes the next turn. Returns in how many ms it comes; 0 if `isOpen`. */
  take(): number {
    const wait = Math.max(0, this.#wait())
    const now = this.clock.monotonic()
    this.#next = Math.max(this.#next ?? now, now <= this.#lateUntil ? now - slack : now) + this.#interval
    return wait
  }

  end(): void {
    this.#timer?.unsubscribe()
  }

  #wait(): number {
    return this.#next === undefined ? 0 : this.#next - this.clock.monotonic()
  }
}
