import { createHash } from 'node:crypto'
import { Fifo } from '../fifo.js'
import type { DeliveredRecord } from '../record.js'

/** The options of `TopicOptions.keyFence`. */
export interface KeyFenceOptions {
  /**
   * What happens to later records of a key after one was dead-lettered. `'continue'`: they are delivered. `'dead-letter'`:
   * they fail with a `KeyFenceError` without being tried, and so go to the DLQ after it, in their order. That lasts as long
   * as the partition is assigned to this client: a rebalance or a restart ends it.
   */
  readonly afterDeadLetter: 'continue' | 'dead-letter'
  /**
   * With `'dead-letter'`, the maximum of keys per partition that are remembered as dead-lettered; an integer ≥ 1, default
   * 100,000, which take some 12 MB. A failed record of a further key is not dead-lettered: it is held as unroutable, so that
   * no record is tried out of order, and reported by an `UnroutableFailureError`. After a restart it is delivered again, with
   * no key remembered.
   */
  readonly maxKeys?: number | undefined
}

/** The records of one key. */
interface Lane {
  readonly key: string
  /** In the order of their offsets, after the record that is delivered. */
  readonly behind: Fifo<DeliveredRecord>
}

/** See `KeyFenceOptions.maxKeys`. */
const defaultMaxKeys = 100_000

/** Keys longer than this are remembered by their digest, bytes. */
const longestKey = 64

/**
 * Lets one record of each key be delivered at a time, until it is completed, in the order they were read.
 *
 * Records without a key have no order. A key takes memory while it has records that are not completed. A key whose records
 * go to the DLQ takes memory as long as the fence exists; there are at most `maxKeys` of these.
 */
export class KeyFence {
  /** The keys that have a delivered record. */
  readonly #lanes = new Map<string, Lane>()
  /** The lanes by the slot of their delivered record. */
  readonly #out = new Map<number, Lane>()
  /** The offset of the first dead letter by key. All later records of the key must follow it to the DLQ. */
  readonly #deadLetters = new Map<string, bigint>()

  readonly maxKeys: number

  constructor(readonly options: KeyFenceOptions) {
    this.maxKeys = options.maxKeys ?? defaultMaxKeys
  }

  /** How many keys are remembered. */
  get size(): number {
    return this.#lanes.size + this.#deadLetters.size
  }

  /** Returns true if the record may be delivered now. Otherwise a later `leave` returns it. */
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

  /** For a delivered record that must follow a dead letter of its key: the offset of that dead letter. */
  follows({ slot }: DeliveredRecord): bigint | undefined {
    if (this.#deadLetters.size === 0) return undefined
    const lane = this.#out.get(slot)
    return lane && this.#deadLetters.get(lane.key)
  }

  /** Whether a delivered record must not be dead-lettered, because its key would exceed `maxKeys`. */
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

  /** The record is completed. Returns the next record of its key, which may be delivered now. */
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

/** The key as a string; the digest of a long key. */
function nameOf(key: Buffer): string {
  if (key.length <= longestKey) return key.toString('latin1')
  // The result is longer than `longestKey`, so it never equals a short key.
  return `sha256:${createHash('sha256').update(key).digest('hex')}`
}
