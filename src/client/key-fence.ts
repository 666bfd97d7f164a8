import { Fifo } from '../operators/fifo.js'
import type { DeliveredRecord } from '../record.js'

export interface KeyFenceOptions {
  /**
   * What becomes of the records behind one that was dead-lettered. `'continue'`: the next of its key is delivered.
   * `'dead-letter'`: all later ones of its key fail with a `KeyFenceError`, untried, and so go to the DLQ behind it, in
   * their order, for as long as the partition is assigned here: a rebalance or a restart lifts that.
   */
  readonly afterDeadLetter: 'continue' | 'dead-letter'
}

/** The records of one key. */
interface Lane {
  readonly key: string
  /** In the order of their offsets, behind the one that is out. */
  readonly behind: Fifo<DeliveredRecord>
  occupied: boolean
  /** Where the first one stands that all others are to follow to the DLQ. */
  deadLettered: bigint | undefined
}

/**
 * Lets one record of a key out at a time, from its delivery to its completion, in the order they were read.
 *
 * Records without a key are in no order. A key takes memory while records of it are taken in and not completed; one
 * whose records go to the DLQ, for as long as the fence exists.
 */
export class KeyFence {
  readonly #lanes = new Map<string, Lane>()
  /** By the slot of the one that is out. */
  readonly #out = new Map<number, Lane>()

  constructor(readonly options: KeyFenceOptions) {}

  /** False: another of its key is out, whose `leave` will name it. */
  enter(record: DeliveredRecord): boolean {
    const key = record.key?.toString('latin1')
    if (key === undefined) return true
    let lane = this.#lanes.get(key)
    if (lane === undefined) {
      lane = { key, behind: new Fifo(), occupied: false, deadLettered: undefined }
      this.#lanes.set(key, lane)
    } else if (lane.occupied) {
      lane.behind.push(record)
      return false
    }
    this.#letOut(record, lane)
    return true
  }

  /** Where the record stands that this one, which is out, is to follow to the DLQ. */
  follows({ slot }: DeliveredRecord): bigint | undefined {
    return this.#out.get(slot)?.deadLettered
  }

  deadLettered(record: DeliveredRecord): void {
    const lane = this.#out.get(record.slot)
    if (lane === undefined || this.options.afterDeadLetter === 'continue') return
    lane.deadLettered ??= record.offset
  }

  /** The record is completed; returns the one that is out in its place. */
  leave({ slot }: DeliveredRecord): DeliveredRecord | undefined {
    const lane = this.#out.get(slot)
    if (lane === undefined) return undefined
    this.#out.delete(slot)
    const next = lane.behind.shift()
    if (next !== undefined) this.#letOut(next, lane)
    else {
      lane.occupied = false
      if (lane.deadLettered === undefined) this.#lanes.delete(lane.key)
    }
    return next
  }

  #letOut({ slot }: DeliveredRecord, lane: Lane): void {
    this.#out.set(slot, lane)
    lane.occupied = true
  }
}
