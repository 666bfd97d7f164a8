import { DeadlineError } from './deadline.js'

/** How long no broker may answer before that is an outage, ms: a connection that broke is made anew at once. */
const grace = 500

/** Tells an outage once when it begins and once when it is over, however many requests fail in between. */
export class Outage {
  #timer: NodeJS.Timeout | undefined
  #told = false

  constructor(
    readonly onBegin: (error: unknown) => void,
    readonly onEnd: () => void,
    /** Some broker's connection stands: what is away is not all. */
    readonly isConnected: () => boolean,
  ) {}

  answered(): void {
    this.stop()
    if (!this.#told) return
    this.#told = false
    this.onEnd()
  }

  unanswered(error: unknown): void {
    if (this.#told || this.#timer !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      if (!(error instanceof DeadlineError) && this.isConnected()) return
      this.#told = true
      this.onBegin(error)
    }, grace)
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
