import { createHook } from 'node:async_hooks'

/** Notes whether promises are made during a run. In virtual time no promise settles. */
export class PromiseWatch {
  #seen = false
  readonly #hook = createHook({
    init: (_id, type) => {
      if (type === 'PROMISE') this.#seen = true
    },
  })

  /** A promise was made. */
  get seen(): boolean {
    return this.#seen
  }

  during(work: () => void): void {
    this.#hook.enable()
    try {
      work()
    } finally {
      this.#hook.disable()
    }
  }
}
