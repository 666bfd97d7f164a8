import { type SchedulerLike, Subscription } from 'rxjs'

/** How long what happens is gathered before its first line, ms: a burst is one line then, with its count. */
const gatheredFor = 1_000
/** The least time between two lines of a kind, ms. */
const linesApart = 10_000
/** How many kinds are counted apart; more, and the rest of a family is counted together. Topics and error names are data. */
const maxKinds = 100

/** What is counted: one line for all that have the same family and name. */
export interface Happening<T> {
  /** A word. */
  readonly family: string
  /** What lines of a family are kept apart by; may hold anything. */
  readonly name: string
  readonly of: T
}

/** So many happenings of one kind since the last line. */
export interface Tally<T> {
  readonly family: string
  /** The first of them. */
  readonly first: T
  readonly count: number
  /** Kinds that found no place are counted together. */
  readonly mixed: boolean
}

interface Kind<T> {
  readonly family: string
  readonly mixed: boolean
  first: T | undefined
  count: number
  timer: Subscription
}

/**
 * Counts what may happen to every record, so that the log has a line of each kind in 10 s and not one of each record.
 *
 * The first line of a kind comes a second after its first happening, every further one 10 s after the line before, while
 * there is anything to say. Memory is bounded: 100 kinds, and one more of each family.
 */
export class Tallies<T, S> {
  readonly #kinds = new Map<string, Kind<S>>()
  #ended = false

  /** @param sum What is kept of the first happening of a line: what itself holds bytes or errors is not kept for 10 s. */
  constructor(
    readonly scheduler: SchedulerLike,
    readonly sum: (of: T) => S,
    readonly say: (tally: Tally<S>) => void,
  ) {}

  count({ family, name, of }: Happening<T>): void {
    const own = `${family} ${name}`
    const mixed = this.#kinds.size >= maxKinds && !this.#kinds.has(own)
    const key = mixed ? family : own
    const kind = this.#kinds.get(key)
    if (kind !== undefined) {
      kind.first ??= this.sum(of)
      kind.count++
      return
    }
    const timer = this.#ended ? Subscription.EMPTY : this.#later(key, gatheredFor)
    const begun: Kind<S> = { family, mixed, first: this.sum(of), count: 1, timer }
    this.#kinds.set(key, begun)
    // Nothing comes after the end: the first of a kind is all that is said.
    if (this.#ended) this.#sayOf(begun)
  }

  /** Says what has been counted and not said. Of what happens afterwards, the first of each kind is said. */
  end(): void {
    this.#ended = true
    for (const kind of this.#kinds.values()) {
      kind.timer.unsubscribe()
      this.#sayOf(kind)
    }
    this.#kinds.clear()
  }

  #later(key: string, delay: number): Subscription {
    return this.scheduler.schedule(() => {
      const kind = this.#kinds.get(key)!
      if (kind.count === 0) {
        this.#kinds.delete(key)
        return
      }
      this.#sayOf(kind)
      kind.timer = this.#later(key, linesApart)
    }, delay)
  }

  #sayOf(kind: Kind<S>): void {
    const { family, first, count, mixed } = kind
    kind.first = undefined
    kind.count = 0
    if (first !== undefined) this.say({ family, first, count, mixed })
  }
}
