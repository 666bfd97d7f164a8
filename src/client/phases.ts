import type { DeliveryPhase } from '../delivery.js'
import type { DeliveredRecord } from '../record.js'

/** The allowed transitions. Checked by the tests of generated histories; a check at run time would cost a look-up per record. */
export const nextPhases: { readonly [phase in DeliveryPhase]: readonly DeliveryPhase[] } = {
  waiting: ['unsettled', 'fenced', 'not-due', 'routing', 'done'],
  fenced: ['waiting', 'done'],
  unsettled: ['behind', 'resting', 'left', 'routing', 'done'],
  left: ['unsettled', 'not-due', 'left', 'routing', 'done'],
  behind: ['unsettled', 'left', 'routing', 'done'],
  resting: ['unsettled', 'left', 'routing', 'done'],
  routing: ['held', 'unroutable', 'waiting', 'done'],
  held: ['routing', 'unroutable', 'done'],
  unroutable: ['routing', 'done'],
  'not-due': ['waiting', 'done'],
  done: [],
}

/** Counts the records of one assignment by whether a rebalance and a close wait for their phases. Other phases are not counted. */
export class Phases {
  /** In a pipeline or on a failure route: a rebalance and a graceful close wait for them. */
  inFlight = 0
  /** Failed and held, by a step or because no step took them, or waiting behind such a record: nothing waits for them. */
  stuck = 0
  /** The part of `stuck` that is held outside the pipeline. */
  held = 0
  /** Retries whose time has not come: nothing waits for them. */
  notDue = 0
  /** Waiting in a pipeline for the end of a rebalance: a graceful close waits for them, and that rebalance does not. */
  resting = 0
  /** Left by a subscription that ended, waiting for the next one: nothing waits for them. */
  left = 0

  /** Moves a record to its pipeline. A fast path of `move` for the phase that nearly all records come from. */
  give(record: DeliveredRecord): void {
    if (record.phase !== 'waiting') return this.move(record, 'unsettled')
    record.phase = 'unsettled'
    this.inFlight++
  }

  /** Moves a record to `done`. A fast path of `move` for the phase that nearly all records come from. */
  end(record: DeliveredRecord): void {
    if (record.phase !== 'unsettled') return this.move(record, 'done')
    record.phase = 'done'
    this.inFlight--
  }

  move(record: DeliveredRecord, phase: DeliveryPhase): void {
    this.#count(record.phase, -1)
    record.phase = phase
    this.#count(phase, 1)
  }

  #count(phase: DeliveryPhase, change: 1 | -1): void {
    switch (phase) {
      case 'unsettled':
      case 'routing':
        this.inFlight += change
        break
      case 'held':
      case 'unroutable':
        this.held += change
        this.stuck += change
        break
      case 'behind':
        this.stuck += change
        break
      case 'not-due':
        this.notDue += change
        break
      case 'resting':
        this.resting += change
        break
      case 'left':
        this.left += change
    }
  }

  clear(): void {
    this.inFlight = 0
    this.stuck = 0
    this.held = 0
    this.notDue = 0
    this.resting = 0
    this.left = 0
  }
}

/** Delivered and not completed. Retries that are not due are excluded. */
export function isLeftBehind(phase: DeliveryPhase): boolean {
  return phase !== 'done' && phase !== 'waiting' && phase !== 'fenced' && phase !== 'not-due'
}
