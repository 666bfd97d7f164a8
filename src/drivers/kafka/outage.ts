/** No broker answering for this time is an outage, ms: a broken connection is replaced at once. */
const outageAfter = 500

/** Reports an outage of all brokers once when it begins, and once when it is over. */
export class Outage {
  #timer: NodeJS.Timeout | undefined
  #hasBegun = false
  #last: Error | undefined

  constructor(
    readonly began: (error: Error) => void,
    readonly ended: () => void,
    /** Whether any connection is open: then not all brokers are away. */
    readonly isConnected: () => boolean,
  ) {}

  answered(): void {
    this.stop()
    if (!this.#hasBegun) return
    this.#hasBegun = false
    this.ended()
  }

  failed(error: Error): void {
    this.#last = error
    if (this.#hasBegun || this.#timer !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      if (this.isConnected()) return
      this.#hasBegun = true
      this.began(this.#last ?? error)
    }, outageAfter)
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
