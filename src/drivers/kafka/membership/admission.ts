import type { Clock } from '../../../clock.js'
import { ConnectionError, type RxMikaError } from '../../../errors.js'
import { RepeatLimit } from '../repeat-limit.js'
import { UnansweredError } from '../transport/failures.js'

/** How long a group may refuse a member until that is reported, ms; `errors` have it within 5 s. */
const patience = 2_000
/** How long a group may give no answer to a member that joins, ms; beyond a rebalance that is held. */
const silence = 15_000
const reportEvery = 60_000

/** Reports a group that does not let a member in, by the reason, and one that leaves it waiting. */
export class Admission {
  readonly #limit = new RepeatLimit(reportEvery)
  #refusedSince: number | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(
    readonly clock: Clock,
    readonly group: string,
    /** How long a rebalance may take, ms. */
    readonly rebalanceTimeout: number,
    readonly report: (error: RxMikaError) => void,
  ) {}

  /** The member asks to be let in. */
  asked(): void {
    if (this.#timer !== undefined) return
    const wait = this.rebalanceTimeout + silence
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      const message = `group '${this.group}' has given this member no assignment for ${wait} ms; it goes on waiting`
      if (this.#limit.allows('silence')) this.report(new ConnectionError(message))
      this.asked()
    }, wait)
  }

  refused(error: Error): void {
    // A broker that cannot be reached is reported by its address.
    if (error instanceof UnansweredError) return
    const now = this.clock.monotonic()
    this.#refusedSince ??= now
    if (now - this.#refusedSince < patience || !this.#limit.allows(error.message)) return
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
