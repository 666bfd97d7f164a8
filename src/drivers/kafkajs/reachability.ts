import { systemClock } from '../../clock.js'
import { ConnectionError, type RxMikaError } from '../../errors.js'
import { connectionReason } from './connection-reason.js'
import { RepeatLimit } from './repeat-limit.js'

/** How long a broker is tried in vain until that is reported, ms. A connection that breaks is made anew much sooner. */
const patience = 3_000
/** How often it is looked at after that, ms. */
const lookAgain = 250
/** A broker that was tried in vain and not again for so long is asked by nobody any more, ms. */
const stillTried = 2_500
/** The same reason is reported for the same broker at most this often, ms. */
const reportEvery = 60_000

/** A broker that has not answered since it was last tried. */
interface Trying {
  /** When that began, by the clock that cannot be set, ms. */
  readonly since: number
  /** Attempts to connect that are under way. */
  connecting: number
  failedAt: number
  error: unknown
  timer: NodeJS.Timeout | undefined
}

/** Where a connection leads. */
export interface BrokerAddress {
  readonly host: string
  readonly port: number
  /** True if a broker told us of it; false: it is one of the client's option `brokers`. */
  readonly advertised: boolean
}

/**
 * What one driver knows of brokers that cannot be reached, by any of its connections.
 *
 * kafkajs tries again for ever, and reports nothing while any broker answers. Here a broker that has been tried for some
 * seconds without an answer is reported by its address and the reason, within 5 s, and every minute while that lasts.
 * A broker that nobody asks for any more is not reported.
 */
export class Reachability {
  readonly #trying = new Map<string, Trying>()
  readonly #limit = new RepeatLimit(reportEvery)
  readonly #failures = new Map<string, ConnectionError>()

  /** @param report Tells the client, beside any call; see `Driver.trouble`. */
  constructor(readonly report: (error: RxMikaError) => void) {}

  /**
   * The newest reason why a broker cannot be reached; undefined while every broker that was tried answers. It is known
   * from the first failed attempt on, before it is reported: for the `cause` of what times out meanwhile.
   */
  get lastFailure(): ConnectionError | undefined {
    return [...this.#failures.values()].at(-1)
  }

  /** An attempt to connect, or the first request on a connection, is under way. */
  begins(broker: BrokerAddress): void {
    this.#entry(broker, systemClock.monotonic()).connecting++
  }

  /** It succeeded as far as that goes: the connection stands. */
  connected(broker: BrokerAddress): void {
    const trying = this.#trying.get(nameOf(broker))
    if (trying !== undefined && trying.connecting > 0) trying.connecting--
  }

  /** An attempt failed, or a request was not answered; `since` is when that was asked for. */
  fails(broker: BrokerAddress, error: unknown, since = systemClock.monotonic()): void {
    const name = nameOf(broker)
    const trying = this.#entry(broker, since)
    trying.failedAt = systemClock.monotonic()
    trying.error = error
    this.#failures.delete(name)
    this.#failures.set(name, unreachable(broker, error))
  }

  answers(broker: BrokerAddress): void {
    const name = nameOf(broker)
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

  #entry(broker: BrokerAddress, since: number): Trying {
    const name = nameOf(broker)
    let trying = this.#trying.get(name)
    if (trying === undefined) {
      trying = { since, connecting: 0, failedAt: 0, error: undefined, timer: undefined }
      this.#trying.set(name, trying)
      this.#lookIn(Math.max(0, since + patience - systemClock.monotonic()), broker, trying)
    }
    return trying
  }

  #lookIn(ms: number, broker: BrokerAddress, trying: Trying): void {
    trying.timer = setTimeout(() => this.#look(broker, trying), ms)
  }

  #look(broker: BrokerAddress, trying: Trying): void {
    const name = nameOf(broker)
    const { error, connecting, failedAt } = trying
    if (connecting === 0 && systemClock.monotonic() - failedAt > stillTried) {
      this.#trying.delete(name)
      this.#failures.delete(name)
      return
    }
    // Between two attempts the reason is that of the one before; without any, the broker does not even refuse.
    if (connecting > 0 || error !== undefined) {
      const failure = this.#failures.get(name) ?? unreachable(broker, error)
      this.#failures.set(name, failure)
      if (this.#limit.allows(`${name} ${connectionReason(error)}`)) this.report(failure)
    }
    this.#lookIn(lookAgain, broker, trying)
  }
}

function nameOf({ host, port }: BrokerAddress): string {
  return `${host}:${port}`
}

function unreachable(broker: BrokerAddress, error: unknown): ConnectionError {
  const origin = broker.advertised ? 'as the brokers advertise it' : "of the option 'brokers'"
  return new ConnectionError(
    `broker ${nameOf(broker)} (${origin}) cannot be reached: ${connectionReason(error)}; it is tried again`,
    { cause: error },
  )
}
