/** Lets several wait for the same thing to happen, each as long as it likes. */
export class Doorbell {
  readonly #waiting = new Set<() => void>()

  /** Resolves when it rings. */
  rung(): Promise<void> {
    return new Promise(resolve => {
      const go = () => {
        this.#waiting.delete(go)
        resolve()
      }
      this.#waiting.add(go)
    })
  }

  /** Resolves when it rings, or after `ms`. */
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
