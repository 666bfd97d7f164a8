import type { Logger } from 'pino'
import type { Clock } from '../../../clock.js'
import type { AnyMessage, ResponseOf } from '../../../protocol/schema/message.js'
import type { SaslOptions } from '../../../sasl.js'
import { Backoff } from '../backoff.js'
import { type Address, shownAddress } from './address.js'
import { Connection, defaultQuiet, type RequestFor } from './connection.js'
import { UnansweredError } from './failures.js'
import { logIn } from './login.js'
import { openSocket, type Ssl } from './socket.js'

export interface TransportOptions {
  readonly clientId: string
  readonly ssl?: Ssl
  readonly sasl?: SaslOptions
  readonly clock: Clock
  readonly logger: Logger
}

export interface TransportSendOptions {
  /** How long the broker may take to answer, ms. */
  readonly timeout: number
  readonly maxVersion?: number | undefined
  /** How long it may be silent before that is reported, ms. By default not limited for joins, which wait for other members. */
  readonly quiet?: number | undefined
}

export interface TransportListener {
  /** A broker answered. */
  answered(address: Address): void
  /** A connection is being opened. */
  connecting(address: Address): void
  /** The connection is open, and the broker has answered on it. */
  connected(address: Address): void
  /** The connection is open, but the broker has not answered for some seconds. */
  silent(address: Address, error: Error): void
  /** The connection being opened is not needed any more. */
  abandoned(address: Address): void
  /** A connection could not be opened, or ended unexpectedly. */
  failed(address: Address, error: Error, wasConnecting: boolean): void
}

/**
 * The purpose of a connection. A broker answers the requests of a connection one after the other, so requests that may take
 * long have their own connection: long polls, joins that wait for the group, writes that wait for replicas.
 */
export type Lane = 'control' | 'fetch' | 'group' | 'leave' | 'write' | ReadLane

/** Each bounded read has its own connections, which are closed when it ends. */
export type ReadLane = `read ${number}`

const connectTimeout = 5_000
const loginTimeout = 10_000
const firstPause = 50
const maxPause = 1_000
/** The login is repeated after this share of its session, which is the latest time in Java's client. */
const sessionShare = 0.85

/** Connections to brokers. They are opened when they are needed, and replaced when they break. */
export class Transport {
  readonly #connections = new Map<string, Connecting>()
  readonly #pauses = new Map<string, Backoff>()
  /** Brokers that have been silent for some seconds. */
  readonly #silent = new Set<string>()
  #closed = false

  constructor(
    readonly options: TransportOptions,
    readonly listener: TransportListener,
  ) {}

  /**
   * Sends a request to a broker. Rejects with an `UnansweredError` if there is no answer within `timeout` ms after it
   * was written, and with a `RefusedConnectionError` if the broker and this client do not fit.
   */
  send<M extends AnyMessage>(
    address: Address,
    lane: Lane,
    message: M,
    request: RequestFor<M>,
    { timeout, maxVersion, quiet = lane === 'group' ? Number.POSITIVE_INFINITY : defaultQuiet }: TransportSendOptions,
  ): Promise<ResponseOf<M>> {
    const open = this.#connections.get(`${lane} ${shownAddress(address)}`)?.connection
    // Synchronously if the connection is open.
    const sent =
      open?.ready === true
        ? open.send(message, request, timeout, maxVersion, quiet)
        : this.connection(address, lane).then(connection =>
            connection.send(message, request, timeout, maxVersion, quiet),
          )
    return sent.then(answer => {
      if (this.#silent.size > 0) this.#silent.delete(shownAddress(address))
      this.listener.answered(address)
      return answer
    })
  }

  /** The connection of a lane. It is opened if there is none. */
  connection(address: Address, lane: Lane): Promise<Connection> {
    if (this.#closed) return Promise.reject(new UnansweredError('the client is closed', address, { sent: false }))
    const key = `${lane} ${shownAddress(address)}`
    let connecting = this.#connections.get(key)
    if (connecting === undefined) {
      connecting = new Connecting()
      this.#connections.set(key, connecting)
      const entry = connecting
      entry.opened = this.#open(address, entry, () => {
        if (this.#connections.get(key) === entry) this.#connections.delete(key)
      })
    }
    return connecting.opened
  }

  async #open(address: Address, entry: Connecting, forget: () => void): Promise<Connection> {
    const { clientId, ssl, sasl, clock } = this.options
    const pause = this.#pause(address)
    let begun = false
    try {
      await pause.wait(entry.ended)
      if (entry.ended.aborted) throw new UnansweredError('the client is closed', address, { sent: false })
      begun = true
      this.listener.connecting(address)
      const open = await openSocket(address, ssl, connectTimeout, entry.ended)
      let wasReady = false
      const connection = new Connection(
        address,
        clientId,
        open,
        clock,
        error => {
          forget()
          const meant = this.#closed || entry.ended.aborted
          // A broker may close an idle connection at any time. That is no failure unless a request was pending.
          if (!meant && wasReady && !connection.wasIdle) this.listener.failed(address, error, false)
        },
        error => {
          this.#silent.add(shownAddress(address))
          this.listener.silent(address, error)
        },
      )
      entry.connection = connection
      if (entry.ended.aborted) connection.close('the client is closed')
      await connection.learnVersions(connectTimeout)
      if (sasl !== undefined)
        this.#keepLoggedIn(connection, sasl, await logIn(connection, sasl, loginTimeout, this.options.logger))
      connection.ready = true
      wasReady = true
      this.listener.connected(address)
      pause.reset()
      return connection
    } catch (error) {
      forget()
      entry.connection?.close((error as Error).message, error)
      if (entry.ended.aborted) {
        if (begun) this.listener.abandoned(address)
        throw error
      }
      pause.failed()
      if (!this.#closed) this.listener.failed(address, error as Error, true)
      throw error
    }
  }

  #keepLoggedIn(connection: Connection, sasl: SaslOptions, lifetime: number | undefined): void {
    if (lifetime === undefined) return
    connection.aloneAfter(lifetime * sessionShare, async () => {
      const next = await logIn(connection, sasl, loginTimeout, this.options.logger)
      this.#keepLoggedIn(connection, sasl, next)
    })
  }

  #pause(address: Address): Backoff {
    const key = shownAddress(address)
    let pause = this.#pauses.get(key)
    if (pause === undefined) {
      pause = new Backoff(firstPause, maxPause)
      this.#pauses.set(key, pause)
    }
    return pause
  }

  /** Removes the state of brokers that are not in the cluster any more. */
  keep(addresses: readonly Address[]): void {
    const known = new Set(addresses.map(shownAddress))
    for (const key of this.#pauses.keys()) if (!known.has(key)) this.#pauses.delete(key)
    for (const key of this.#silent) if (!known.has(key)) this.#silent.delete(key)
  }

  /** Whether a connection is open to a broker that is not silent. */
  get connected(): boolean {
    for (const { connection } of this.#connections.values()) {
      if (connection?.ready === true && !this.#silent.has(shownAddress(connection.address))) return true
    }
    return false
  }

  /** Whether the broker has told a lane's connection to wait before the next request. */
  isThrottled(address: Address, lane: Lane): boolean {
    return this.#connections.get(`${lane} ${shownAddress(address)}`)?.connection?.isThrottled === true
  }

  /** Ends the lane's connections to all brokers, with their pending requests. This is not reported as a failure. */
  drop(lane: Lane, why: string): void {
    for (const [key, connecting] of this.#connections) {
      if (!key.startsWith(`${lane} `)) continue
      this.#connections.delete(key)
      connecting.end(why)
    }
  }

  /** Ends every connection. */
  close(): void {
    this.#closed = true
    for (const connecting of this.#connections.values()) connecting.end('the client is closed')
    this.#connections.clear()
  }
}

/** A connection that is open, or being opened. */
class Connecting {
  opened!: Promise<Connection>
  connection: Connection | undefined
  readonly #abort = new AbortController()

  get ended(): AbortSignal {
    return this.#abort.signal
  }

  end(why: string): void {
    this.#abort.abort()
    this.connection?.close(why)
  }
}
