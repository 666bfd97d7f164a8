import type { HeaderPair } from '../record-batch.js'

/**
 * The ledger of a DLQ topic: the dead letters of a group that were completed by other means than its own replay.
 *
 * Its notes are records of the DLQ topic itself, so they are kept as long as the dead letters and need no further rights. A
 * note is written in one transaction with the copies it is about, to the partition of its dead letters. Consumers skip it as a
 * record of another group.
 */
export interface LedgerNote {
  /** Full name. */
  readonly group: string
  readonly done: 'redriven' | 'discarded'
  readonly partition: number
  /** Ranges of offsets, both ends included, in ascending order. They contain no open dead letter of this group. */
  readonly ranges: readonly (readonly [first: number, last: number])[]
  readonly by: string
  /** ms since 1970. */
  readonly at: number
}

const header = 'rxmika_dlq_ledger'
const version = 1

/** Makes the record of a note. Each note has its own key, so that a compacted topic keeps it. */
export function ledgerRecord(note: LedgerNote, id: string) {
  const { group, done, partition, ranges, by, at } = note
  const text = JSON.stringify({ version, group, done, partition, ranges, by, at: new Date(at).toISOString() })
  const headers: HeaderPair[] = [[header, Buffer.from(group)]]
  return { key: Buffer.from(`${header}/${group}/${id}`), value: Buffer.from(text), headers, timestamp: at }
}

/** Whether a record of the DLQ topic is a note. Decided by its headers alone. */
export function isLedgerRecord({ headerPairs }: { readonly headerPairs: readonly HeaderPair[] }): boolean {
  return headerPairs.length === 1 && headerPairs[0]![0] === header
}

/** The note in a record; undefined if the record is not a note, or has a later version. No record makes it throw. */
export function ledgerNoteOf(record: {
  readonly headerPairs: readonly HeaderPair[]
  readonly value: Buffer | null
}): LedgerNote | undefined {
  if (!isLedgerRecord(record) || record.value === null) return undefined
  try {
    const note = JSON.parse(record.value.toString()) as Record<string, unknown>
    const { group, done, partition, ranges, by } = note
    const at = Date.parse(String(note.at))
    if (note.version !== version || typeof group !== 'string' || typeof by !== 'string' || Number.isNaN(at))
      return undefined
    if (done !== 'redriven' && done !== 'discarded') return undefined
    if (!isOffset(partition) || !Array.isArray(ranges) || !ranges.every(isRange)) return undefined
    return { group, done, partition, ranges, by, at }
  } catch {
    return undefined
  }
}

function isRange(value: unknown): value is readonly [number, number] {
  return Array.isArray(value) && value.length === 2 && isOffset(value[0]) && isOffset(value[1]) && value[0] <= value[1]
}

function isOffset(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

/** The completed dead letters of one group, by partition. */
export class DlqLedger {
  readonly #ranges = new Map<number, [first: number, last: number][]>()

  constructor(readonly group: string) {}

  /** Adds a note. Notes of other groups are ignored. */
  add({ group, partition, ranges }: LedgerNote): void {
    if (group !== this.group) return
    for (const [first, last] of ranges) this.#add(partition, first, last)
  }

  has(partition: number, offset: number): boolean {
    const ranges = this.#ranges.get(partition)
    if (ranges === undefined) return false
    const at = firstEndingFrom(ranges, offset)
    return at < ranges.length && ranges[at]![0] <= offset
  }

  #add(partition: number, first: number, last: number): void {
    const ranges = this.#ranges.get(partition) ?? []
    this.#ranges.set(partition, ranges)
    // Merge it with the ranges that it overlaps or touches.
    const from = firstEndingFrom(ranges, first - 1)
    let to = from
    let [low, high] = [first, last]
    while (to < ranges.length && ranges[to]![0] <= last + 1) {
      low = Math.min(low, ranges[to]![0])
      high = Math.max(high, ranges[to]![1])
      to++
    }
    ranges.splice(from, to - from, [low, high])
  }
}

/** The index of the first range that ends at or after `offset`. */
function firstEndingFrom(ranges: readonly (readonly [number, number])[], offset: number): number {
  let low = 0
  let high = ranges.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (ranges[middle]![1] < offset) low = middle + 1
    else high = middle
  }
  return low
}
