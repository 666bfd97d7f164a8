import type { Clock } from '../../../clock.js'

/**
 * When the group last answered this member.
 *
 * The coordinator counts a session from the moment it gets a heartbeat, so ours counts from when that was sent: an
 * answer may have lain in the socket of a process that stood still.
 */
export class Contact {
  #at: number

  constructor(
    readonly clock: Clock,
    /** ms. */
    public sessionTimeout: number,
    /** The session was in doubt, and is not any more. */
    readonly onConfirmed: () => void,
  ) {
    this.#at = clock.monotonic()
  }

  /** The session may be over. */
  get doubtful(): boolean {
    return this.clock.monotonic() - this.#at > this.sessionTimeout
  }

  /** A session begins, by what was sent at `sent`. */
  begins(sent: number): void {
    this.#at = sent
  }

  /** The group answered what was sent at `sent`. */
  answered(sent: number): void {
    const { doubtful } = this
    this.#at = Math.max(this.#at, sent)
    if (doubtful && !this.doubtful) this.onConfirmed()
  }
}
