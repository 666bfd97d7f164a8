import { createHash } from 'node:crypto'
import { ConfigurationError } from '../errors.js'
import type { Place } from '../events.js'
import type { ConsumeRecord } from '../record.js'
import type { RecordedEntry } from '../testing/record-marbles.js'
import type { Delivered } from '../testing/recorded-test.js'
import type { TestAnswer } from './messages.js'

/** Entries kept for a marble test: at least one second of 5,000 records, each with its delivery and its settlement. */
const maxKept = 10_000
/** Limit on the entries of one test. A longer test is not readable, and writing it takes time in the inspected process. */
const maxWritten = 200

/** The part of the recorded entries that a test is written from. */
export interface RecentWindow {
  /** The length of the window, ms. */
  readonly last: number
  /** The end of the window, ms since 1970. Undefined: the newest entry. */
  readonly until?: number | undefined
  /** Only entries of this partition. Undefined: all partitions. */
  readonly partition?: { readonly topic: string; readonly partition: number } | undefined
}

/** Keeps the newest deliveries, settlements and events, from which marble tests are written. Keeps no records and no bytes of them. */
export class Recent {
  readonly #kept: RecordedEntry[] = []
  readonly #details = new WeakMap<RecordedEntry, Delivered>()

  add(record: ConsumeRecord<unknown>, what: 'delivered' | 'acked' | 'failed', at: number): void {
    const { topic, partition, offset, key, source, attempt } = record
    const entry = {
      ...{ at, what, topic: source.topic, partition: source.partition },
      ...{ offset: String(source.offset), attempt },
    }
    this.#details.set(entry, { origin: { topic, partition, offset }, key: key === null ? undefined : digest(key) })
    this.#push(entry)
  }

  addEvent(what: RecordedEntry['what'], { topic, partition, offset }: Place, at: number): void {
    this.#push({ at, what, topic, partition, offset: String(offset) })
  }

  /** Writes a marble test of the entries in the window, at most the newest `maxWritten`. */
  async writeTest({ last, until, partition }: RecentWindow): Promise<TestAnswer> {
    const end = until ?? this.#kept.at(-1)?.at ?? 0
    const window = this.#kept.filter(
      entry =>
        entry.at >= end - last &&
        entry.at <= end &&
        (partition === undefined || (entry.topic === partition.topic && entry.partition === partition.partition)),
    )
    const entries = window.slice(-maxWritten)
    const counts = { written: entries.length, of: window.length }
    if (!entries.some(({ what }) => what === 'delivered')) {
      return { test: null, diagram: null, why: 'no record was delivered in this time', ...counts }
    }
    // Imported on demand: this loads the memory broker, which only a marble test needs.
    const { recordedTest, recordedDiagram } = await import('../testing/recorded-test.js')
    const diagram = recordedDiagram(entries)
    try {
      return { test: recordedTest(entries, this.#details), diagram, why: null, ...counts }
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error
      return { test: null, diagram, why: error.message, ...counts }
    }
  }

  #push(entry: RecordedEntry): void {
    this.#kept.push(entry)
    // Not on every push, because `splice` moves all remaining entries.
    if (this.#kept.length >= 2 * maxKept) this.#kept.splice(0, maxKept)
  }
}

/** A hash of a key. Shows which keys are equal, without keeping them. */
function digest(key: Buffer): string {
  return createHash('sha256').update(key).digest('base64')
}
