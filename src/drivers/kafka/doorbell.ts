/** Lets several callers wait for the same event. */
export class Doorbell {
  readonly #waiting = new Set<() => void>()

  /** Resolves at the next ring. */
  rung(): Promise<void> {
    return new Promise(resolve => {
      const go = () => {
        this.#waiting.delete(go)
        resolve()
      }
      this.#waiting.add(go)
    })
  }

  /** Resolves at the next ring, or after `ms`. */
  wait(ms: number): Promise<void> {
    return new Promise(resolve => {
      const go = () => {
        clearTimeout(timer)
        this.#waiting.delete(go)
        resolve()
      }
      const timer = setTimeout(go, ms)
      this.#waiting.add(go)
    })
  }

  ring(): void {
    for (const go of [...this.#waiting]) go()
  }
}
