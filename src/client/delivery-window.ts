import type { DeliveredRecord } from '../record.js'
import type { FinishedRange } from './finished-work.js'

/**
 * The records of one assignment in delivery order, from the first that is not completed to the last that was added.
 *
 * A ring. Adding a record writes a slot. Completing it leaves only its offset in the slot, and the head moves past such
 * slots. `maxInFlight` bounds the span, so memory does not grow behind a record that never settles.
 */
export class DeliveryWindow {
  #head = 0
  #tail = 0
  #completedBehind = 0
  #ring: (DeliveredRecord | number | undefined)[] = new Array(64)
  #mask = 63

  /** The first slot that is not completed. Slots count deliveries from 0. */
  get head(): number {
    return this.#head
  }

  /** The slot that the next record gets. */
  get tail(): number {
    return this.#tail
  }

  get span(): number {
    return this.#tail - this.#head
  }

  /** How many records are completed behind the head. */
  get completedBehind(): number {
    return this.#completedBehind
  }

  /** Adds a record made for slot `tail`. */
  push(record: DeliveredRecord): void {
    if (this.#tail - this.#head > this.#mask) this.#grow()
    this.#ring[this.#tail++ & this.#mask] = record
  }

  at(slot: number): DeliveredRecord | undefined {
    if (slot < this.#head || slot >= this.#tail) return undefined
    const record = this.#ring[slot & this.#mask]
    return typeof record === 'object' ? record : undefined
  }

  /** Puts another delivery of the same record into its slot, unless the record is completed. */
  replace(record: DeliveredRecord): void {
    if (this.at(record.slot) !== undefined) this.#ring[record.slot & this.#mask] = record
  }

  /** Returns true if the head moved. */
  complete(slot: number): boolean {
    // The cell of a slot outside the window may hold another record by now.
    if (slot < this.#head || slot >= this.#tail) return false
    if (slot !== this.#head) {
      const record = this.#ring[slot & this.#mask]
      if (typeof record !== 'object') return false
      this.#ring[slot & this.#mask] = record.batch.offset(record.index)
      this.#completedBehind++
      return false
    }
    this.#ring[slot & this.#mask] = undefined
    this.#head++
    while (this.#completedBehind > 0 && typeof this.#ring[this.#head & this.#mask] === 'number') {
      this.#head++
      this.#completedBehind--
    }
    return true
  }

  /** The completed records behind the head as ranges of offsets, with no open record within a range. */
  finishedRanges(): FinishedRange[] {
    const ranges: [number, number][] = []
    let unbroken = false
    for (let slot = this.#head, left = this.#completedBehind; left > 0; slot++) {
      const offset = this.#ring[slot & this.#mask]
      if (typeof offset !== 'number') {
        unbroken = false
        continue
      }
      if (unbroken) ranges.at(-1)![1] = offset
      else ranges.push([offset, offset])
      unbroken = true
      left--
    }
    return ranges
  }

  *[Symbol.iterator](): Iterator<DeliveredRecord> {
    for (let slot = this.#head; slot < this.#tail; slot++) {
      const record = this.at(slot)
      if (record !== undefined) yield record
    }
  }

  #grow(): void {
    const size = (this.#mask + 1) * 2
    const ring: (DeliveredRecord | number | undefined)[] = new Array(size)
    for (let slot = this.#head; slot < this.#tail; slot++) ring[slot & (size - 1)] = this.#ring[slot & this.#mask]
    this.#ring = ring
    this.#mask = size - 1
  }
}
