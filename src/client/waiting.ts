import type { DeliveredRecord } from '../record.js'
import type { StreamTopic } from './stream-topic.js'

/** Delivers the records that waited. */
export interface WaitingHost {
  /** Whether records may be delivered now. */
  readonly mayHandOut: boolean
  /** True: the assignment may belong to another member by now. */
  readonly doubtful: boolean
  hand(record: DeliveredRecord, stream: StreamTopic): void
  /** Requests the bytes of the records from `at` on that are not held in memory. Returns the index of the next one that has its bytes. */
  recall(records: readonly DeliveredRecord[], at: number): number
}

/** After this many records, `doubtful` is checked again: the process may be suspended at any point of the loop. */
export const recheckDoubtEvery = 64

/** The records of one assignment that wait until their stream is open, per stream in delivery order. */
export class Waiting {
  readonly #lists = new Map<StreamTopic, DeliveredRecord[]>()

  constructor(readonly host: WaitingHost) {}

  get empty(): boolean {
    return this.#lists.size === 0
  }

  has(stream: StreamTopic): boolean {
    return this.#lists.has(stream)
  }

  add(record: DeliveredRecord, stream: StreamTopic): void {
    const list = this.#lists.get(stream)
    if (list === undefined) this.#lists.set(stream, [record])
    else list.push(record)
  }

  /** Sets the records that wait for the stream, in delivery order. */
  replace(stream: StreamTopic, records: DeliveredRecord[]): void {
    this.#lists.set(stream, records)
  }

  /** Delivers what may be delivered now. */
  handOut(): void {
    const { host } = this
    for (const [stream, records] of this.#lists) {
      let at = 0
      while (at < records.length && stream.open && host.mayHandOut) {
        if (at % recheckDoubtEvery === recheckDoubtEvery - 1 && host.doubtful) break
        const record = records[at]!
        const past = record.settled ? at + 1 : host.recall(records, at)
        if (past > at) {
          at = past
          continue
        }
        at++
        host.hand(record, stream)
        // The subscription ended meanwhile, and the records it left unsettled wait again, with the rest of this list.
        if (this.#lists.get(stream) !== records) break
      }
      if (this.#lists.get(stream) !== records) continue
      if (at === records.length) this.#lists.delete(stream)
      else records.splice(0, at)
    }
  }

  /** Whether records wait for a stream that is open. */
  get anyOpen(): boolean {
    for (const stream of this.#lists.keys()) if (stream.open) return true
    return false
  }

  /** How many records wait for closed streams. */
  get parked(): number {
    let parked = 0
    for (const [stream, records] of this.#lists) if (!stream.open) parked += records.length
    return parked
  }

  /** Removes all records and returns those that are not settled, in delivery order. */
  takeAll(): DeliveredRecord[] {
    const records = [...this.#lists.values()].flat().filter(({ settled }) => !settled)
    this.#lists.clear()
    return records.sort((one, other) => one.slot - other.slot)
  }

  clear(): void {
    this.#lists.clear()
  }
}
