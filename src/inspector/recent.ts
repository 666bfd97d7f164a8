import { createHash } from 'node:crypto'
import { ConfigurationError } from '../errors.js'
import type { Place } from '../events.js'
import type { ConsumeRecord } from '../record.js'
import type { RecordedEntry } from '../testing/record-marbles.js'
import type { Delivered } from '../testing/recorded-test.js'
import type { TestAnswer } from './messages.js'

/** What is kept for a marble test: a second of 5,000 deliveries and settlements. */
const maxKept = 10_000
/** A test of more than this is read by nobody, and writing it takes the time of the process that is looked at. */
const maxWritten = 200

/** Which part is meant. */
export interface RecentWindow {
  /** The newest so many ms. */
  readonly last: number
  /** Up to this time, ms since 1970; undefined: the newest. */
  readonly until?: number | undefined
  /** Only these partitions, as `orders-3`; undefined: all. */
  readonly partition?: { readonly topic: string; readonly partition: number } | undefined
}

/** The newest of what was recorded, for a marble test of it. Neither records nor their bytes are kept. */
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

  async written({ last, until, partition }: RecentWindow): Promise<TestAnswer> {
    const end = until ?? this.#kept.at(-1)?.at ?? 0
    const window = this.#kept.filter(
      of =>
        of.at >= end - last &&
        of.at <= end &&
        (partition === undefined || (of.topic === partition.topic && of.partition === partition.partition)),
    )
    const entries = window.slice(-maxWritten)
    const counts = { written: entries.length, of: window.length }
    if (!entries.some(({ what }) => what === 'delivered')) {
      return { test: null, diagram: null, why: 'no record was delivered in this time', ...counts }
    }
    // The memory broker is loaded by who asks for a test, and by nobody else.
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
    // Now and then, for moving the rest costs.
    if (this.#kept.length >= 2 * maxKept) this.#kept.splice(0, maxKept)
  }
}

/** Tells equal keys, and not what they are. */
function digest(key: Buffer): string {
  return createHash('sha256').update(key).digest('base64')
}
