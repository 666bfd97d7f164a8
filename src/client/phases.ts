import type { DeliveryPhase } from '../delivery.js'
import type { DeliveredRecord } from '../record.js'

/** Which phase may follow which. Held to by the tests of generated histories; checked at run time it would cost a look-up per record. */
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

/** Who waits for the records of one assignment, by their phases. A record in any other phase is waited for by nobody. */
export class Phases {
  /** In a pipeline or on their route: a rebalance and a graceful close wait for them. */
  inFlight = 0
  /** Failed, and taken by no step or held by one; or behind such a record: nobody waits for them. */
  stuck = 0
  /** Of the stuck those that are held outside of their pipeline. */
  held = 0
  /** Retries whose time has not come: nobody waits for them. */
  notDue = 0
  /** Their work begins when a rebalance is over: a graceful close waits for them, and that rebalance does not. */
  resting = 0
  /** Delivered to a subscription that ended, and waiting for another: nobody waits for them. */
  left = 0

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

/** Delivered and not completed, other than a retry that is not due. */
export function isLeftBehind(phase: DeliveryPhase): boolean {
  return phase !== 'done' && phase !== 'waiting' && phase !== 'fenced' && phase !== 'not-due'
}
