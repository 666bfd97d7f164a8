import { type Mark, type MarkKind, markKinds, type RowCounts } from './messages.js'

/** Marks of ordinary records in a frame: about a thousand a second are as many as an eye follows and a browser draws. */
const maxSampled = 240
/** Marks in a frame of what goes wrong, which is shown while there is room, sampled or not. */
const maxSpecial = 240
/** Sampled records that are not settled. Of more, the oldest are forgotten: their settlement has no mark. */
const maxOpen = 1_000

interface Row {
  delivered: number
  acked: number
  failed: number
  /** Every how many deliveries have a mark. */
  every: number
  shown: number
}

/** What a frame has of records. */
export interface Sample {
  readonly marks: readonly Mark[]
  readonly counts: readonly RowCounts[]
  readonly shown: number
  readonly of: number
}

const kinds = Object.fromEntries(markKinds.map((kind, at) => [kind, at])) as Readonly<Record<MarkKind, number>>

/**
 * Which records have marks. All are counted; of each row as many have marks as an equal share of the frame has room for, evenly
 * spread, and a record whose delivery has one has one for its settlement. Failures and what comes of them have marks while
 * there is room.
 */
export class Sampling {
  readonly #rows = new Map<number, Row>()
  #marks: (readonly [kind: number, row: number, at: number, offset: number, attempt: number])[] = []
  /** Deliveries with a mark that are not settled, as row and offset, the oldest first. */
  readonly #open = new Set<string>()
  #shown = 0
  #special = 0
  #share = maxSampled

  delivered(row: number, offset: number, attempt: number, at: number): void {
    const of = this.#row(row)
    if (of.delivered++ % of.every !== 0 || of.shown >= this.#share || this.#shown >= maxSampled) return
    of.shown++
    this.#shown++
    this.#open.add(`${row}@${offset}`)
    if (this.#open.size > maxOpen) this.#open.delete(this.#open.values().next().value!)
    this.#marks.push([kinds.delivered, row, at, offset, attempt])
  }

  settled(row: number, kind: 'acked' | 'failed', offset: number, attempt: number, at: number): void {
    const of = this.#row(row)
    of[kind]++
    if (this.#open.delete(`${row}@${offset}`)) this.#marks.push([kinds[kind], row, at, offset, attempt])
    else if (kind === 'failed') this.special(row, kind, offset, attempt, at)
  }

  special(row: number, kind: MarkKind, offset: number, attempt: number, at: number): void {
    if (this.#special++ < maxSpecial) this.#marks.push([kinds[kind], row, at, offset, attempt])
  }

  /** What came since the last call. */
  take(at: number): Sample {
    let of = 0
    const shown = this.#shown
    const counts: RowCounts[] = []
    let active = 0
    for (const row of this.#rows.values()) if (row.delivered > 0) active++
    this.#share = Math.max(2, Math.floor(maxSampled / Math.max(1, active)))
    for (const [at, row] of this.#rows) {
      const { delivered, acked, failed } = row
      if (delivered + acked + failed > 0) counts.push([at, delivered, acked, failed])
      of += delivered
      row.every = Math.max(1, Math.ceil(delivered / this.#share))
      row.delivered = row.acked = row.failed = row.shown = 0
    }
    const marks = this.#marks.map(
      ([kind, row, when, offset, attempt]): Mark => [kind, row, Math.max(0, at - when), offset, attempt],
    )
    this.#marks = []
    this.#shown = this.#special = 0
    return { marks, counts, shown, of }
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
