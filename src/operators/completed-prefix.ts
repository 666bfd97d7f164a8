import type { CommitPoint } from '../commit-point.js'
import { partitionName, placeName } from '../place.js'
import { type DeliveredRecord, deliveryOf, type RecordOwner, type RecordSource } from '../record.js'

/** What the barrier reads of a record. Every `ConsumeRecord` has it. */
export interface BarrierRecord {
  /** The topic of the record. */
  readonly topic: string
  /** The partition of the record. */
  readonly partition: number
  /** The offset of the record. */
  readonly offset: bigint
  /** The place where the record was read, if that differs. A copy on a retry topic is committed there. */
  readonly source?: RecordSource
}

type Place = Pick<BarrierRecord, 'topic' | 'partition' | 'offset'>

/**
 * The deliveries of one partition in order, and the prefix of them that is completed.
 *
 * A ring with one slot per delivery that is not part of the prefix yet. For records that one assignment delivered without a
 * gap, the slot is known; other records are searched for by their offset, which is unique within the partition.
 */
export class CompletedPrefix {
  /** Deliveries in the completed prefix after the last whole group. */
  #ungrouped = 0
  /** The position after the last whole group. */
  #group = Number.NEGATIVE_INFINITY
  /** The position of the completed prefix, and the position that was last taken. */
  #position = Number.NEGATIVE_INFINITY
  #taken = Number.NEGATIVE_INFINITY
  /** The position after the last delivery, and after what was passed since. */
  #readTo = Number.NEGATIVE_INFINITY
  #topic: string | undefined
  #partition = 0
  /** The first offset seen. Other offsets are stored relative to it, because numbers are exact only up to 2^53. */
  #base = 0n
  #baseNumber = 0
  /** The first delivery that is not completed, and the next one to come. Both count deliveries. */
  #head = 0
  #tail = 0
  /** For each slot the offset of the record, the position after it, and whether it is completed. */
  #offset = new Float64Array(64)
  #next = new Float64Array(64)
  #done = new Uint8Array(64)
  #mask = 63
  /** The owner of all deliveries in the ring; undefined if they have several owners or none. */
  #owner: RecordOwner | undefined
  /** While true, a record's slot in the ring is its owner's slot plus `#shift`. */
  #aligned = false
  #shift = 0

  constructor(readonly groupSize: number) {}

  /** @throws RangeError if the record is of another partition, or out of order. */
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

  /** Nothing more is delivered below `position`. It becomes the position after the deliveries so far. */
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

  /** The position after the last whole group of completed deliveries. Returned once. */
  takeGroup(): CommitPoint | undefined {
    return this.#group > this.#taken ? this.#take(this.#group) : undefined
  }

  /** The position of the whole completed prefix. Returned once. */
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

  /** Adds a record that is not known to follow the last one of its owner. */
  #place(record: BarrierRecord, delivery: DeliveredRecord | undefined): void {
    const place = record.source ?? record
    const offset = this.#relative(place)
    // Records that an ended assignment left uncompleted are delivered again by the next one, here or elsewhere.
    if (delivery !== undefined && delivery.owner !== this.#owner && this.#owner?.ended) this.#forget()
    if (offset < this.#readTo) {
      this.#aligned = false
      // A second delivery of the same record does not count.
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

  /** The slot computed from the owner's count; -1 if it must be searched for. */
  #slotOf(delivery: DeliveredRecord): number {
    return this.#aligned && delivery.owner === this.#owner ? delivery.slot + this.#shift : -1
  }

  /** The slot found by offset; -1 if there is none. */
  #find(record: BarrierRecord, delivery: DeliveredRecord | undefined): number {
    // A record of an earlier assignment: the current owner of the partition gets it again.
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
        `completionBarrier takes the signals of one partition, here ${partitionName({ topic: this.#topic!, partition: this.#partition })} ` +
          `(got ${placeName({ topic, partition, offset })}); group them by where they were read (record.source)`,
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
