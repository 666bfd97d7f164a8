import {
  asyncScheduler,
  type MonoTypeOperatorFunction,
  Observable,
  type SchedulerLike,
  type Subscriber,
  type Subscription,
} from 'rxjs'
import { deliveryBehind } from '../delivery.js'
import { checkDuration, checkFunction, checkOptions, checkScheduler, type KnownOptions } from '../options.js'
import type { ConsumeRecord } from '../record.js'
import { isOpen } from './is-open.js'
import { isRecord, notRecord } from './is-record.js'
import { RebalanceWatch } from './rebalance-watch.js'
import { subscribeLinked } from './subscribe-linked.js'
import { synchronous } from './synchronous.js'

/** The options of `latest`. */
export interface LatestOptions<R = ConsumeRecord> {
  /**
   * Returns the value by which records supersede each other; default: topic and key. Buffers are compared by their bytes,
   * other values as keys of a `Map`. For null and undefined the record is emitted at once. If it throws, or returns
   * a promise or an Observable, the record fails.
   */
  readonly by?: ((record: R) => unknown) | undefined
  /** Times `ms`; default `asyncScheduler`. */
  readonly scheduler?: SchedulerLike | undefined
}

const known: KnownOptions<LatestOptions> = { by: true, scheduler: true }

/**
 * Emits only the newest record of each key, at most once per `ms`, and acks the records that it supersedes.
 *
 * The first record of a key starts a timer of `ms`; when it ends, the newest record that has arrived is emitted. So a key
 * that is updated all the time is still emitted, while `debounceTime` would starve it. RxJS's `debounceTime`, `throttleTime`
 * and `auditTime` also drop records unsettled, which stops the commits of their partitions.
 *
 * ```
 * source              -a-A-b-----Á--|       a, A and Á have one key, b has another
 * latest(4)           -----A---b----(Á|)    a is acked when A comes
 * ```
 *
 * - The newest record is the one with the highest offset within a partition, and with the latest timestamp across
 *   partitions. So a retry of an older record does not supersede a newer one.
 * - Records without a key (null) are emitted at once.
 * - When the source completes, waiting records are emitted at once. When it errors, or on unsubscribing, they stay unsettled
 *   and are delivered again.
 * - A rebalance does not wait for waiting records. They are emitted after it, unless their partition was revoked.
 * @example
 * client.topic('stock-levels').pipe(latest(500), handle(record => refreshShelf(record), { order: 'key' })).subscribe()
 *
 * @param ms How long the first record of a key waits for newer ones, in ms.
 * @throws ConfigurationError if `ms` or an option is invalid.
 */
export function latest<R extends ConsumeRecord<unknown>>(
  ms: number,
  options: LatestOptions<R> = {},
): MonoTypeOperatorFunction<R> {
  checkDuration('latest: ms', ms)
  checkOptions('latest', options, known)
  if (options.by !== undefined) checkFunction('latest: by', options.by)
  const { by, scheduler = asyncScheduler } = options
  checkScheduler('latest: scheduler', scheduler)
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

/** The newest record of one key, from the arrival of the first one until it is emitted. */
interface Entry<R> {
  readonly key: unknown
  newest: R
  timer: Subscription | undefined
  /** True: its timer ended during a rebalance. */
  due: boolean
  held: boolean
}

class Waiting<R extends ConsumeRecord<unknown>> {
  /** By key, in the order in which the timers end. */
  readonly #entries = new Map<unknown, Entry<R>>()
  readonly #rebalances = new RebalanceWatch(underWay => this.#rebalanced(underWay))

  constructor(
    readonly ms: number,
    readonly by: ((record: R) => unknown) | undefined,
    readonly scheduler: SchedulerLike,
    readonly subscriber: Subscriber<R>,
  ) {}

  take(record: R): void {
    if (!isRecord(record)) return this.subscriber.error(notRecord('latest', record))
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
    // Replaced before the ack, which may have consequences that re-enter this operator.
    entry.newest = record
    entry.held = false
    this.#holdIfRebalancing(entry)
    // With `retry()` before this operator, a record that waits here is delivered again: it supersedes nothing.
    if (isOpen(before) && !isSameRecord(before, record)) before.ack()
    // The timer ended while an earlier record was held. This record is not held, because it is of another partition, or was
    // delivered again after the rebalance. Nothing else would emit it.
    if (entry.due && !entry.held && this.#entries.get(entry.key) === entry) this.#emit(entry)
  }

  #isDue(entry: Entry<R>): void {
    if (entry.held) entry.due = true
    else this.#emit(entry)
  }

  #emit(entry: Entry<R>): void {
    entry.timer?.unsubscribe()
    this.#entries.delete(entry.key)
    // Not if it was settled by other means, or revoked: then the new owner gets it.
    if (isOpen(entry.newest)) this.subscriber.next(entry.newest)
  }

  /** Holds waiting records during a rebalance, which would otherwise wait for them: with a long `ms`, for its whole time-out. */
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
    // Not once its partition was revoked: nothing would ever release the entry.
    return delivery !== undefined && isOpen(newest) && this.#rebalances.concerns(delivery)
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

  /** The key by which records supersede each other; undefined: the record is emitted at once. */
  #keyOf(record: R): unknown {
    if (this.by === undefined) {
      const { key } = record
      // By topic as well: the source may merge several topics, and their keys are unrelated.
      return key === null ? undefined : `${record.topic}/${key.toString('latin1')}`
    }
    const key = synchronous('latest: by must return a value', this.by(record)) ?? undefined
    return Buffer.isBuffer(key) ? `bytes/${key.toString('latin1')}` : key
  }
}

/** Whether both are the same delivery, or deliveries of one record. */
function isSameRecord(one: ConsumeRecord<unknown>, other: ConsumeRecord<unknown>): boolean {
  const [delivery, another] = [deliveryBehind(one), deliveryBehind(other)]
  if (delivery === undefined || another === undefined) return one === other
  return delivery.isSameRecord(another)
}

/** A record at the same place is a later delivery of the same record, and the one to settle. */
function isNewer(record: ConsumeRecord<unknown>, other: ConsumeRecord<unknown>): boolean {
  if (record.topic === other.topic && record.partition === other.partition) return record.offset >= other.offset
  return record.timestamp >= other.timestamp
}
