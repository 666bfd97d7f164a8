/** Lets several wait for the same thing, each as long as it likes. */
export class Doorbell {
  readonly #waiting = new Set<() => void>()

  /** Resolves when rung, or after `ms`. */
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
