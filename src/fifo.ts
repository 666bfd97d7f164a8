/** A queue with more places gives its memory back when it has become empty. */
const maxKeptPlaces = 1024

/** A queue with constant-time operations for any length; `Array.shift` is linear. A ring: a queue that is often empty allocates nothing. */
export class Fifo<T> {
  #ring: (T | undefined)[] = []
  /** The capacity, a power of two, less one. */
  #mask = -1
  #head = 0
  #size = 0

  get size(): number {
    return this.#size
  }

  push(item: T): void {
    if (this.#size > this.#mask) this.#grow()
    this.#ring[(this.#head + this.#size++) & this.#mask] = item
  }

  /** Inserts before all others. */
  unshift(item: T): void {
    if (this.#size > this.#mask) this.#grow()
    this.#head = (this.#head - 1) & this.#mask
    this.#ring[this.#head] = item
    this.#size++
  }

  peek(): T | undefined {
    return this.#ring[this.#head]
  }

  shift(): T | undefined {
    if (this.#size === 0) return undefined
    const item = this.#ring[this.#head]
    this.#ring[this.#head] = undefined
    this.#head = (this.#head + 1) & this.#mask
    if (--this.#size === 0 && this.#mask >= maxKeptPlaces) this.clear()
    return item
  }

  forEach(act: (item: T) => void): void {
    for (let at = 0; at < this.#size; at++) act(this.#ring[(this.#head + at) & this.#mask]!)
  }

  /** Returns all items and empties the queue. */
  drain(): T[] {
    const items: T[] = []
    this.forEach(item => {
      items.push(item)
    })
    this.clear()
    return items
  }

  clear(): void {
    this.#ring = []
    this.#mask = -1
    this.#head = 0
    this.#size = 0
  }

  #grow(): void {
    const ring: (T | undefined)[] = new Array(Math.max(8, this.#size * 2)).fill(undefined)
    for (let at = 0; at < this.#size; at++) ring[at] = this.#ring[(this.#head + at) & this.#mask]
    this.#ring = ring
    this.#mask = ring.length - 1
    this.#head = 0
  }
}
