import type { Clock } from '../../clock.js'
import { defaultBroker } from '../../default-broker.js'
import { ConnectionError } from '../../errors.js'
import { RepeatLimit } from './repeat-limit.js'
import { type Address, shownAddress } from './transport/address.js'
import { kindOf, reasonOf } from './transport/failures.js'

/** A broker that does not answer is reported after this time, ms. A broken connection is replaced much sooner. */
const reportAfter = 3_000
/** The interval of further checks after that, ms. */
const checkEvery = 250
/** A broker that failed and was not tried again for this time is not in use any more, ms. */
const stillTried = 2_500
/** The shortest time between two reports of the same reason for the same broker, ms. */
const reportEvery = 60_000

/** A broker that has not answered since the last attempt. */
interface Trying {
  /** The number of connections being opened. */
  connecting: number
  failedAt: number
  error: Error | undefined
  timer: NodeJS.Timeout | undefined
}

/**
 * The brokers that cannot be reached by any connection of one driver. A broker that was tried for some seconds without an
 * answer is reported with its address and the reason, within 5 s, and then every minute.
 */
export class Reachability {
  readonly #trying = new Map<string, Trying>()
  readonly #limit = new RepeatLimit(reportEvery)
  readonly #failures = new Map<string, ConnectionError>()

  constructor(
    readonly clock: Clock,
    readonly report: (error: ConnectionError) => void,
    /** Whether the address is in the option `brokers`. Otherwise a broker advertised it. */
    readonly isBootstrap: (address: Address) => boolean,
  ) {}

  /**
   * The latest reason why a broker cannot be reached; undefined while every broker that was tried answers. It is set from the
   * first failed attempt on, before it is reported. Used as the `cause` of time-outs.
   */
  get lastFailure(): ConnectionError | undefined {
    return [...this.#failures.values()].at(-1)
  }

  /** A connection is being opened. */
  begins(address: Address): void {
    this.#entry(address).connecting++
  }

  /** The attempt ended without a failure: the connection is open, or it is not needed any more. */
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

  /** The connection is open, but the broker has not answered for some seconds. Reported at once. */
  silent(address: Address, error: Error): void {
    this.fails(address, error, false)
    this.#report(address, error)
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
      this.#checkIn(reportAfter, address, trying)
    }
    return trying
  }

  #checkIn(ms: number, address: Address, trying: Trying): void {
    trying.timer = setTimeout(() => this.#check(address, trying), ms)
  }

  #check(address: Address, trying: Trying): void {
    const name = shownAddress(address)
    const { error, connecting, failedAt } = trying
    if (connecting === 0 && this.clock.monotonic() - failedAt > stillTried) {
      this.#trying.delete(name)
      this.#failures.delete(name)
      return
    }
    this.#report(address, error)
    this.#checkIn(checkEvery, address, trying)
  }

  #report(address: Address, error: Error | undefined): void {
    const name = shownAddress(address)
    const failure = this.#failures.get(name) ?? this.#unreachable(address, error)
    this.#failures.set(name, failure)
    if (this.#limit.allows(`${name} ${kindOf(error)}`)) this.report(failure)
  }

  #unreachable(address: Address, error: Error | undefined): ConnectionError {
    const name = shownAddress(address)
    const configured = `of the option 'brokers' or KAFKA_BROKERS${name === defaultBroker ? ', and their default' : ''}`
    const origin = this.isBootstrap(address) ? configured : 'as the brokers advertise it'
    const why = error === undefined ? 'it does not answer' : reasonOf(error)
    return new ConnectionError(`broker ${name} (${origin}) cannot be reached: ${why}; the client keeps trying`, {
      cause: error,
    })
  }
}
