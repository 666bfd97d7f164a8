import type { Observable, Subscription } from 'rxjs'

/** Collects the emissions of an Observable, and gives promises of later ones. */
export class Collected<T> {
  readonly values: T[] = []
  /** How the Observable ended, once it has. */
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

  /** Resolves when the condition is true, checked after every value. Rejects if the Observable ends before that. */
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

  /** Resolves when `count` values have come. */
  count(least: number): Promise<readonly T[]> {
    return this.until(values => values.length >= least)
  }

  /** Resolves at the end, with the error if there is one. */
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
