import type { DeliveredRecord } from '../record.js'
import type { StreamTopic } from './stream-topic.js'

/** What hands out the records that waited. */
export interface WaitingHost {
  /** Whether records may be handed out now. */
  readonly mayHandOut: boolean
  /** What is assigned may be somebody else's by now. */
  readonly doubtful: boolean
  hand(record: DeliveredRecord, stream: StreamTopic): void
  /** Asks for the bytes of those records from `at` on that were let go, and returns where the next is that has its own. */
  recall(records: readonly DeliveredRecord[], at: number): number
}

/** After so many records it is looked again whether they are still ours: a process stands still where it spends its time. */
export const doubtLookedAtEvery = 64

/** The records of one assignment that wait for their stream to be open, per stream in delivery order. */
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

  /** These, in delivery order, are all that wait for the stream. */
  replace(stream: StreamTopic, records: DeliveredRecord[]): void {
    this.#lists.set(stream, records)
  }

  /** Hands out what may be handed out now. */
  handOut(): void {
    const { host } = this
    for (const [stream, records] of this.#lists) {
      let at = 0
      while (at < records.length && stream.open && host.mayHandOut) {
        if (at % doubtLookedAtEvery === doubtLookedAtEvery - 1 && host.doubtful) break
        const record = records[at]!
        const past = record.settled ? at + 1 : host.recall(records, at)
        if (past > at) {
          at = past
          continue
        }
        at++
        host.hand(record, stream)
        // The subscription ended by that, and what it left unsettled, the rest of this list too, waits anew.
        if (this.#lists.get(stream) !== records) break
      }
      if (this.#lists.get(stream) !== records) continue
      if (at === records.length) this.#lists.delete(stream)
      else records.splice(0, at)
    }
  }

  /** Whether a stream that records wait for is open. */
  get anyOpen(): boolean {
    for (const stream of this.#lists.keys()) if (stream.open) return true
    return false
  }

  /** How many records wait for streams that are closed. */
  get parked(): number {
    let parked = 0
    for (const [stream, records] of this.#lists) if (!stream.open) parked += records.length
    return parked
  }

  /** Takes all of them out that are not settled, in delivery order. */
  takeAll(): DeliveredRecord[] {
    const records = [...this.#lists.values()].flat().filter(({ settled }) => !settled)
    this.#lists.clear()
    return records.sort((one, other) => one.slot - other.slot)
  }

  clear(): void {
    this.#lists.clear()
  }
}
