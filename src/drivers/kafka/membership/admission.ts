import type { Clock } from '../../../clock.js'
import { ConnectionError, type RxMikaError } from '../../../errors.js'
import { RepeatLimit } from '../repeat-limit.js'
import { UnansweredError } from '../transport/failures.js'

/** A group that refuses a member is reported after this time, ms: `errors` must have it within 5 s. */
const reportRefusalAfter = 2_000
/** How long a joining member may wait for an answer, beyond a rebalance, before that is reported, ms. */
const maxSilence = 15_000
const reportEvery = 60_000

/** Reports a group that refuses a member, with the reason, and one that does not answer. */
export class Admission {
  readonly #limit = new RepeatLimit(reportEvery)
  #refusedSince: number | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(
    readonly clock: Clock,
    readonly group: string,
    /** The longest time of a rebalance, ms. */
    readonly rebalanceTimeout: number,
    readonly report: (error: RxMikaError) => void,
  ) {}

  /** The member sends a request to join. */
  asked(): void {
    if (this.#timer !== undefined) return
    const wait = this.rebalanceTimeout + maxSilence
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      const message = `group '${this.group}' has given this member no assignment for ${wait} ms; it goes on waiting`
      if (this.#limit.allows('silence')) this.report(new ConnectionError(message))
      this.asked()
    }, wait)
  }

  refused(error: Error): void {
    // A broker that cannot be reached is reported with its address, by other means.
    if (error instanceof UnansweredError) return
    const now = this.clock.monotonic()
    this.#refusedSince ??= now
    if (now - this.#refusedSince < reportRefusalAfter || !this.#limit.allows(error.message)) return
    const message = `group '${this.group}' does not let this member in: ${error.message}; it is tried again`
    this.report(new ConnectionError(message, { cause: error }))
  }

  admitted(): void {
    this.#refusedSince = undefined
    this.end()
  }

  end(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
