import { type Mark, type MarkKind, markKinds, type RowCounts } from './messages.js'

/** Limit on deliveries with a mark in one frame. An eye does not follow more than some 1,000 a second. */
const maxSampled = 240
/** Limit on marks of failures and of events in one frame. They are shown even if the record's delivery has no mark. */
const maxSpecial = 240
/** Limit on deliveries with a mark that wait for their settlement. Beyond it, the settlements of the oldest get no mark. */
const maxOpen = 1_000

interface Row {
  delivered: number
  acked: number
  failed: number
  /** One of this many deliveries gets a mark. */
  every: number
  shown: number
}

/** The part of a frame that concerns records. */
export interface Sample {
  readonly marks: readonly Mark[]
  readonly counts: readonly RowCounts[]
  /** Deliveries with a mark. */
  readonly shown: number
  /** All deliveries. */
  readonly of: number
}

const kinds = Object.fromEntries(markKinds.map((kind, at) => [kind, at])) as Readonly<Record<MarkKind, number>>

/**
 * Selects the records that get marks.
 *
 * Every record is counted. The marks of a frame are shared equally among the rows that were active in the previous frame; within
 * a row they are spread evenly over its deliveries. If the delivery of a record has a mark, its settlement gets one too.
 * Failures, and the retries and dead letters that follow them, get a mark in any case, up to `maxSpecial` per frame.
 */
export class Sampling {
  readonly #rows = new Map<number, Row>()
  #marks: (readonly [kind: number, row: number, at: number, offset: number, attempt: number])[] = []
  /** Deliveries with a mark that are not settled yet, as `row@offset`, oldest first. */
  readonly #open = new Set<string>()
  #shown = 0
  #special = 0
  #share = maxSampled

  delivered(row: number, offset: number, attempt: number, at: number): void {
    const counts = this.#row(row)
    if (counts.delivered++ % counts.every !== 0 || counts.shown >= this.#share || this.#shown >= maxSampled) return
    counts.shown++
    this.#shown++
    this.#open.add(`${row}@${offset}`)
    if (this.#open.size > maxOpen) this.#open.delete(this.#open.values().next().value!)
    this.#marks.push([kinds.delivered, row, at, offset, attempt])
  }

  settled(row: number, kind: 'acked' | 'failed', offset: number, attempt: number, at: number): void {
    this.#row(row)[kind]++
    if (this.#open.delete(`${row}@${offset}`)) this.#marks.push([kinds[kind], row, at, offset, attempt])
    else if (kind === 'failed') this.special(row, kind, offset, attempt, at)
  }

  special(row: number, kind: MarkKind, offset: number, attempt: number, at: number): void {
    if (this.#special++ < maxSpecial) this.#marks.push([kinds[kind], row, at, offset, attempt])
  }

  /** Returns the marks and counts since the last call. */
  take(at: number): Sample {
    let all = 0
    const shown = this.#shown
    const counts: RowCounts[] = []
    let active = 0
    for (const row of this.#rows.values()) if (row.delivered > 0) active++
    this.#share = Math.max(2, Math.floor(maxSampled / Math.max(1, active)))
    for (const [at, row] of this.#rows) {
      const { delivered, acked, failed } = row
      if (delivered + acked + failed > 0) counts.push([at, delivered, acked, failed])
      all += delivered
      row.every = Math.max(1, Math.ceil(delivered / this.#share))
      row.delivered = row.acked = row.failed = row.shown = 0
    }
    const marks = this.#marks.map(
      ([kind, row, when, offset, attempt]): Mark => [kind, row, Math.max(0, at - when), offset, attempt],
    )
    this.#marks = []
    this.#shown = this.#special = 0
    return { marks, counts, shown, of: all }
  }

  #row(at: number): Row {
    let row = this.#rows.get(at)
    if (row === undefined) {
      row = { delivered: 0, acked: 0, failed: 0, every: 1, shown: 0 }
      this.#rows.set(at, row)
    }
    return row
  }
}
