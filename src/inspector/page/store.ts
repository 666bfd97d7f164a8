import {
  type Frame,
  type Happening,
  type MarkKind,
  type Message,
  markKinds,
  type Snapshot,
  type Standing,
} from '../messages.js'

/** The time span of the diagrams, ms. */
export const shownFor = 10_000
/** How long marks are kept, ms. Longer than `shownFor`, so that marks leave at the left edge and do not vanish before it. */
const keptFor = shownFor + 3_000
/** How far the diagrams lag behind the process, ms, so that a frame has arrived before its time is drawn. */
export const lateBy = 400
/** Limit on the entries kept for each list. */
const maxListed = 100

export interface Mark {
  readonly kind: MarkKind
  readonly at: number
  readonly offset: number
  readonly attempt: number
}

export interface Count {
  readonly at: number
  readonly delivered: number
  readonly acked: number
  readonly failed: number
}

/** The marks and counts of one partition, of the last `keptFor` ms. */
export class Lane {
  readonly marks: Mark[] = []
  readonly counts: Count[] = []

  constructor(readonly name: string) {}

  forget(before: number): void {
    drop(this.marks, before)
    drop(this.counts, before)
  }
}

export interface List {
  count: number
  readonly newest: Happening[]
}

/** All data of the page, from the newest messages. Marks are bounded by time, lists by length. */
export class Store {
  readonly lanes = new Map<string, Lane>()
  readonly deadLetters: List = { count: 0, newest: [] }
  readonly errors: List = { count: 0, newest: [] }
  readonly rebalances: List = { count: 0, newest: [] }
  snapshot: Snapshot | undefined
  standing: Standing | undefined
  /** The state before `standing`, from which rates per second are computed. */
  previous: { readonly at: number; readonly standing: Standing } | undefined
  standingAt = 0
  /** How many frames were skipped on this connection. */
  missed = 0
  /** For each frame: `shown` of `of` deliveries have a mark. */
  readonly sampled: { readonly at: number; readonly shown: number; readonly of: number }[] = []
  #rows: string[] = []

  /** Stores a message. Returns the happenings that are new in it. */
  take(message: Message): readonly Happening[] {
    if (message.type === 'snapshot') {
      this.#begin(message)
      return []
    }
    this.#frame(message)
    return message.happenings
  }

  lane(name: string): Lane {
    let lane = this.lanes.get(name)
    if (lane === undefined) {
      lane = new Lane(name)
      this.lanes.set(name, lane)
    }
    return lane
  }

  #begin(snapshot: Snapshot): void {
    this.snapshot = snapshot
    this.#rows = [...snapshot.rows]
    for (const [list, sent] of [
      [this.deadLetters, snapshot.deadLetters],
      [this.errors, snapshot.errors],
      [this.rebalances, snapshot.rebalances],
    ] as const) {
      list.count = sent.count
      list.newest.splice(0, list.newest.length, ...sent.newest)
    }
    this.previous = undefined
    this.#setStanding(snapshot, snapshot.at)
  }

  #frame(frame: Frame): void {
    for (const [at, name] of frame.rows.entries()) this.#rows[frame.from + at] = name
    this.missed += frame.missed
    for (const [kind, row, before, offset, attempt] of frame.marks) {
      const name = this.#rows[row]
      const kindName = markKinds[kind]
      if (name !== undefined && kindName !== undefined) {
        this.lane(name).marks.push({ kind: kindName, at: frame.at - before, offset, attempt })
      }
    }
    for (const [row, delivered, acked, failed] of frame.counts) {
      const name = this.#rows[row]
      if (name !== undefined) this.lane(name).counts.push({ at: frame.at, delivered, acked, failed })
    }
    this.sampled.push({ at: frame.at, ...frame.sampled })
    for (const happening of frame.happenings) {
      const list = this.#listOf(happening)
      if (list === undefined) continue
      list.count++
      list.newest.push(happening)
      if (list.newest.length > maxListed) list.newest.splice(0, list.newest.length - maxListed)
    }
    if (frame.standing !== null) this.#setStanding(frame.standing, frame.at)
    const limit = frame.at - keptFor
    drop(this.sampled, limit)
    const assigned = new Set(this.standing?.partitions.map(({ name }) => name))
    for (const [name, lane] of this.lanes) {
      lane.forget(limit)
      if (lane.marks.length === 0 && !assigned.has(name)) this.lanes.delete(name)
    }
  }

  #setStanding(standing: Standing, at: number): void {
    if (this.standing !== undefined && this.standingAt < at) {
      this.previous = { at: this.standingAt, standing: this.standing }
    }
    this.standing = standing
    this.standingAt = at
    // The counts of the process include happenings that this connection missed.
    const { deadLetters, errors, rebalances } = standing.happened
    this.deadLetters.count = deadLetters
    this.errors.count = errors
    this.rebalances.count = rebalances
  }

  #listOf({ type }: Happening): List | undefined {
    switch (type) {
      case 'dead-lettered':
        return this.deadLetters
      case 'error':
        return this.errors
      case 'rebalance':
        return this.rebalances
      default:
        return undefined
    }
  }
}

function drop(list: { readonly at: number }[], before: number): void {
  let old = 0
  while (old < list.length && list[old]!.at < before) old++
  if (old > 0) list.splice(0, old)
}
