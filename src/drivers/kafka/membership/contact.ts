import type { Clock } from '../../../clock.js'
import { longestSince, type Moment, momentOf } from './moment.js'

/**
 * How long a coordinator may be silent about a heartbeat before that is reported, ms. A broker that hangs is reported within
 * 5 s, even if it began to hang just after the previous heartbeat.
 */
export function heartbeatQuiet(interval: number): number {
  return Math.max(1_000, Math.min(4_500 - interval, 3_000))
}

/**
 * When the group last answered this member.
 *
 * The coordinator counts a session from the moment it receives a heartbeat. So here it counts from when the heartbeat was
 * sent: its answer may have been in the socket of a suspended process for some time.
 */
export class Contact {
  #at: Moment
  /** Someone was told of a doubt, and may wait for the confirmation, also if a clock has been set back meanwhile. */
  #toldOfDoubt = false

  constructor(
    readonly clock: Clock,
    /** ms. */
    readonly sessionTimeout: number,
    /** Called when the session was in doubt and is confirmed. */
    readonly onConfirmed: () => void,
  ) {
    this.#at = momentOf(clock)
  }

  /** Whether the session may be over. */
  get doubtful(): boolean {
    const doubtful = longestSince(this.#at, this.clock) > this.sessionTimeout
    if (doubtful) this.#toldOfDoubt = true
    return doubtful
  }

  /** The moment of a request that is being sent, for `begins` and `answered`. */
  now(): Moment {
    return momentOf(this.clock)
  }

  /** A session begins with a request that was sent at `sent`. It has nothing to confirm: an assignment follows. */
  begins(sent: Moment): void {
    this.#at = sent
    this.#toldOfDoubt = false
  }

  /** The group has answered a request that was sent at `sent`. */
  answered(sent: Moment): void {
    // Answers on two connections may arrive in another order than their requests were sent.
    if (sent.monotonic >= this.#at.monotonic) this.#at = sent
    if (!this.#toldOfDoubt || this.doubtful) return
    this.#toldOfDoubt = false
    this.onConfirmed()
  }
}
