import { type SchedulerLike, Subscription } from 'rxjs'

/** How long happenings are collected before the first line of a kind, ms: a burst becomes one line with its count. */
const collectFor = 1_000
/** The shortest time between two lines of a kind, ms. */
const lineInterval = 10_000
/** How many kinds are counted separately; further ones are counted together per family. Topics and error names are data. */
const maxKinds = 100

/** Something to count. All happenings with the same family and name share a line. */
export interface Happening<T> {
  /** A single word. */
  readonly family: string
  /** Separates the lines of a family; any text. */
  readonly name: string
  readonly of: T
}

/** The number of happenings of one kind since its last line. */
export interface Tally<T> {
  readonly family: string
  /** The first of them. */
  readonly first: T
  readonly count: number
  /** True: several kinds are counted together. */
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
 * Counts what may happen to every record, so that the log has one line per kind in 10 s and not one per record.
 *
 * The first line of a kind is written one second after its first happening, each further one 10 s after the last, if
 * anything happened meanwhile. Memory is bounded: 100 kinds, and one more per family.
 */
export class Tallies<T, S> {
  readonly #kinds = new Map<string, Kind<S>>()
  #ended = false

  /** @param sum Returns what is kept of the first happening of a line, so that bytes and errors are not kept for 10 s. */
  constructor(
    readonly scheduler: SchedulerLike,
    readonly sum: (of: T) => S,
    readonly log: (tally: Tally<S>) => void,
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
    const timer = this.#ended ? Subscription.EMPTY : this.#later(key, collectFor)
    const begun: Kind<S> = { family, mixed, first: this.sum(of), count: 1, timer }
    this.#kinds.set(key, begun)
    // After the end only the first happening of a kind is written.
    if (this.#ended) this.#logKind(begun)
  }

  /** Writes the counts that are not written yet. After that, only the first happening of each kind is written. */
  end(): void {
    this.#ended = true
    for (const kind of this.#kinds.values()) {
      kind.timer.unsubscribe()
      this.#logKind(kind)
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
      this.#logKind(kind)
      kind.timer = this.#later(key, lineInterval)
    }, delay)
  }

  #logKind(kind: Kind<S>): void {
    const { family, first, count, mixed } = kind
    kind.first = undefined
    kind.count = 0
    if (first !== undefined) this.log({ family, first, count, mixed })
  }
}
