import type { Clock } from '../../../clock.js'
import { longestSince, type Moment, momentOf } from './moment.js'

/**
 * How long a coordinator may be silent about a heartbeat until that is told, ms: a broker that hangs is reported within
 * 5 s, and may have begun to just after the heartbeat before.
 */
export function heartbeatQuiet(interval: number): number {
  return Math.max(1_000, Math.min(4_500 - interval, 3_000))
}

/**
 * When the group last answered this member.
 *
 * The coordinator counts a session from the moment it gets a heartbeat, so ours counts from when that was sent: an
 * answer may have lain in the socket of a process that stood still.
 */
export class Contact {
  #at: Moment

  constructor(
    readonly clock: Clock,
    /** ms. */
    readonly sessionTimeout: number,
    /** The session was in doubt, and is not any more. */
    readonly onConfirmed: () => void,
  ) {
    this.#at = momentOf(clock)
  }

  /** The session may be over. */
  get doubtful(): boolean {
    return longestSince(this.#at, this.clock) > this.sessionTimeout
  }

  /** For what is sent now: `begins` and `answered` take it back. */
  now(): Moment {
    return momentOf(this.clock)
  }

  /** A session begins, by what was sent at `sent`. */
  begins(sent: Moment): void {
    this.#at = sent
  }

  /** The group answered what was sent at `sent`. */
  answered(sent: Moment): void {
    const { doubtful } = this
    // Answers of two connections may come in another order than what they answer was sent.
    if (sent.monotonic >= this.#at.monotonic) this.#at = sent
    if (doubtful && !this.doubtful) this.onConfirmed()
  }
}
