/** Entries by the time they are due, the earliest first: a binary heap. */
export class DueQueue<T> {
  readonly #entries: { readonly due: number; readonly value: T }[] = []

  get size(): number {
    return this.#entries.length
  }

  /** When the earliest is due. */
  get nextDue(): number | undefined {
    return this.#entries[0]?.due
  }

  add(value: T, due: number): void {
    const entries = this.#entries
    let at = entries.length
    entries.push({ due, value })
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (entries[parent]!.due <= entries[at]!.due) break
      this.#swap(at, parent)
      at = parent
    }
  }

  /** Takes out the earliest. */
  shift(): T | undefined {
    const entries = this.#entries
    const first = entries[0]
    const last = entries.pop()
    if (first === undefined || last === undefined) return undefined
    if (entries.length > 0) {
      entries[0] = last
      this.#sink()
    }
    return first.value
  }

  #sink(): void {
    const entries = this.#entries
    for (let at = 0; ; ) {
      let earliest = at
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < entries.length && entries[child]!.due < entries[earliest]!.due) earliest = child
      }
      if (earliest === at) return
      this.#swap(at, earliest)
      at = earliest
    }
  }

  #swap(one: number, other: number): void {
    const entry = this.#entries[one]!
    this.#entries[one] = this.#entries[other]!
    this.#entries[other] = entry
  }
}
