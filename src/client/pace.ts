import type { Subscription } from 'rxjs'
import type { Clock } from '../clock.js'

/** Up to how much the lateness of a timer is made up for, ms, so that the mean is the rate. */
const slack = 20
/** How long after a timer its turns are taken, ms. */
const turnLength = 2

/** So many turns a second, evenly: no more of them at once after a time without any. */
export class Pace {
  readonly #interval: number
  /** When the next turn is; undefined: whenever it is taken. */
  #next: number | undefined
  #timer: Subscription | undefined
  /** Until when turns are late because the timer was; after that because nobody wanted one. */
  #lateUntil = Number.NEGATIVE_INFINITY

  /**
   * @param rate Turns a second; greater than 0.
   * @param came Called when a turn has come that `isOpen` was asked for in vain.
   */
  constructor(
    rate: number,
    readonly clock: Clock,
    readonly came: () => void,
  ) {
    this.#interval = 1_000 / rate
  }

  /** A turn may be taken now; otherwise `came` is called when one may. */
  get isOpen(): boolean {
    const wait = this.#wait()
    if (wait <= 0) return true
    this.#timer ??= this.clock.scheduler.schedule(() => {
      this.#timer = undefined
      this.#lateUntil = this.clock.monotonic() + turnLength
      this.came()
    }, Math.ceil(wait))
    return false
  }

  /** Takes the next turn, and returns in how many ms it comes: 0 if `isOpen`. */
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
