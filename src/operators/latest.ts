import {
  asyncScheduler,
  type MonoTypeOperatorFunction,
  Observable,
  type SchedulerLike,
  type Subscriber,
  type Subscription,
} from 'rxjs'
import { deliveryBehind } from '../delivery.js'
import { checkDuration, checkFunction, checkOptions, type KnownOptions } from '../options.js'
import type { ConsumeRecord } from '../record.js'
import { isOpen } from './is-open.js'
import { RebalanceWatch } from './rebalance-watch.js'
import { subscribeLinked } from './subscribe-linked.js'

export interface LatestOptions<R = ConsumeRecord> {
  /**
   * What records have in common that supersede each other, in place of topic and key. Buffers are compared by their bytes,
   * anything else as a `Map` does; null and undefined: the record passes at once. When it throws the record fails.
   */
  readonly by?: ((record: R) => unknown) | undefined
  /** The time of `ms`; default `asyncScheduler`. */
  readonly scheduler?: SchedulerLike | undefined
}

const known: KnownOptions<LatestOptions> = { by: true, scheduler: true }

/**
 * Of each key, only the newest record goes on, at most once per `ms`; what it supersedes is acked.
 *
 * The first record of a key waits for `ms`. When they are over the newest that came goes on, so a key that never rests does
 * not starve, which it does with `debounceTime`. That operator, like `throttleTime` and `auditTime`, drops records unsettled
 * and stops their partitions.
 *
 * ```
 * source              -a-A-b-----Á--|       a, A and Á have one key, b has another
 * latest(4)           -----A---b----(Á|)    a is acked when A comes
 * ```
 *
 * - Newest is the one with the higher offset in one partition, and the later timestamp across partitions: a retry of an older
 *   record does not supersede a newer one.
 * - Records without a key (null) pass at once.
 * - When the source completes, what waits goes on at once. When it errors, or on unsubscribing, what waits is left unsettled and
 *   is delivered again.
 * - What waits does not hold up a rebalance: it goes on after it, unless its partition went elsewhere.
 *
 * @example
 * client.topic('stock-levels').pipe(latest(500), handle(record => refreshShelf(record), { order: 'key' })).subscribe()
 *
 * @param ms How long the first record of a key waits for newer ones, ms.
 * @throws ConfigurationError when `ms` or an option is invalid.
 */
export function latest<R extends ConsumeRecord<unknown>>(
  ms: number,
  options: LatestOptions<R> = {},
): MonoTypeOperatorFunction<R> {
  checkDuration('latest: ms', ms)
  checkOptions('latest', options, known)
  if (options.by !== undefined) checkFunction('latest: by', options.by)
  const { by, scheduler = asyncScheduler } = options
  return source =>
    new Observable(subscriber => {
      const waiting = new Waiting(ms, by, scheduler, subscriber)
      subscriber.add(() => waiting.end())
      subscribeLinked(source, subscriber, {
        next: record => waiting.take(record),
        error: error => subscriber.error(error),
        complete: () => {
          waiting.flush()
          subscriber.complete()
        },
      })
    })
}

/** The newest record of one key, from the first one's arrival until it goes on. */
interface Entry<R> {
  readonly key: unknown
  newest: R
  timer: Subscription | undefined
  /** Its time came during a rebalance. */
  due: boolean
  held: boolean
}

class Waiting<R extends ConsumeRecord<unknown>> {
  /** By key, in the order in which they are due. */
  readonly #entries = new Map<unknown, Entry<R>>()
  readonly #rebalances = new RebalanceWatch(underWay => this.#rebalanced(underWay))

  constructor(
    readonly ms: number,
    readonly by: ((record: R) => unknown) | undefined,
    readonly scheduler: SchedulerLike,
    readonly subscriber: Subscriber<R>,
  ) {}

  take(record: R): void {
    let key: unknown
    try {
      key = this.#keyOf(record)
    } catch (reason) {
      record.fail(reason)
      return
    }
    if (key === undefined) {
      this.subscriber.next(record)
      return
    }
    const delivery = deliveryBehind(record)
    this.#rebalances.attend(delivery)
    const entry = this.#entries.get(key)
    if (entry === undefined) this.#enter(key, record)
    else if (!isOpen(entry.newest) || isNewer(record, entry.newest)) this.#supersede(entry, record)
    else record.ack()
  }

  #enter(key: unknown, record: R): void {
    const entry: Entry<R> = { key, newest: record, timer: undefined, due: false, held: false }
    this.#entries.set(key, entry)
    this.#holdIfRebalancing(entry)
    entry.timer = this.scheduler.schedule(() => this.#isDue(entry), this.ms)
  }

  #supersede(entry: Entry<R>, record: R): void {
    const before = entry.newest
    // First of all: an ack may have consequences that come back here.
    entry.newest = record
    entry.held = false
    this.#holdIfRebalancing(entry)
    if (isOpen(before)) before.ack()
  }

  #isDue(entry: Entry<R>): void {
    if (entry.held) entry.due = true
    else this.#emit(entry)
  }

  #emit(entry: Entry<R>): void {
    entry.timer?.unsubscribe()
    this.#entries.delete(entry.key)
    // Settled by others meanwhile, or revoked: whoever has the partition now is given it again.
    if (isOpen(entry.newest)) this.subscriber.next(entry.newest)
  }

  /** No rebalance waits for what waits here: with a long `ms` each would take its whole time-out. */
  #rebalanced(underWay: boolean): void {
    for (const entry of [...this.#entries.values()]) {
      if (underWay) this.#holdIfRebalancing(entry)
      else if (entry.held && !this.#concerns(entry)) this.#release(entry)
    }
  }

  #holdIfRebalancing(entry: Entry<R>): void {
    if (entry.held || !this.#rebalances.underWay || !this.#concerns(entry)) return
    entry.held = true
    deliveryBehind(entry.newest)?.hold('resting')
  }

  #release(entry: Entry<R>): void {
    entry.held = false
    deliveryBehind(entry.newest)?.release()
    if (entry.due) this.#emit(entry)
  }

  #concerns({ newest }: Entry<R>): boolean {
    const delivery = deliveryBehind(newest)
    return delivery !== undefined && this.#rebalances.concerns(delivery)
  }

  flush(): void {
    for (const entry of [...this.#entries.values()]) {
      if (entry.held) deliveryBehind(entry.newest)?.release()
      this.#emit(entry)
    }
  }

  end(): void {
    this.#rebalances.end()
    for (const { timer } of this.#entries.values()) timer?.unsubscribe()
    this.#entries.clear()
  }

  /** Undefined: the record passes. */
  #keyOf(record: R): unknown {
    if (this.by === undefined) {
      const { key } = record
      // Keys of several topics that were merged are not each other's.
      return key === null ? undefined : `${record.topic}/${key.toString('latin1')}`
    }
    const key = this.by(record) ?? undefined
    return Buffer.isBuffer(key) ? `bytes/${key.toString('latin1')}` : key
  }
}

/** The same place again is a later delivery of the same record, and the one to settle. */
function isNewer(record: ConsumeRecord<unknown>, other: ConsumeRecord<unknown>): boolean {
  if (record.topic === other.topic && record.partition === other.partition) return record.offset >= other.offset
  return record.timestamp >= other.timestamp
}
