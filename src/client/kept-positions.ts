import { from, Observable, of, Subscription, take, throwIfEmpty } from 'rxjs'
import type { Clock } from '../clock.js'
import type { Driver, Moved, PartitionAssignment, Seek } from '../driver.js'
import { FetchError } from '../errors.js'
import { partitionName } from '../place.js'
import type { AssignedPartition, KeptPosition, PositionsOption } from './client.js'
import type { Reports } from './reports.js'
import type { TopicNames } from './topic-names.js'

const firstPause = 100
const maxPause = 10_000
const maxOffset = BigInt(Number.MAX_SAFE_INTEGER)

export interface KeptPositionsHost {
  /** The option `positions`. */
  readonly positions: PositionsOption
  /** How long it may take to answer before that is reported, ms. */
  readonly patience: number
  readonly driver: Driver
  readonly clock: Clock
  readonly reports: Reports
  readonly names: TopicNames
  /** Begins to read partitions at the group's positions, as without the option. */
  begin(handles: readonly PartitionAssignment[]): void
  /** Begins to read partitions at the positions that were found. */
  onFound(moved: readonly Moved[]): void
}

/**
 * Assigned partitions whose stored positions are being asked for. They are not read yet. An answer counts for partitions that
 * are still assigned when it comes.
 */
export class KeptPositions {
  readonly #open = new Map<PartitionAssignment, Asking>()

  constructor(readonly host: KeptPositionsHost) {}

  /** Asks for the positions of all these partitions in one call. */
  take(handles: readonly PartitionAssignment[]): void {
    const asked = handles.filter(handle => !handle.ended && !this.#open.has(handle))
    if (asked.length === 0) return
    const asking = new Asking(this.host, asked, handle => this.#open.delete(handle))
    for (const handle of asked) this.#open.set(handle, asking)
    asking.ask()
  }

  /** A rebalance may revoke them, or has revoked them: their next owner asks again. */
  drop(handles: Iterable<PartitionAssignment>): void {
    for (const handle of handles) {
      this.#open.get(handle)?.drop(handle)
      this.#open.delete(handle)
    }
  }

  /** Whether the position of a partition of the topic is not known yet. */
  awaits(topic: string): boolean {
    return [...this.#open.keys()].some(handle => handle.topic === topic)
  }

  end(): void {
    this.drop([...this.#open.keys()])
  }
}

/** Partitions that were assigned together, until their positions are known. */
class Asking {
  /** The partitions whose positions are not known yet. */
  readonly #left: Set<PartitionAssignment>
  readonly #work = new Subscription()
  #failures = 0

  constructor(
    readonly host: KeptPositionsHost,
    handles: readonly PartitionAssignment[],
    readonly known: (handle: PartitionAssignment) => void,
  ) {
    this.#left = new Set(handles)
  }

  drop(handle: PartitionAssignment): void {
    this.#left.delete(handle)
    if (this.#left.size === 0) this.#work.unsubscribe()
  }

  ask(): void {
    const { scheduler } = this.host.clock
    const attempt = new Subscription()
    this.#work.add(attempt)
    attempt.add(scheduler.schedule(() => this.#reportSilence(), this.host.patience))
    const fail = (error: unknown) => {
      attempt.unsubscribe()
      this.#failed(error)
    }
    attempt.add(
      this.#answer().subscribe({
        next: list => {
          let seeks: readonly Seek[]
          try {
            seeks = this.#seeksIn(list)
          } catch (error) {
            return fail(error)
          }
          attempt.unsubscribe()
          this.#found(seeks)
        },
        error: fail,
      }),
    )
  }

  /** The answer of the option's function. An exception becomes an error. */
  #answer(): Observable<unknown> {
    const assigned = [...this.#left].map(
      ({ topic, partition }): AssignedPartition => ({ topic: this.host.names.user(topic), partition }),
    )
    return new Observable(subscriber => {
      const answer: unknown = this.host.positions(assigned)
      const lists = Array.isArray(answer) ? of(answer) : from(answer as Observable<unknown>)
      return lists
        .pipe(
          take(1),
          throwIfEmpty(() => new TypeError('it completed without a list')),
        )
        .subscribe(subscriber)
    })
  }

  #seeksIn(list: unknown): readonly Seek[] {
    if (!Array.isArray(list)) throw new TypeError('it returned no list of { topic, partition, offset }')
    const places = new Map([...this.#left].map(handle => [partitionName(this.#shown(handle)), handle]))
    const found = new Map<PartitionAssignment, Seek>()
    for (const kept of list as readonly KeptPosition[]) {
      const { topic, partition, offset } = kept ?? {}
      if (typeof topic !== 'string' || !Number.isInteger(partition) || !isOffset(offset)) {
        throw new TypeError(
          'an entry of its list is not { topic, partition, offset } with an offset that is a bigint ≥ 0',
        )
      }
      const handle = places.get(partitionName({ topic, partition }))
      // Positions of partitions that are not assigned here are ignored.
      if (handle !== undefined) found.set(handle, { assignment: handle, to: Number(offset) })
    }
    return [...found.values()]
  }

  #found(seeks: readonly Seek[]): void {
    const sought = new Set(seeks.map(({ assignment }) => assignment))
    const without = [...this.#left].filter(handle => !sought.has(handle))
    for (const handle of without) this.#settled(handle)
    if (seeks.length > 0) {
      this.#work.add(
        this.host.driver.seek(seeks).subscribe({
          next: moved => {
            const stillAssigned = moved.filter(({ from }) => this.#left.has(from))
            for (const { from } of stillAssigned) this.#settled(from)
            this.host.onFound(stillAssigned)
          },
          error: error => this.#failed(error),
        }),
      )
    }
    if (without.length > 0) this.host.begin(without)
  }

  #settled(handle: PartitionAssignment): void {
    this.#left.delete(handle)
    this.known(handle)
  }

  #failed(cause: unknown): void {
    if (this.#left.size === 0) return
    const pause = Math.min(firstPause * 2 ** this.#failures++, maxPause)
    this.#report(
      `positions failed: ${cause instanceof Error ? cause.message : String(cause)}; it is called again in ${pause} ms`,
      cause,
    )
    const again = this.host.clock.scheduler.schedule(() => {
      this.#work.remove(again)
      this.ask()
    }, pause)
    this.#work.add(again)
  }

  #reportSilence(): void {
    this.#report(`positions has not answered for ${this.host.patience} ms; the partitions are read once it does`)
  }

  #report(why: string, cause?: unknown): void {
    const [first] = this.#left
    if (first === undefined) return
    const places = [...this.#left].map(handle => partitionName(this.#shown(handle))).join(', ')
    const { topic, partition } = first
    this.host.reports.error(
      new FetchError(`the start position of ${places} is not known: ${why}`, { cause, topic, partition }),
    )
  }

  #shown({ topic, partition }: PartitionAssignment): AssignedPartition {
    return { topic: this.host.names.user(topic), partition }
  }
}

function isOffset(offset: unknown): offset is bigint {
  return typeof offset === 'bigint' && offset >= 0n && offset <= maxOffset
}
