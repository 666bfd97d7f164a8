import { setMaxListeners } from 'node:events'

/**
 * The delay between attempts: doubled after each failure up to a maximum, and shortened by up to half at random, so that the
 * members of a group do not return at the same time after an outage.
 */
export class Backoff {
  #failures = 0

  constructor(
    /** The delay after the first failure, ms. */
    readonly first: number,
    /** The longest delay, ms. */
    readonly max: number,
  ) {}

  failed(): void {
    this.#failures++
  }

  reset(): void {
    this.#failures = 0
  }

  /** The delay before the next attempt, ms; 0 after a success. */
  get delay(): number {
    if (this.#failures === 0) return 0
    return Math.min(this.first * 2 ** (this.#failures - 1), this.max) * (0.5 + Math.random() / 2)
  }

  /** Resolves after the delay, or at once when `signal` aborts. */
  async wait(signal: AbortSignal): Promise<void> {
    const { delay } = this
    if (delay > 0) await pause(delay, signal)
  }
}

/** Resolves after `ms`, or at once when `signal` aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) return resolve()
    // Any number of topics and connections may wait with one signal. Node warns of more than ten listeners.
    setMaxListeners(0, signal)
    const timer = setTimeout(done, ms)
    function done() {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    signal.addEventListener('abort', done)
  })
}
