import { DeliveredRecord } from '../record.js'
import type { Assignment } from './assignment.js'

/** How long a record is in a pipeline before it is looked after, ms; and how often that is done. */
const age = 1_000

/**
 * How many of an assignment's records are looked after at a time, the oldest first. They are what holds its position back;
 * those behind them have their turn. A slow pipeline has tens of thousands, and each costs half a kilobyte here.
 */
const most = 1_000

/**
 * Finds records that a pipeline dropped unsettled (`filter`, `switchMap`, `throttleTime`…): nobody can settle them any
 * more, and their partition's position would stand still without an explanation.
 *
 * A record that has been in its pipeline for a second is held by its assignment only weakly, beside a stand-in that has
 * what a redelivery needs, in bytes of its own: so it does not keep its fetch alive either. When the record is
 * garbage-collected and its stand-in still unsettled, it leaked. That takes a collection, so it is told some time later.
 */
export class LeakWatch {
  readonly #timer: NodeJS.Timeout

  /** In real time whatever the scheduler is: garbage is collected in no other. */
  constructor(
    readonly assignments: () => Iterable<Assignment>,
    readonly leaked: (assignment: Assignment, record: DeliveredRecord) => void,
  ) {
    this.#timer = setInterval(() => this.#look(), age)
    this.#timer.unref()
  }

  end(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    for (const assignment of this.assignments()) {
      const young = assignment.firstSlotSince(assignment.host.clock.monotonic() - age)
      let watched = 0
      for (const record of assignment.window) {
        if (record.slot >= young || watched === most) break
        if (record.phase !== 'unsettled' || record.handed === 'leaked') continue
        if (record.handed === undefined) assignment.window.replace(standIn(record))
        else if (record.handed.deref() === undefined) {
          record.handed = 'leaked'
          this.leaked(assignment, record)
          continue
        }
        // What a fork has handed out in its place is looked after by `deref`; its own bytes may be those of a whole fetch.
        else letBatchGo(record)
        watched++
      }
    }
  }
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
