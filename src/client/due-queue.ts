interface Entry<T> {
  readonly due: number
  /** Orders entries that are due at the same time: first in, first out. */
  readonly turn: number
  readonly value: T
}

/** A queue ordered by due time, then by arrival. A binary heap. */
export class DueQueue<T> {
  readonly #entries: Entry<T>[] = []
  #added = 0

  get size(): number {
    return this.#entries.length
  }

  /** When the earliest entry is due. */
  get nextDue(): number | undefined {
    return this.#entries[0]?.due
  }

  /** When a queued value is due. Searches the whole queue. */
  dueOf(value: T): number | undefined {
    return this.#entries.find(entry => entry.value === value)?.due
  }

  /** All entries, in no order. */
  *dues(): Iterable<readonly [value: T, due: number]> {
    for (const { value, due } of this.#entries) yield [value, due]
  }

  add(value: T, due: number): void {
    const entries = this.#entries
    let at = entries.length
    entries.push({ due, turn: this.#added++, value })
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!this.#isBefore(at, parent)) break
      this.#swap(at, parent)
      at = parent
    }
  }

  /** Removes and returns the earliest value. */
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
        if (child < entries.length && this.#isBefore(child, earliest)) earliest = child
      }
      if (earliest === at) return
      this.#swap(at, earliest)
      at = earliest
    }
  }

  #isBefore(one: number, other: number): boolean {
    const [first, second] = [this.#entries[one]!, this.#entries[other]!]
    return first.due < second.due || (first.due === second.due && first.turn < second.turn)
  }

  #swap(one: number, other: number): void {
    const entry = this.#entries[one]!
    this.#entries[one] = this.#entries[other]!
    this.#entries[other] = entry
  }
}
