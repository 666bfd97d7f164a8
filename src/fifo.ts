/** A queue with constant-time operations for any length; `Array.shift` is linear. */
export class Fifo<T> {
  #items: (T | undefined)[] = []
  #head = 0

  get size(): number {
    return this.#items.length - this.#head
  }

  push(item: T): void {
    this.#items.push(item)
  }

  /** Inserts before all others: in constant time if something was shifted before, otherwise in linear time. */
  unshift(item: T): void {
    if (this.#head > 0) this.#items[--this.#head] = item
    else this.#items.unshift(item)
  }

  peek(): T | undefined {
    return this.#items[this.#head]
  }

  shift(): T | undefined {
    const item = this.#items[this.#head]
    if (item === undefined) return undefined
    this.#items[this.#head++] = undefined
    if (this.#head === this.#items.length) {
      this.#items.length = 0
      this.#head = 0
    } else if (this.#head >= 1024 && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }

  forEach(act: (item: T) => void): void {
    for (let at = this.#head; at < this.#items.length; at++) act(this.#items[at]!)
  }

  /** Returns all items and empties the queue. */
  drain(): T[] {
    const items = this.#items.slice(this.#head) as T[]
    this.clear()
    return items
  }

  clear(): void {
    this.#items.length = 0
    this.#head = 0
  }
}
