import { Observable, Subject, type Subscriber, type Subscription } from 'rxjs'
import type { CommitPoint, Committed } from '../commit-point.js'
import type { Driver, PartitionAssignment } from '../driver.js'
import type { CommitError } from '../errors.js'
import { commitOffsets } from '../operators/commit-offsets.js'
import { type BarrierSignal, completionBarrier } from '../operators/completion-barrier.js'
import type { Assignment } from './assignment.js'

/**
 * From completions to commits: one `completionBarrier` per assignment, flushed together at most once per interval, and
 * one `commitOffsets` for all of them, so that a full-speed client sends a few commits a second and never one per batch.
 */
export class Commits {
  readonly #points = new Subject<CommitPoint>()
  readonly #flush = new Subject<void>()
  readonly #assignments = new Map<PartitionAssignment, Assignment>()
  #timer: Subscription | undefined
  #lastFlush = Number.NEGATIVE_INFINITY
  #stopped = false

  /** What the broker has confirmed; errors when no commit of this client will ever pass. */
  readonly committed: Observable<Committed>

  constructor(
    readonly driver: Driver,
    readonly scheduler: { now(): number; schedule(work: () => void, delay: number): Subscription },
    readonly interval: number,
    onError: (error: CommitError) => void,
    readonly onForgotten: (assignment: Assignment, ranges: number) => void,
  ) {
    this.committed = this.#points.pipe(commitOffsets(driver, { onError }))
  }

  /** The barrier of a new assignment: what it is given here ends in commits. */
  readonly barrier = (assignment: Assignment): Subscriber<BarrierSignal> => {
    const { handle } = assignment
    this.#assignments.set(handle, assignment)
    let signals!: Subscriber<BarrierSignal>
    // The bare subscriber instead of a Subject: two calls per record less on the hot path.
    new Observable<BarrierSignal>(subscriber => {
      signals = subscriber
    })
      .pipe(completionBarrier(Number.POSITIVE_INFINITY, { flush: this.#flush }))
      .subscribe(({ offset }) => {
        if (!assignment.ended && offset > assignment.requested) this.#request(assignment, offset)
      })
    return signals
  }

  /** The completed prefix of some assignment grew: it is committed at the interval's end. */
  readonly due = (): void => {
    if (this.#timer !== undefined || this.#stopped) return
    const wait = Math.max(0, this.#lastFlush + this.interval - this.scheduler.now())
    this.#timer = this.scheduler.schedule(() => this.flush(), wait)
  }

  /** Asks for everything completed to be committed now. */
  flush(): void {
    this.#timer?.unsubscribe()
    this.#timer = undefined
    this.#lastFlush = this.scheduler.now()
    this.#flush.next()
    // Where the position stands still, finished work behind it may have changed what is to be remembered.
    for (const assignment of this.#assignments.values()) this.#request(assignment, assignment.requested)
  }

  #request(assignment: Assignment, offset: bigint): void {
    const { metadata, leftOut } = assignment.remember(offset)
    if (offset === assignment.requested && metadata === assignment.requestedMetadata) return
    if (leftOut > 0) this.onForgotten(assignment, leftOut)
    assignment.requested = offset
    assignment.requestedMetadata = metadata
    const { handle } = assignment
    this.#points.next({ topic: handle.topic, partition: handle.partition, offset, metadata, assignment: handle })
  }

  /** The broker has confirmed everything that was asked for. */
  get settled(): boolean {
    for (const assignment of this.#assignments.values()) if (!assignment.isCommitted) return false
    return true
  }

  confirm({ assignment, offset, metadata }: Committed): Assignment | undefined {
    const confirmed = this.#assignments.get(assignment as PartitionAssignment)
    confirmed?.onCommitted(offset, metadata ?? '')
    return confirmed
  }

  forget(handle: PartitionAssignment): void {
    this.#assignments.delete(handle)
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.unsubscribe()
    this.#timer = undefined
  }
}
