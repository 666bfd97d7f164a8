import type { CommitPoint } from '../commit-point.js'
import { type DeliveredRecord, deliveryOf, type RecordOwner, type RecordSource } from '../record.js'

/** What the barrier needs of a record; every `ConsumeRecord` has it. */
export interface BarrierRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
  /** Where it was read, where that is another place: a copy on a retry topic is committed there. */
  readonly source?: RecordSource
}

/**
 * The deliveries of one partition in their order, and how far from the first on they are all completed.
 *
 * A ring of slots, one per delivery that is not yet below the prefix. A record that a client delivered knows its slot;
 * any other is found by its offset, which within a partition names it.
 */
export class CompletedPrefix {
  /** Deliveries in the completed prefix since the last whole group. */
  #ungrouped = 0
  /** The position after the last whole group, where it was not taken yet. */
  #group: number | bigint | undefined
  #topic = ''
  #partition = 0
  /** The first delivery that is not completed, and the next to come; both count deliveries. */
  #head = 0
  #tail = 0
  /** Per slot the position after its record, and whether it is completed. */
  #next: (number | bigint)[] = new Array(64)
  #done = new Uint8Array(64)
  #mask = 63
  /** The position of the completed prefix, and the one that was taken last. */
  #position: number | bigint | undefined
  #taken: number | bigint | undefined
  /** The owner whose records' slots are this ring's own, shifted by `#shift`. */
  #owner: RecordOwner | undefined
  #shift = 0
  readonly #slots = new Map<bigint, number>()

  constructor(readonly groupSize: number) {}

  deliver(record: BarrierRecord): void {
    if (this.#tail - this.#head > this.#mask) this.#grow()
    const delivery = deliveryOf(record)
    let next: number | bigint
    if (delivery !== undefined && this.#adopts(delivery)) {
      next = delivery.batch.offset(delivery.index) + 1
    } else {
      const at = record.source ?? record
      if (this.#slots.has(at.offset)) return // the same record again, not completed yet: still one record
      this.#topic = at.topic
      this.#partition = at.partition
      this.#slots.set(at.offset, this.#tail)
      next = at.offset + 1n
    }
    const slot = this.#tail & this.#mask
    this.#next[slot] = next
    this.#done[slot] = 0
    this.#tail++
  }

  complete(record: BarrierRecord): void {
    const slot = this.#slotOf(record)
    if (slot === undefined || slot < this.#head || slot >= this.#tail) return
    this.#done[slot & this.#mask] = 1
    if (slot !== this.#head) return
    let at = slot & this.#mask
    do {
      this.#position = this.#next[at]!
      if (++this.#ungrouped === this.groupSize) {
        this.#ungrouped = 0
        this.#group = this.#position
      }
      this.#head++
      at = this.#head & this.#mask
    } while (this.#head < this.#tail && this.#done[at] === 1)
  }

  /** Nothing more is delivered below `position`: it stands for the position after what was delivered before. */
  pass(topic: string, partition: number, position: number | bigint): void {
    this.#topic = topic
    this.#partition = partition
    if (this.#head < this.#tail) {
      this.#next[(this.#tail - 1) & this.#mask] = position
    } else {
      this.#position = position
      if (this.#ungrouped === 0) this.#group = position
    }
  }

  /** The position after the last whole group of completed deliveries, once. */
  takeGroup(): CommitPoint | undefined {
    const position = this.#group
    this.#group = undefined
    return position === undefined ? undefined : this.#take(position)
  }

  /** The position of the whole completed prefix, once. */
  take(): CommitPoint | undefined {
    this.#group = undefined
    this.#ungrouped = 0
    return this.#position === undefined ? undefined : this.#take(this.#position)
  }

  #take(position: number | bigint): CommitPoint | undefined {
    if (position === this.#taken) return undefined
    this.#taken = position
    return { topic: this.#topic, partition: this.#partition, offset: BigInt(position) }
  }

  #adopts(delivery: DeliveredRecord): boolean {
    if (this.#owner === undefined) {
      this.#owner = delivery.owner
      this.#shift = this.#tail - delivery.slot
      this.#topic = delivery.owner.topic
      this.#partition = delivery.owner.partition
    }
    return this.#owner === delivery.owner && delivery.slot + this.#shift === this.#tail
  }

  #slotOf(record: BarrierRecord): number | undefined {
    const delivery = deliveryOf(record)
    if (this.#slots.size > 0) {
      const offset = (record.source ?? record).offset
      const slot = this.#slots.get(offset)
      if (slot !== undefined) {
        this.#slots.delete(offset)
        return slot
      }
    }
    return delivery !== undefined && delivery.owner === this.#owner ? delivery.slot + this.#shift : undefined
  }

  #grow(): void {
    const size = (this.#mask + 1) * 2
    const next: (number | bigint)[] = new Array(size)
    const done = new Uint8Array(size)
    for (let slot = this.#head; slot < this.#tail; slot++) {
      next[slot & (size - 1)] = this.#next[slot & this.#mask]!
      done[slot & (size - 1)] = this.#done[slot & this.#mask]!
    }
    this.#next = next
    this.#done = done
    this.#mask = size - 1
  }
}
