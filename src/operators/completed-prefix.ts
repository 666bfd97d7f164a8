import type { CommitPoint } from '../commit-point.js'
import { partitionName, placeName } from '../place.js'
import { type DeliveredRecord, deliveryOf, type RecordOwner, type RecordSource } from '../record.js'

/** What the barrier needs of a record; every `ConsumeRecord` has it. */
export interface BarrierRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
  /** Where it was read, where that is another place: a copy on a retry topic is committed there. */
  readonly source?: RecordSource
}

type Place = Pick<BarrierRecord, 'topic' | 'partition' | 'offset'>

/**
 * The deliveries of one partition in their order, and how far from the first on they are all completed.
 *
 * A ring of slots, one per delivery that is not yet below the prefix. Records that one assignment delivered without a
 * break know their slot; any other is searched for by its offset, which names it within the partition.
 */
export class CompletedPrefix {
  /** Deliveries in the completed prefix since the last whole group. */
  #ungrouped = 0
  /** The position after the last whole group. */
  #group = Number.NEGATIVE_INFINITY
  /** The position of the completed prefix, and the one that was taken last. */
  #position = Number.NEGATIVE_INFINITY
  #taken = Number.NEGATIVE_INFINITY
  /** The position after the last delivery and what was passed since. */
  #readTo = Number.NEGATIVE_INFINITY
  #topic: string | undefined
  #partition = 0
  /** The first offset that was seen. All others are kept as their distance from it: a number is exact only up to 2^53. */
  #base = 0n
  #baseNumber = 0
  /** The first delivery that is not completed, and the next to come; both count deliveries. */
  #head = 0
  #tail = 0
  /** Per slot the record's offset, the position after it, and whether it is completed. */
  #offset = new Float64Array(64)
  #next = new Float64Array(64)
  #done = new Uint8Array(64)
  #mask = 63
  /** Who made all the deliveries in the ring; undefined where they are of several or of nobody. */
  #owner: RecordOwner | undefined
  /** While this holds, a record's slot in the ring is its owner's slot and `#shift`. */
  #aligned = false
  #shift = 0

  constructor(readonly groupSize: number) {}

  /** @throws RangeError when the record is of another partition, or out of order. */
  deliver(record: BarrierRecord): void {
    const delivery = deliveryOf(record)
    if (delivery !== undefined && this.#slotOf(delivery) === this.#tail) {
      const offset = delivery.batch.offset(delivery.index) - this.#baseNumber
      if (offset >= this.#readTo) return this.#push(offset)
    }
    this.#place(record, delivery)
  }

  complete(record: BarrierRecord): void {
    const delivery = deliveryOf(record)
    let slot = delivery === undefined ? -1 : this.#slotOf(delivery)
    if (slot === -1) slot = this.#find(record, delivery)
    if (slot < this.#head || slot >= this.#tail) return
    this.#done[slot & this.#mask] = 1
    if (slot === this.#head) this.#advance()
  }

  /** Nothing more is delivered below `position`: it stands for the position after what was delivered before. */
  pass(topic: string, partition: number, position: number | bigint): void {
    const to = this.#relative({ topic, partition, offset: BigInt(position) })
    if (to <= this.#readTo) return
    this.#readTo = to
    if (this.#head < this.#tail) {
      this.#next[(this.#tail - 1) & this.#mask] = to
    } else {
      this.#position = to
      if (this.#ungrouped === 0 && this.groupSize !== Number.POSITIVE_INFINITY) this.#group = to
    }
  }

  /** The position after the last whole group of completed deliveries, once. */
  takeGroup(): CommitPoint | undefined {
    return this.#group > this.#taken ? this.#take(this.#group) : undefined
  }

  /** The position of the whole completed prefix, once. */
  take(): CommitPoint | undefined {
    this.#ungrouped = 0
    return this.#position > this.#taken ? this.#take(this.#position) : undefined
  }

  #take(position: number): CommitPoint {
    this.#taken = position
    return { topic: this.#topic!, partition: this.#partition, offset: this.#base + BigInt(position) }
  }

  #advance(): void {
    let at = this.#head & this.#mask
    do {
      this.#position = this.#next[at]!
      if (++this.#ungrouped === this.groupSize) {
        this.#ungrouped = 0
        this.#group = this.#position
      }
      at = ++this.#head & this.#mask
    } while (this.#head < this.#tail && this.#done[at] === 1)
  }

  #push(offset: number): void {
    if (this.#tail - this.#head > this.#mask) this.#grow()
    const at = this.#tail++ & this.#mask
    this.#offset[at] = offset
    this.#next[at] = this.#readTo = offset + 1
    this.#done[at] = 0
  }

  /** Delivers a record that is not known to follow the last one of its owner. */
  #place(record: BarrierRecord, delivery: DeliveredRecord | undefined): void {
    const place = record.source ?? record
    const offset = this.#relative(place)
    // What an ended assignment left uncompleted is delivered again by the next, here or elsewhere.
    if (delivery !== undefined && delivery.owner !== this.#owner && this.#owner?.ended) this.#forget()
    if (offset < this.#readTo) {
      this.#aligned = false
      // The same record again is still one record.
      if (offset < this.#position || this.#search(offset) !== -1) return
      throw new RangeError(
        `completionBarrier takes deliveries in the order of the log: ${placeName(place)} came after ` +
          `offset ${this.#base + BigInt(this.#readTo - 1)}`,
      )
    }
    if (this.#head === this.#tail) {
      this.#owner = delivery?.owner
      this.#aligned = delivery !== undefined
      this.#shift = delivery === undefined ? 0 : this.#tail - delivery.slot
    } else {
      this.#aligned = false
      if (this.#owner !== delivery?.owner) this.#owner = undefined
    }
    this.#push(offset)
  }

  #forget(): void {
    this.#tail = this.#head
    this.#readTo = this.#position
  }

  /** The slot of a record that its owner's count leads to; -1 where it has to be searched for. */
  #slotOf(delivery: DeliveredRecord): number {
    return this.#aligned && delivery.owner === this.#owner ? delivery.slot + this.#shift : -1
  }

  /** -1: it is not there. */
  #find(record: BarrierRecord, delivery: DeliveredRecord | undefined): number {
    // The record of an earlier assignment: whoever has the partition now has been given it again.
    if (delivery?.owner.ended && delivery.owner !== this.#owner) return -1
    const { topic, partition, offset } = record.source ?? record
    const known = topic === this.#topic && partition === this.#partition
    return known ? this.#search(Number(offset - this.#base)) : -1
  }

  #search(offset: number): number {
    let low = this.#head
    let high = this.#tail - 1
    while (low <= high) {
      const middle = Math.floor((low + high) / 2)
      const found = this.#offset[middle & this.#mask]!
      if (found === offset) return middle
      if (found < offset) low = middle + 1
      else high = middle - 1
    }
    return -1
  }

  #relative({ topic, partition, offset }: Place): number {
    if (this.#topic === undefined) {
      this.#topic = topic
      this.#partition = partition
      this.#base = offset
      this.#baseNumber = Number(offset)
    } else if (topic !== this.#topic || partition !== this.#partition) {
      throw new RangeError(
        `completionBarrier takes the signals of one partition, and had ${partitionName({ topic: this.#topic!, partition: this.#partition })}; ` +
          `now came ${placeName({ topic, partition, offset })}. Group them by where they were read (record.source)`,
      )
    }
    return Number(offset - this.#base)
  }

  #grow(): void {
    const size = (this.#mask + 1) * 2
    const [offset, next, done] = [new Float64Array(size), new Float64Array(size), new Uint8Array(size)]
    for (let slot = this.#head; slot < this.#tail; slot++) {
      const [from, to] = [slot & this.#mask, slot & (size - 1)]
      offset[to] = this.#offset[from]!
      next[to] = this.#next[from]!
      done[to] = this.#done[from]!
    }
    this.#offset = offset
    this.#next = next
    this.#done = done
    this.#mask = size - 1
  }
}
