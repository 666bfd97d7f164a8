import { Observable, Subject, type Subscription, tap } from 'rxjs'
import { type ClientMessage, type CommitMessage, commitChannel, Operation } from '../channels.js'
import type { Clock } from '../clock.js'
import type { CommitPoint, Committed } from '../commit-point.js'
import type { Driver, PartitionAssignment } from '../driver.js'
import type { CommitError } from '../errors.js'
import { commitOffsets } from '../operators/commit-offsets.js'
import type { Assignment } from './assignment.js'
import type { TopicNames } from './topic-names.js'

export interface CommitsListener {
  /** The broker refused a commit, temporarily or permanently. */
  refused(error: CommitError): void
  /** This many ranges of finished offsets did not fit into the metadata. */
  forgotten(assignment: Assignment, ranges: number): void
}

/**
 * Turns completions into commits. The positions of all assignments go together, at most once per interval, into one
 * `commitOffsets`. So even a busy client sends at most ten commits per second by default, and not one per batch.
 */
export class Commits {
  readonly #points = new Subject<readonly CommitPoint[]>()
  /** The points of the current flush, which are sent in one request. */
  #requested: CommitPoint[] = []
  readonly #tracked = new Map<PartitionAssignment, Assignment>()
  #timer: Subscription | undefined
  #lastFlush = Number.NEGATIVE_INFINITY
  #stopped = false
  #requests = 0

  /** The confirmed positions. Errors if no commit of this client can succeed any more. */
  readonly committed: Observable<Committed>

  constructor(
    readonly driver: Driver,
    readonly clock: Clock,
    readonly interval: number,
    readonly listener: CommitsListener,
    readonly names: TopicNames,
    readonly identity: ClientMessage,
  ) {
    const { scheduler } = driver
    this.committed = this.#points.pipe(
      commitOffsets(
        { commit: points => this.#commit(points), ...(scheduler && { scheduler }) },
        { onError: error => listener.refused(error) },
      ),
    )
  }

  /** The number of confirmed requests. */
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
      // `failed` and `done` come before `cancelled`, which then has no effect: unsubscribing follows both.
      const ended = { error: (error: unknown) => operation.failed(error), complete: () => operation.done() }
      subscriber.add(() => operation.cancelled())
      return counted.pipe(tap(ended)).subscribe(subscriber)
    })
  }

  /** Commits the positions of a new assignment from now on. */
  track(assignment: Assignment): void {
    this.#tracked.set(assignment.handle, assignment)
  }

  /** The completed prefix of an assignment has grown. It is committed at the end of the interval. */
  readonly due = (): void => {
    if (this.#timer !== undefined || this.#stopped) return
    const wait = Math.max(0, this.#lastFlush + this.interval - this.clock.monotonic())
    this.#timer = this.clock.scheduler.schedule(() => this.flush(), wait)
  }

  /** Commits everything completed now. */
  flush(): void {
    this.#timer?.unsubscribe()
    this.#timer = undefined
    this.#lastFlush = this.clock.monotonic()
    // The position may be unchanged while more records are completed behind it, which changes the metadata.
    for (const assignment of this.#tracked.values()) this.#request(assignment)
    const requested = this.#requested
    this.#requested = []
    if (requested.length > 0) this.#points.next(requested)
  }

  #request(assignment: Assignment): void {
    // Never a lower position than before: it may have begun below the group's (`positions`).
    const position = BigInt(assignment.position)
    const offset = position > assignment.requested ? position : assignment.requested
    const { metadata, leftOut } = assignment.remember(offset, this.driver.maxCommitMetadata)
    if (offset === assignment.requested && metadata === assignment.requestedMetadata) return
    if (leftOut > 0) this.listener.forgotten(assignment, leftOut)
    assignment.requested = offset
    assignment.requestedMetadata = metadata
    const { handle } = assignment
    this.#requested.push({ topic: handle.topic, partition: handle.partition, offset, metadata, assignment: handle })
  }

  /** Commits the positions at which assignments begin, also backwards: after a seek, or with the option `positions`. */
  begin(assignments: readonly Assignment[]): void {
    const points = assignments.map(({ handle, requested, requestedMetadata }): CommitPoint => {
      const { topic, partition } = handle
      return { topic, partition, offset: requested, metadata: requestedMetadata, assignment: handle }
    })
    if (points.length > 0) this.#points.next(points)
  }

  /** True if the broker has confirmed everything that was requested. */
  get settled(): boolean {
    for (const assignment of this.#tracked.values()) if (!assignment.isCommitted) return false
    return true
  }

  confirm({ assignment, offset, metadata }: Committed): Assignment | undefined {
    const confirmed = this.#tracked.get(assignment as PartitionAssignment)
    confirmed?.onCommitted(offset, metadata ?? '')
    return confirmed
  }

  forget(handle: PartitionAssignment): void {
    this.#tracked.delete(handle)
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.unsubscribe()
    this.#timer = undefined
  }
}
