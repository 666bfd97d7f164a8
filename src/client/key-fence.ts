import { createHash } from 'node:crypto'
import { Fifo } from '../fifo.js'
import type { DeliveredRecord } from '../record.js'

export interface KeyFenceOptions {
  /**
   * What becomes of the records behind one that was dead-lettered. `'continue'`: the next of its key is delivered.
   * `'dead-letter'`: all later ones of its key fail with a `KeyFenceError`, untried, and so go to the DLQ behind it, in
   * their order, for as long as the partition is assigned to this client: a rebalance or a restart lifts that.
   */
  readonly afterDeadLetter: 'continue' | 'dead-letter'
  /**
   * How many keys of a partition may be behind a dead letter at a time, with `'dead-letter'`; an integer ≥ 1, default
   * 100,000, which take some 12 MB. A failed record of a further key is not dead-lettered: it is held as unroutable, so
   * that nothing is tried out of order, and an `UnroutableFailureError` says so. A restart delivers it again, with no
   * key fenced.
   */
  readonly maxKeys?: number | undefined
}

/** The records of one key. */
interface Lane {
  readonly key: string
  /** In the order of their offsets, behind the one that is out. */
  readonly behind: Fifo<DeliveredRecord>
}

/** See `KeyFenceOptions.maxKeys`. */
const defaultMaxKeys = 100_000

/** A longer key is remembered by its digest, bytes. */
const longestKey = 64

/**
 * Lets one record of a key out at a time, from its delivery to its completion, in the order they were read.
 *
 * Records without a key are in no order. A key takes memory while records of it are taken in and not completed; one
 * whose records go to the DLQ, for as long as the fence exists, at most `maxKeys` of these.
 */
export class KeyFence {
  /** Of the keys that have a record out. */
  readonly #lanes = new Map<string, Lane>()
  /** By the slot of the one that is out. */
  readonly #out = new Map<number, Lane>()
  /** Per key where its first dead letter stands, which all others are to follow to the DLQ. */
  readonly #deadLetters = new Map<string, bigint>()

  readonly maxKeys: number

  constructor(readonly options: KeyFenceOptions) {
    this.maxKeys = options.maxKeys ?? defaultMaxKeys
  }

  /** Keys that are remembered. */
  get size(): number {
    return this.#lanes.size + this.#deadLetters.size
  }

  /** False: another of its key is out, whose `leave` will name it. */
  enter(record: DeliveredRecord): boolean {
    const bytes = record.key
    if (bytes === null) return true
    const key = nameOf(bytes)
    const lane = this.#lanes.get(key)
    if (lane !== undefined) {
      lane.behind.push(record)
      return false
    }
    const created = { key, behind: new Fifo<DeliveredRecord>() }
    this.#lanes.set(key, created)
    this.#out.set(record.slot, created)
    return true
  }

  /** Where the record stands that this one, which is out, is to follow to the DLQ. */
  follows({ slot }: DeliveredRecord): bigint | undefined {
    if (this.#deadLetters.size === 0) return undefined
    const lane = this.#out.get(slot)
    return lane && this.#deadLetters.get(lane.key)
  }

  /** Whether the record, which is out, must not be dead-lettered: its key would be one more than may be remembered. */
  isFullFor({ slot }: DeliveredRecord): boolean {
    if (this.#deadLetters.size < this.maxKeys) return false
    const lane = this.#out.get(slot)
    return lane !== undefined && !this.#deadLetters.has(lane.key)
  }

  deadLettered({ slot, offset }: DeliveredRecord): void {
    const lane = this.#out.get(slot)
    if (lane === undefined || this.options.afterDeadLetter === 'continue') return
    if (!this.#deadLetters.has(lane.key)) this.#deadLetters.set(lane.key, offset)
  }

  /** The record is completed; returns the one that is out in its place. */
  leave({ slot }: DeliveredRecord): DeliveredRecord | undefined {
    const lane = this.#out.get(slot)
    if (lane === undefined) return undefined
    this.#out.delete(slot)
    const next = lane.behind.shift()
    if (next === undefined) this.#lanes.delete(lane.key)
    else this.#out.set(next.slot, lane)
    return next
  }
}

/** The key as a text; of one that is long, its digest. */
function nameOf(key: Buffer): string {
  if (key.length <= longestKey) return key.toString('latin1')
  // Longer than any short key, so that the two are never the same.
  return `sha256:${createHash('sha256').update(key).digest('hex')}`
}
