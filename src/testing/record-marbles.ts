import { createHash } from 'node:crypto'
import { type Observable, tap } from 'rxjs'
import type { Client } from '../client/client.js'
import type { ClientEvent } from '../events.js'
import { checkDuration, checkFunction, checkInteger, checkOptions, type KnownOptions } from '../options.js'
import type { ConsumeRecord } from '../record.js'
import type { Place } from './letters.js'
import { recordedDiagram } from './recorded-diagram.js'
import { type Delivered, recordedTest } from './recorded-test.js'
import { watchSettlement } from './settlements.js'

/** The options of `recordMarbles`. */
export interface RecordingOptions {
  /** How many things are kept, the newest ones; default 10,000. What is older is forgotten. */
  readonly limit?: number | undefined
  /** How a record is shown, 80 characters at most. Default: its place alone, neither key nor value. */
  readonly values?: ((record: ConsumeRecord<unknown>) => string) | undefined
}

/** Which part of a recording is meant; default: all that is kept. */
export interface RecordedWindow {
  /** The newest so many ms, up to the last thing that happened. */
  readonly last?: number | undefined
}

const known: KnownOptions<RecordingOptions> = { limit: true, values: true }
const knownOfWindow: KnownOptions<RecordedWindow> = { last: true }

/** Something that happened. JSON-safe: offsets are texts, and nothing of a record but what `values` shows. */
export interface RecordedEntry {
  /** ms since 1970. */
  readonly at: number
  /** What happened: a delivery, a settlement, or an event of the client. */
  readonly what: 'delivered' | 'acked' | 'failed' | ClientEvent['type']
  /** The topic, without the suffix; for a record, where it was read. */
  readonly topic?: string
  /** The partition of the topic. */
  readonly partition?: number
  /** Of a record, where it was read; of a commit, the next to read. */
  readonly offset?: string
  /** The attempt that the record is at. */
  readonly attempt?: number
  /** What the option `values` returned for the record. */
  readonly shown?: string
}

/** A recording of what a client does. */
export interface MarbleRecording {
  /** Lets records pass and sees what becomes of them: `client.topic('orders').pipe(recording.watch, …)`. */
  readonly watch: <R extends ConsumeRecord<unknown>>(records: Observable<R>) => Observable<R>
  /** What is kept, in its order. */
  entries(window?: RecordedWindow): readonly RecordedEntry[]
  /** Marble diagrams in the same columns, a ms each: deliveries, settlements, commits and copies by partition. */
  diagram(window?: RecordedWindow): string
  /**
   * A marble test that replays it: the text of an `it` with `runMarbles`. Records come in the order of their deliveries
   * and are settled in the order recorded, an input a frame; keys are `key 1`, `key 2`, values their letters unless
   * `values` shows them. What it expects is what came of that in a run of its own, with `retries` and `dlq` as far as the
   * window shows them; rebalances, other failure routes and `fail(…, { retry: false })` are not replayed.
   *
   * @throws ConfigurationError where too much happens at once to be written in diagrams.
   */
  test(window?: RecordedWindow): string
  /** Ends the recording; what is kept stays. It ends with the client by itself. */
  stop(): void
}

/**
 * Records what a client does, to be drawn when something went wrong. Memory is bounded by `limit`; records and reasons
 * are not kept. Its time is that of `Date`.
 *
 * @throws ConfigurationError when an option is invalid or unknown.
 */
export function recordMarbles(client: Client, options: RecordingOptions = {}): MarbleRecording {
  checkOptions('recordMarbles', options, known)
  const { limit = 10_000, values } = options
  checkInteger('recordMarbles: limit', limit, 1)
  if (values !== undefined) checkFunction('recordMarbles: values', values)
  const kept: RecordedEntry[] = []
  const details = new WeakMap<RecordedEntry, Delivered>()
  let over = false
  const add = (of: Omit<RecordedEntry, 'at'>, detail?: Delivered) => {
    if (over) return
    const entry = { at: Date.now(), ...of }
    if (detail !== undefined) details.set(entry, detail)
    kept.push(entry)
    // Now and then, for moving the rest costs.
    if (kept.length >= 2 * limit) kept.splice(0, kept.length - limit)
  }
  const events = client.events.subscribe(event => add({ what: event.type, ...placeIn(event) }))
  const entries = (window: RecordedWindow = {}) => {
    checkOptions('recordMarbles: the window', window, knownOfWindow)
    if (window.last !== undefined) checkDuration('recordMarbles: last', window.last)
    const { last = Number.POSITIVE_INFINITY } = window
    const newest = kept.slice(-limit)
    const end = newest.at(-1)?.at ?? 0
    return newest.filter(({ at }) => at >= end - last)
  }
  return {
    watch: records =>
      records.pipe(
        tap(record => {
          const { source, attempt } = record
          const shown = values === undefined ? {} : { shown: values(record).slice(0, 80) }
          const of = { ...placeIn(source), attempt, ...shown }
          const { topic, partition, offset, key } = record
          const detail = { origin: { topic, partition, offset }, key: key === null ? undefined : digest(key) }
          add({ what: 'delivered', ...of }, detail)
          watchSettlement(record, ({ what }) => add({ what, ...of }, detail))
        }),
      ),
    entries,
    diagram: window => recordedDiagram(entries(window)),
    test: window => recordedTest(entries(window), details),
    stop: () => {
      over = true
      events.unsubscribe()
    },
  }
}

/** Tells equal keys, and not what they are. */
function digest(key: Buffer): string {
  return createHash('sha256').update(key).digest('base64')
}

function placeIn(of: object): Pick<RecordedEntry, 'topic' | 'partition' | 'offset'> {
  const { topic, partition, offset } = of as Partial<Place>
  return {
    ...(topic === undefined ? {} : { topic }),
    ...(partition === undefined ? {} : { partition }),
    ...(offset === undefined ? {} : { offset: String(offset) }),
  }
}
