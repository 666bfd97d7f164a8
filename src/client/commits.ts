import { Observable, Subject, type Subscriber, type Subscription, tap } from 'rxjs'
import { type ClientMessage, type CommitMessage, commitChannel, Operation } from '../channels.js'
import type { Clock } from '../clock.js'
import type { CommitPoint, Committed } from '../commit-point.js'
import type { Driver, PartitionAssignment } from '../driver.js'
import type { CommitError } from '../errors.js'
import { commitOffsets } from '../operators/commit-offsets.js'
import { type BarrierSignal, completionBarrier } from '../operators/completion-barrier.js'
import type { Assignment } from './assignment.js'
import type { TopicNames } from './topic-names.js'

export interface CommitsListener {
  /** The broker refused a commit, for now or for good. */
  refused(error: CommitError): void
  /** So many ranges of finished work have no room in the metadata. */
  forgotten(assignment: Assignment, ranges: number): void
  /** The driver delivered out of order: no position can be trusted any more. */
  broken(error: unknown): void
}

interface Tracked {
  readonly assignment: Assignment
  readonly barrier: Subscription
}

/**
 * From completions to commits: one `completionBarrier` per assignment, flushed together at most once per interval, and
 * one `commitOffsets` for all of them, so that a full-speed client sends a few commits a second and never one per batch.
 */
export class Commits {
  readonly #points = new Subject<readonly CommitPoint[]>()
  /** What this flush asks for: it goes in one request. */
  #asked: CommitPoint[] = []
  readonly #flush = new Subject<void>()
  readonly #tracked = new Map<PartitionAssignment, Tracked>()
  #timer: Subscription | undefined
  #lastFlush = Number.NEGATIVE_INFINITY
  #stopped = false
  #requests = 0

  /** What the broker has confirmed; errors when no commit of this client will ever pass. */
  readonly committed: Observable<Committed>

  constructor(
    readonly driver: Driver,
    readonly clock: Clock,
    readonly interval: number,
    readonly told: CommitsListener,
    readonly names: TopicNames,
    readonly identity: ClientMessage,
  ) {
    const { scheduler } = driver
    this.committed = this.#points.pipe(
      commitOffsets(
        { commit: points => this.#commit(points), ...(scheduler && { scheduler }) },
        { onError: error => told.refused(error) },
      ),
    )
  }

  /** How many requests the broker has confirmed. */
  get requests(): number {
    return this.#requests
  }

  #commit(points: readonly CommitPoint[]): Observable<never> {
    const counted = this.driver.commit(points).pipe(tap({ complete: () => this.#requests++ }))
    if (!commitChannel.hasSubscribers) return counted
    return new Observable(subscriber => {
      const positions = points.map(({ topic, partition, offset }) => ({
        ...{ topic: this.names.user(topic), partition, offset },
      }))
      const operation = new Operation<CommitMessage>(commitChannel, { ...this.identity, positions })
      operation.run(() => {})
      // Before `add`: told as failed or done, it is not cancelled by the unsubscribing that follows.
      const ended = { error: (error: unknown) => operation.failed(error), complete: () => operation.done() }
      subscriber.add(() => operation.cancelled())
      return counted.pipe(tap(ended)).subscribe(subscriber)
    })
  }

  /** The barrier of a new assignment: what it is given here ends in commits. */
  readonly barrier = (assignment: Assignment): Subscriber<BarrierSignal> => {
    const { handle } = assignment
    let signals!: Subscriber<BarrierSignal>
    // The bare subscriber instead of a Subject: two calls per record less on the hot path.
    const barrier = new Observable<BarrierSignal>(subscriber => {
      signals = subscriber
    })
      .pipe(completionBarrier(Number.POSITIVE_INFINITY, { flush: this.#flush }))
      .subscribe({
        next: ({ offset }) => {
          if (!assignment.ended && offset > assignment.requested) this.#request(assignment, offset)
        },
        error: error => this.told.broken(error),
      })
    this.#tracked.set(handle, { assignment, barrier })
    return signals
  }

  /** The completed prefix of some assignment grew: it is committed at the interval's end. */
  readonly due = (): void => {
    if (this.#timer !== undefined || this.#stopped) return
    const wait = Math.max(0, this.#lastFlush + this.interval - this.clock.monotonic())
    this.#timer = this.clock.scheduler.schedule(() => this.flush(), wait)
  }

  /** Asks for everything completed to be committed now. */
  flush(): void {
    this.#timer?.unsubscribe()
    this.#timer = undefined
    this.#lastFlush = this.clock.monotonic()
    // A flush may come from within a delivery, by a handler that closes the client.
    for (const { assignment } of this.#tracked.values()) assignment.signalPassed()
    this.#flush.next()
    // Where the position stands still, finished work behind it may have changed what is to be remembered.
    for (const { assignment } of this.#tracked.values()) this.#request(assignment, assignment.requested)
    const asked = this.#asked
    this.#asked = []
    if (asked.length > 0) this.#points.next(asked)
  }

  #request(assignment: Assignment, offset: bigint): void {
    const { metadata, leftOut } = assignment.remember(offset, this.driver.maxCommitMetadata)
    if (offset === assignment.requested && metadata === assignment.requestedMetadata) return
    if (leftOut > 0) this.told.forgotten(assignment, leftOut)
    assignment.requested = offset
    assignment.requestedMetadata = metadata
    const { handle } = assignment
    this.#asked.push({ topic: handle.topic, partition: handle.partition, offset, metadata, assignment: handle })
  }

  /** Commits where assignments begin, also backwards: a seek, or positions that are kept elsewhere, moved them there. */
  begin(assignments: readonly Assignment[]): void {
    const points = assignments.map(({ handle, requested, requestedMetadata }): CommitPoint => {
      const { topic, partition } = handle
      return { topic, partition, offset: requested, metadata: requestedMetadata, assignment: handle }
    })
    if (points.length > 0) this.#points.next(points)
  }

  /** The broker has confirmed everything that was asked for. */
  get settled(): boolean {
    for (const { assignment } of this.#tracked.values()) if (!assignment.isCommitted) return false
    return true
  }

  confirm({ assignment, offset, metadata }: Committed): Assignment | undefined {
    const confirmed = this.#tracked.get(assignment as PartitionAssignment)?.assignment
    confirmed?.onCommitted(offset, metadata ?? '')
    return confirmed
  }

  forget(handle: PartitionAssignment): void {
    this.#tracked.get(handle)?.barrier.unsubscribe()
    this.#tracked.delete(handle)
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.unsubscribe()
    this.#timer = undefined
  }
}
