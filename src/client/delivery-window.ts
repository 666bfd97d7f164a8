import type { DeliveredRecord } from '../record.js'

/**
 * The records of one assignment from the first that is not completed to the last that was taken in, in delivery order.
 *
 * A ring: taking in writes a slot, completing empties it, and the head moves over empty slots. Its span is what
 * `maxInFlight` bounds, so memory does not grow behind a record that never settles.
 */
export class DeliveryWindow {
  /** The first slot that is not completed. Slots count deliveries from 0. */
  head = 0
  /** The slot that the next record gets. */
  tail = 0
  #ring: (DeliveredRecord | undefined)[] = new Array(64)
  #mask = 63

  get span(): number {
    return this.tail - this.head
  }

  /** Takes in a record made for slot `tail`. */
  push(record: DeliveredRecord): void {
    if (this.tail - this.head > this.#mask) this.#grow()
    this.#ring[this.tail++ & this.#mask] = record
  }

  at(slot: number): DeliveredRecord | undefined {
    return slot < this.head || slot >= this.tail ? undefined : this.#ring[slot & this.#mask]
  }

  /** Puts another delivery of the same record in its slot. */
  replace(record: DeliveredRecord): void {
    this.#ring[record.slot & this.#mask] = record
  }

  /** True when the head moved. */
  complete(slot: number): boolean {
    this.#ring[slot & this.#mask] = undefined
    if (slot !== this.head) return false
    do this.head++
    while (this.head < this.tail && this.#ring[this.head & this.#mask] === undefined)
    return true
  }

  *[Symbol.iterator](): Iterator<DeliveredRecord> {
    for (let slot = this.head; slot < this.tail; slot++) {
      const record = this.#ring[slot & this.#mask]
      if (record !== undefined) yield record
    }
  }

  #grow(): void {
    const size = (this.#mask + 1) * 2
    const ring: (DeliveredRecord | undefined)[] = new Array(size)
    for (let slot = this.head; slot < this.tail; slot++) ring[slot & (size - 1)] = this.#ring[slot & this.#mask]
    this.#ring = ring
    this.#mask = size - 1
  }
}
