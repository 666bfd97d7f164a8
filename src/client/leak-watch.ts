import { failedByLeak } from '../delivery.js'
import { LeakedRecordError } from '../errors.js'
import { DeliveredRecord } from '../record.js'
import { recordPlace } from '../record-place.js'
import type { Assignment } from './assignment.js'
import type { LeakAction } from './client.js'
import type { Reports } from './reports.js'

/** A record is watched once it has been in a pipeline for this long, ms; also the interval of the checks. */
const checkEvery = 1_000
/**
 * How many records of an assignment are watched at a time: the oldest, which hold its position back. Later ones follow. A
 * slow pipeline may hold tens of thousands, and each watched record costs half a kilobyte.
 */
const maxWatched = 1_000
/** How many records are copied out of their batches in one turn of the event loop: each takes some 10 µs, and handlers wait meanwhile. */
const maxInTurn = 200
/** How often `'redeliver'` redelivers a record that leaks every time. */
const maxRedeliveries = 3

/** The leaks of one record under one assignment. */
interface Leaks {
  /** The latest delivery that leaked. */
  record: DeliveredRecord
  times: number
}

/**
 * Finds records that a pipeline dropped unsettled (`filter`, `switchMap`, `throttleTime`…) and applies `ClientOptions.leaks`.
 * Such a record can never be settled, so its partition's position would stop without an explanation.
 *
 * After a second in a pipeline, the assignment replaces the record by a stand-in, which has its own copy of the bytes, and
 * holds the record itself only weakly. So the record does not keep its fetch response in memory either. If the record is
 * garbage-collected while the stand-in is unsettled, it leaked. This is found only at a garbage collection.
 *
 * The stand-in then fails or is redelivered in place of the record. A record that can still be settled is not collected, so
 * nothing is settled twice. The exception is a fork: one of its parts may leak while another is being handled. Then the
 * leaked part fails, and the record fails or is redelivered only once the other parts are done.
 */
export class LeakWatch {
  readonly #timer: NodeJS.Timeout
  /** The continuation of a check that has reached `maxInTurn`. */
  #rest: NodeJS.Immediate | undefined
  /** By slot. Entries of completed records are removed at the next check. */
  readonly #leaks = new WeakMap<Assignment, Map<number, Leaks>>()

  /** Uses real time, whatever the scheduler is, because garbage collection does. */
  constructor(
    readonly assignments: () => Iterable<Assignment>,
    readonly action: LeakAction,
    readonly reports: Reports,
  ) {
    this.#timer = setInterval(() => this.#check(), checkEvery)
    this.#timer.unref()
  }

  end(): void {
    clearInterval(this.#timer)
    clearImmediate(this.#rest)
  }

  #check(): void {
    let left = maxInTurn
    clearImmediate(this.#rest)
    for (const assignment of this.assignments()) {
      const leaks = this.#leaks.get(assignment)
      if (leaks !== undefined) forgetCompleted(leaks, assignment.window.head)
      const young = assignment.watch.firstSlotSince(assignment.host.clock.monotonic() - checkEvery)
      let watched = 0
      for (const record of assignment.window) {
        if (record.slot >= young || watched === maxWatched) break
        if (record.phase !== 'unsettled' || record.handed === 'leaked') continue
        if (record.handed !== undefined && record.handed.deref() === undefined) {
          this.#leaked(assignment, record)
          continue
        }
        if (record.handed === undefined || record.batch.count > 1) {
          if (left-- === 0) {
            this.#rest = setImmediate(() => this.#check())
            return
          }
          if (record.handed === undefined) assignment.window.replace(standIn(record))
          // A fork's parts are watched by `deref`. The record only gives up its batch, which may be a whole fetch response.
          else releaseBatch(record)
        }
        watched++
      }
    }
  }

  #leaked(assignment: Assignment, record: DeliveredRecord): void {
    const times = this.#reportOnce(assignment, record)
    // A subscriber of `events` may have ended the assignment.
    if (record.phase !== 'unsettled' || assignment.ended) return
    if (this.action === 'report') {
      record.handed = 'leaked'
      return
    }
    const holder = record.handed === 'leaked' ? undefined : record.handed
    if (this.action === 'redeliver' && times <= maxRedeliveries) {
      if (holder?.isBusy !== true) assignment.redeliverLeaked(record)
      return
    }
    const { topic, partition, offset } = record.source
    const error = new LeakedRecordError(topic, partition, offset)
    if (holder?.failLost === undefined) record.fail(error, failedByLeak)
    else holder.failLost(error, failedByLeak)
  }

  /** Reports each leaked delivery once. Returns how often the record has leaked. */
  #reportOnce(assignment: Assignment, record: DeliveredRecord): number {
    const leaks = this.#leaks.get(assignment) ?? new Map<number, Leaks>()
    this.#leaks.set(assignment, leaks)
    const before = leaks.get(record.slot)
    if (before?.record === record) return before.times
    const times = (before?.times ?? 0) + 1
    // With `report`, `handed` is set to 'leaked' instead.
    if (this.action !== 'report') leaks.set(record.slot, { record, times })
    assignment.countsOf(record).leaked++
    this.reports.event({ type: 'leaked', ...recordPlace(record) })
    return times
  }
}

function forgetCompleted(leaks: Map<number, Leaks>, head: number): void {
  for (const slot of leaks.keys()) if (slot < head) leaks.delete(slot)
}

function standIn(record: DeliveredRecord): DeliveredRecord {
  const { owner, slot, origin, redeliveries } = record
  releaseBatch(record)
  const own = new DeliveredRecord(owner, record.batch, record.index, slot, origin, redeliveries)
  own.stream = record.stream
  own.phase = record.phase
  own.handed = new WeakRef(record)
  return own
}

/** Replaces the record's batch by a copy of the record alone. */
function releaseBatch(record: DeliveredRecord): void {
  const { batch, index } = record
  if (batch.count === 1) return
  record.batch = batch.copy(index)
  record.index = 0
}
