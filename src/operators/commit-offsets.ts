import { asyncScheduler, defer, Observable, type OperatorFunction, type Subscriber, Subscription } from 'rxjs'
import type { CommitPoint, Committed } from '../commit-point.js'
import type { Driver } from '../driver.js'
import { CommitError, isRxMikaError } from '../errors.js'
import { checkFunction, checkOptions, invalid, type KnownOptions } from '../options.js'
import { partitionName, placeName } from '../place.js'
import { subscribeLinked } from './subscribe-linked.js'

/** The options of `commitOffsets`. */
export interface CommitOffsetsOptions {
  /** Called for every refused commit, also for those that are retried. If it throws, the result errors with that error. */
  readonly onError?: ((error: CommitError) => void) | undefined
}

const known: KnownOptions<CommitOffsetsOptions> = { onError: true }

const firstRetry = 100
const longestRetry = 2_000

/**
 * Commits positions: one request in flight at a time, only the newest position of each partition, never a lower one.
 *
 * - Emits a {@link Committed} for every position that the broker has confirmed.
 * - Drops points whose assignment has ended: the broker would accept them and rewind the new owner.
 * - Retries a refused commit if the error is retriable, with the positions that are newest by then, after 100 ms at first
 *   and 2 s at most. Errors with any other refusal.
 * - When the source completes, commits what is pending and then completes.
 * - Sends the points of an array in one request.
 *
 * ```
 * source                 --1-2-3---4---|       positions of one partition
 * driver.commit            -----|----|----|    1, then the newest: 3, then 4
 * commitOffsets          -------1----3----(4|)
 * ```
 *
 * @param driver Sends the commits.
 * @throws ConfigurationError if `driver` is not a driver, or an option is invalid or unknown.
 */
export function commitOffsets(
  driver: Pick<Driver, 'commit' | 'scheduler'>,
  options: CommitOffsetsOptions = {},
): OperatorFunction<CommitPoint | readonly CommitPoint[], Committed> {
  if (typeof driver?.commit !== 'function') throw invalid('commitOffsets: the driver', driver, 'must be a driver')
  checkOptions('commitOffsets', options, known)
  if (options.onError !== undefined) checkFunction('commitOffsets: onError', options.onError)
  return source =>
    new Observable(subscriber => {
      const committing = new Committing(driver, options, subscriber)
      subscriber.add(() => committing.cancel())
      subscribeLinked(source, subscriber, {
        next: points => committing.take(points),
        error: error => subscriber.error(error),
        complete: () => committing.sourceCompleted(),
      })
    })
}

class Committing {
  readonly #points = new NewestPoints()
  /** True from a commit until its answer; after a refusal, until it is retried. */
  #busy = false
  #looping = false
  #sourceCompleted = false
  #refusals = 0
  #underWay: Subscription | undefined

  constructor(
    readonly driver: Pick<Driver, 'commit' | 'scheduler'>,
    readonly options: CommitOffsetsOptions,
    readonly subscriber: Subscriber<Committed>,
  ) {}

  take(points: CommitPoint | readonly CommitPoint[]): void {
    if ('offset' in points) this.#points.offer(points)
    else for (const point of points) this.#points.offer(point)
    this.#proceed()
  }

  sourceCompleted(): void {
    this.#sourceCompleted = true
    this.#proceed()
  }

  cancel(): void {
    this.#underWay?.unsubscribe()
  }

  #proceed(): void {
    // A loop and no recursion: if the driver answers synchronously, a subscriber may push the next point synchronously too.
    if (this.#looping) return
    this.#looping = true
    while (!this.#busy && !this.subscriber.closed) {
      const due = this.#points.due()
      if (due.length > 0) this.#commit(due)
      else if (this.#sourceCompleted) this.subscriber.complete()
      else break
    }
    this.#looping = false
  }

  #commit(points: readonly CommitPoint[]): void {
    this.#busy = true
    // Set before the driver is called: an unsubscribe during the call must cancel the request.
    const request = new Subscription()
    this.#underWay = request
    request.add(
      defer(() => this.driver.commit(points)).subscribe({
        error: cause => this.#refused(cause, points),
        complete: () => this.#confirmed(points),
      }),
    )
  }

  #confirmed(points: readonly CommitPoint[]): void {
    this.#refusals = 0
    this.#points.confirm(points)
    // #busy is still true, so points that subscribers push meanwhile wait for the loop.
    for (const point of points) if (!hasEnded(point)) this.subscriber.next(point)
    this.#busy = false
    this.#proceed()
  }

  #refused(cause: unknown, points: readonly CommitPoint[]): void {
    const error = isRxMikaError(cause, 'RXMIKA_COMMIT') ? cause : unexpected(cause, points)
    try {
      this.options.onError?.(error)
    } catch (thrown) {
      return this.subscriber.error(thrown)
    }
    if (error.retriable === false) return this.subscriber.error(error)
    if (this.subscriber.closed) return
    const delay = Math.min(firstRetry * 2 ** this.#refusals++, longestRetry)
    this.#underWay = (this.driver.scheduler ?? asyncScheduler).schedule(() => {
      this.#busy = false
      this.#proceed()
    }, delay)
  }
}

/** The newest and the confirmed point of each assignment; for points without one, of each partition. */
class NewestPoints {
  readonly #partitions = new Map<object | string, { newest: CommitPoint; confirmed: CommitPoint | undefined }>()

  offer(point: CommitPoint): void {
    const known = this.#partitions.get(keyOf(point))
    if (known === undefined) this.#partitions.set(keyOf(point), { newest: point, confirmed: undefined })
    else if (point.offset >= known.newest.offset) known.newest = point
  }

  /** The points to commit now. They count as unconfirmed until the answer: a refused commit may have been applied. */
  due(): CommitPoint[] {
    const due: CommitPoint[] = []
    for (const [key, partition] of this.#partitions) {
      const { newest, confirmed } = partition
      if (hasEnded(newest)) this.#partitions.delete(key)
      else if (confirmed === undefined || !isSame(newest, confirmed)) {
        partition.confirmed = undefined
        due.push(newest)
      }
    }
    return due
  }

  confirm(points: readonly CommitPoint[]): void {
    for (const point of points) {
      const known = this.#partitions.get(keyOf(point))
      if (known !== undefined) known.confirmed = point
    }
  }
}

function keyOf({ assignment, topic, partition }: CommitPoint): object | string {
  // By assignment: a new one may start below the position that the previous one reached.
  return assignment ?? partitionName({ topic, partition })
}

function hasEnded({ assignment }: CommitPoint): boolean {
  return assignment?.ended === true
}

function isSame(one: CommitPoint, other: CommitPoint): boolean {
  return one.offset === other.offset && one.metadata === other.metadata
}

function unexpected(cause: unknown, points: readonly CommitPoint[]): CommitError {
  const places = points.map(placeName).join(', ')
  const why = cause instanceof Error ? `: ${cause.message}` : ''
  // Retriable, because only a `CommitError` can say that no later commit will pass.
  return new CommitError(`the driver failed to commit ${places}${why}`, { cause, retriable: true })
}
