import type { Observable, Subscription } from 'rxjs'

/** What an Observable has emitted since, and promises of what it will have. */
export class Collected<T> {
  readonly values: T[] = []
  /** How it ended, once it has. */
  end: { readonly error?: unknown } | undefined
  readonly #subscription: Subscription
  readonly #waiting = new Set<() => void>()

  constructor(source: Observable<T>) {
    this.#subscription = source.subscribe({
      next: value => {
        this.values.push(value)
        this.#look()
      },
      error: error => this.#ended({ error }),
      complete: () => this.#ended({}),
    })
  }

  unsubscribe(): void {
    this.#subscription.unsubscribe()
  }

  /** Resolves when the condition holds, looked at after every value; rejects when it can no longer come to hold. */
  until(condition: (values: readonly T[]) => boolean): Promise<readonly T[]> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (condition(this.values)) resolve(this.values)
        else if (this.end !== undefined) reject(new Error('it ended before', { cause: this.end.error }))
        else return
        this.#waiting.delete(look)
      }
      this.#waiting.add(look)
      look()
    })
  }

  /** Resolves when so many values have come. */
  count(least: number): Promise<readonly T[]> {
    return this.until(values => values.length >= least)
  }

  /** Resolves at the end, with the error where that is how it ended. */
  ended(): Promise<{ readonly error?: unknown }> {
    return new Promise(resolve => {
      const look = () => {
        if (this.end !== undefined) resolve(this.end)
      }
      this.#waiting.add(look)
      look()
    })
  }

  #ended(end: { readonly error?: unknown }): void {
    this.end = end
    this.#look()
  }

  #look(): void {
    for (const look of [...this.#waiting]) look()
  }
}
