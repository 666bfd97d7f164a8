import { failedByLeak } from '../delivery.js'
import { LeakedRecordError } from '../errors.js'
import { DeliveredRecord } from '../record.js'
import { recordPlace } from '../record-place.js'
import type { Assignment } from './assignment.js'
import type { LeakAction } from './client.js'
import type { Reports } from './reports.js'

/** How long a record is in a pipeline before it is looked after, ms; and how often that is done. */
const age = 1_000

/**
 * How many of an assignment's records are looked after at a time, the oldest first. They are what holds its position back;
 * those behind them have their turn. A slow pipeline has tens of thousands, and each costs half a kilobyte here.
 */
const most = 1_000

/** How often `'redeliver'` delivers a record again that leaks each time. */
const maxRedeliveries = 3

/** The leaks of one record under one assignment. */
interface Leaks {
  /** The delivery that leaked last. */
  record: DeliveredRecord
  times: number
}

/**
 * Finds records that a pipeline dropped unsettled (`filter`, `switchMap`, `throttleTime`…): nobody can settle them any
 * more, and their partition's position would stand still without an explanation. Does with them what `leaks` says.
 *
 * A record that has been in its pipeline for a second is held by its assignment only weakly, beside a stand-in that has
 * what a redelivery needs, in bytes of its own: so it does not keep its fetch alive either. When the record is
 * garbage-collected and its stand-in still unsettled, it leaked. That takes a collection, so it is told some time later.
 *
 * The stand-in fails or is delivered again in the record's place. A record that can still be settled by anybody was not
 * collected, so nothing is settled twice. The exception is a fork, of whose parts one may leak while another is worked on:
 * the part that leaked fails, and the record when the others are done; it is delivered again when they are, and not sooner.
 */
export class LeakWatch {
  readonly #timer: NodeJS.Timeout
  /** By slot; those of completed records are dropped at the next look. */
  readonly #leaks = new WeakMap<Assignment, Map<number, Leaks>>()

  /** In real time whatever the scheduler is: garbage is collected in no other. */
  constructor(
    readonly assignments: () => Iterable<Assignment>,
    readonly action: LeakAction,
    readonly reports: Reports,
  ) {
    this.#timer = setInterval(() => this.#look(), age)
    this.#timer.unref()
  }

  end(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    for (const assignment of this.assignments()) {
      const leaks = this.#leaks.get(assignment)
      if (leaks !== undefined) forgetCompleted(leaks, assignment.window.head)
      const young = assignment.watch.firstSlotSince(assignment.host.clock.monotonic() - age)
      let watched = 0
      for (const record of assignment.window) {
        if (record.slot >= young || watched === most) break
        if (record.phase !== 'unsettled' || record.handed === 'leaked') continue
        if (record.handed === undefined) assignment.window.replace(standIn(record))
        else if (record.handed.deref() === undefined) {
          this.#leaked(assignment, record)
          continue
        }
        // What a fork has handed out in its place is looked after by `deref`; its own bytes may be those of a whole fetch.
        else letBatchGo(record)
        watched++
      }
    }
  }

  #leaked(assignment: Assignment, record: DeliveredRecord): void {
    const times = this.#tell(assignment, record)
    // A listener may have ended the assignment.
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

  /** Reports each delivery once. Returns how often the record has leaked. */
  #tell(assignment: Assignment, record: DeliveredRecord): number {
    const leaks = this.#leaks.get(assignment) ?? new Map<number, Leaks>()
    this.#leaks.set(assignment, leaks)
    const before = leaks.get(record.slot)
    if (before?.record === record) return before.times
    const times = (before?.times ?? 0) + 1
    // With `report` the record itself knows that it was told of.
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
  letBatchGo(record)
  const own = new DeliveredRecord(owner, record.batch, record.index, slot, origin, redeliveries)
  own.stream = record.stream
  own.phase = record.phase
  own.handed = new WeakRef(record)
  return own
}

function letBatchGo(record: DeliveredRecord): void {
  const { batch, index } = record
  if (batch.count === 1) return
  record.batch = batch.copy(index)
  record.index = 0
}
