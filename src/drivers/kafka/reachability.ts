import type { Clock } from '../../clock.js'
import { ConnectionError } from '../../errors.js'
import { RepeatLimit } from './repeat-limit.js'
import { type Address, shownAddress } from './transport/address.js'
import { kindOf, reasonOf } from './transport/failures.js'

/** How long a broker is tried in vain until that is reported, ms. A connection that breaks is made anew much sooner. */
const patience = 3_000
/** How often it is looked at after that, ms. */
const lookAgain = 250
/** A broker that was tried in vain and not again for so long is not asked for anything any more, ms. */
const stillTried = 2_500
/** The same reason is reported for the same broker at most this often, ms. */
const reportEvery = 60_000

/** A broker that has not answered since it was last tried. */
interface Trying {
  /** Attempts to connect that are under way. */
  connecting: number
  failedAt: number
  error: Error | undefined
  timer: NodeJS.Timeout | undefined
}

/**
 * What one driver knows of brokers that cannot be reached, by any of its connections: one that has been tried for some
 * seconds without an answer is reported by its address and the reason, within 5 s, and every minute while that lasts.
 */
export class Reachability {
  readonly #trying = new Map<string, Trying>()
  readonly #limit = new RepeatLimit(reportEvery)
  readonly #failures = new Map<string, ConnectionError>()

  constructor(
    readonly clock: Clock,
    readonly report: (error: ConnectionError) => void,
    /** True if the address is one of the option `brokers`; false: a broker told of it. */
    readonly isBootstrap: (address: Address) => boolean,
  ) {}

  /**
   * The newest reason why a broker cannot be reached; `undefined` while every broker that was tried answers. Known from
   * the first failed attempt on, before it is reported: for the `cause` of what times out meanwhile.
   */
  get lastFailure(): ConnectionError | undefined {
    return [...this.#failures.values()].at(-1)
  }

  /** An attempt to connect begins. */
  begins(address: Address): void {
    this.#entry(address).connecting++
  }

  /** The attempt is over without a failure: the connection stands, or nobody wants it any more. */
  tried(address: Address): void {
    const trying = this.#trying.get(shownAddress(address))
    if (trying !== undefined && trying.connecting > 0) trying.connecting--
  }

  /** An attempt failed, or a request was not answered. */
  fails(address: Address, error: Error, wasConnecting: boolean): void {
    const name = shownAddress(address)
    const trying = this.#entry(address)
    if (wasConnecting && trying.connecting > 0) trying.connecting--
    trying.failedAt = this.clock.monotonic()
    trying.error = error
    this.#failures.delete(name)
    this.#failures.set(name, this.#unreachable(address, error))
  }

  /** It is connected, and has not answered for some seconds: reported at once. */
  silent(address: Address, error: Error): void {
    this.fails(address, error, false)
    this.#tell(address, error)
  }

  answers(address: Address): void {
    const name = shownAddress(address)
    const trying = this.#trying.get(name)
    if (trying === undefined) return
    clearTimeout(trying.timer)
    this.#trying.delete(name)
    this.#failures.delete(name)
  }

  end(): void {
    for (const { timer } of this.#trying.values()) clearTimeout(timer)
    this.#trying.clear()
    this.#failures.clear()
  }

  #entry(address: Address): Trying {
    const name = shownAddress(address)
    let trying = this.#trying.get(name)
    if (trying === undefined) {
      trying = { connecting: 0, failedAt: 0, error: undefined, timer: undefined }
      this.#trying.set(name, trying)
      this.#lookIn(patience, address, trying)
    }
    return trying
  }

  #lookIn(ms: number, address: Address, trying: Trying): void {
    trying.timer = setTimeout(() => this.#look(address, trying), ms)
  }

  #look(address: Address, trying: Trying): void {
    const name = shownAddress(address)
    const { error, connecting, failedAt } = trying
    if (connecting === 0 && this.clock.monotonic() - failedAt > stillTried) {
      this.#trying.delete(name)
      this.#failures.delete(name)
      return
    }
    this.#tell(address, error)
    this.#lookIn(lookAgain, address, trying)
  }

  #tell(address: Address, error: Error | undefined): void {
    const name = shownAddress(address)
    const failure = this.#failures.get(name) ?? this.#unreachable(address, error)
    this.#failures.set(name, failure)
    if (this.#limit.allows(`${name} ${kindOf(error)}`)) this.report(failure)
  }

  #unreachable(address: Address, error: Error | undefined): ConnectionError {
    const origin = this.isBootstrap(address) ? "of the option 'brokers'" : 'as the brokers advertise it'
    const why = error === undefined ? 'it does not answer' : reasonOf(error)
    return new ConnectionError(
      `broker ${shownAddress(address)} (${origin}) cannot be reached: ${why}; it is tried again`,
      {
        cause: error,
      },
    )
  }
}
