import type { Socket } from 'node:net'
import type { Clock } from '../../../clock.js'
import { longestDuration } from '../../../options.js'
import { apiVersions, servedVersions } from '../../../protocol/messages/api-versions.js'
import { correlationIdOf, encodeRequest, encodeRequestFrame, responseBody } from '../../../protocol/messages/headers.js'
import type { AnyMessage, RequestOf, ResponseOf, VersionRange } from '../../../protocol/schema/message.js'
import type { Address } from './address.js'
import { RefusedConnectionError, UnansweredError, UnsupportedRequestError } from './failures.js'
import { FrameReader } from './frames.js'
import type { OpenSocket } from './socket.js'

/** A timer that fires later than this shows that the process was suspended, ms. */
const maxTimerDelay = 1_000

/** A broker that is silent for this time is reported, ms. The request keeps waiting until its time-out. */
export const defaultQuiet = 3_000

const maxCorrelationId = 0x7fff_ffff

/** A request, or a function that makes it for the negotiated version. */
export type RequestFor<M extends AnyMessage> = RequestOf<M> | ((version: number) => RequestOf<M>)

/** An encoded request. */
export interface EncodedRequest {
  readonly key: number
  readonly name: string
  readonly version: number
  readonly body: Buffer
}

interface Pending {
  readonly name: string
  readonly timeout: number
  /** Reads the answer. If it throws, the bytes cannot be decoded. */
  readonly accept: (frame: Buffer) => void
  readonly fail: (error: Error) => void
  /** How long the broker may be silent before that is reported, ms. */
  readonly quiet: number
  readonly sentAt: number
  /** How long the broker has throttled it, which does not count as silence, ms. */
  throttled: number
  reportedQuiet: boolean
  deadline: number
  timer: NodeJS.Timeout | undefined
}

/** The throttle time of an answer, if it has one. */
interface Throttled {
  readonly throttleTimeMs?: number
}

/**
 * One connection to one broker. Requests are sent in the order of the calls, and answers arrive in the same order.
 *
 * A broker that throttles this client (KIP-219) says for how long. Requests are then held here before they are written, and
 * their time-outs begin when they are written. If a request is not answered in time, the connection ends, because later
 * requests would not be answered either.
 */
export class Connection {
  /** The versions that the broker serves by API key; empty before `learnVersions`. */
  versions: ReadonlyMap<number, VersionRange> = new Map()
  /** True: logged in, if that is required. */
  ready = false
  /** Whether no request was pending when it ended. */
  wasIdle = true
  readonly socket: Socket
  readonly #pending = new Map<number, Pending>()
  readonly #frames = new FrameReader()
  #correlationId = 0
  #throttledUntil = Number.NEGATIVE_INFINITY
  #closed: Error | undefined
  /** Requests wait for it before they are written: a repeated login. */
  #gate: Promise<void> | undefined
  /** The turn of the last request that is held back. Later requests wait for it, which keeps their order. */
  #held: Promise<void> | undefined
  #answeredAt = Number.NEGATIVE_INFINITY
  #idle: (() => void) | undefined
  #later: NodeJS.Timeout | undefined

  constructor(
    readonly address: Address,
    readonly clientId: string,
    readonly open: OpenSocket,
    readonly clock: Clock,
    readonly onClosed: (error: Error) => void,
    /** Called if a request is pending and nothing has arrived for some seconds. */
    readonly onQuiet: (error: UnansweredError) => void = () => {},
  ) {
    const { socket } = open
    this.socket = socket
    // Any number of requests may wait for the end of a throttle, and listen meanwhile. Node warns of more than ten listeners.
    socket.setMaxListeners(0)
    open.receive(
      chunk => this.#receive(chunk),
      () => this.#frames.room,
    )
    socket.on('error', cause => this.close(cause.message, cause))
    socket.on('close', () => {
      const options = { sent: true, closedByPeer: true }
      this.#end(new UnansweredError('closed the connection', address, options))
    })
  }

  /** True: the broker has told this client to wait before the next request. */
  get isThrottled(): boolean {
    return this.#throttledUntil > this.clock.monotonic()
  }

  get closed(): boolean {
    return this.#closed !== undefined
  }

  /** Requests the versions that the broker serves. The first request of a connection. */
  async learnVersions(timeout: number): Promise<void> {
    this.versions = servedVersions(await this.exchange(apiVersions, {}, timeout, apiVersions.versions.min))
  }

  /**
   * Sends a request in the newest version that both sides implement, and resolves to its answer.
   *
   * Rejects with `UnansweredError` if there is no answer within `timeout` ms after it was written.
   *
   * @param quiet The silence of the broker after which `onQuiet` is called, ms; `Infinity` for requests that may take long.
   */
  send<M extends AnyMessage>(
    message: M,
    request: RequestFor<M>,
    timeout: number,
    maxVersion?: number,
    quiet = defaultQuiet,
  ): Promise<ResponseOf<M>> {
    const version = this.#versionFor(message, maxVersion)
    // Written synchronously if nothing holds it back, because a caller that fetches ahead goes on with other work.
    if (this.#held === undefined && this.#gate === undefined && !this.isThrottled) {
      return this.exchange(message, request, timeout, version, quiet)
    }
    return this.#sendLater(message, request, timeout, version, quiet)
  }

  async #sendLater<M extends AnyMessage>(
    message: M,
    request: RequestFor<M>,
    timeout: number,
    version: number | undefined,
    quiet: number,
  ): Promise<ResponseOf<M>> {
    const turn = this.#turnAfter(this.#held)
    this.#held = turn
    await turn
    if (this.#held === turn) this.#held = undefined
    return this.exchange(message, request, timeout, version, quiet)
  }

  /** Resolves when nothing holds requests back: a login may begin, or a longer throttle be told, while this waits. */
  async #turnAfter(before: Promise<void> | undefined): Promise<void> {
    await before
    while (this.#closed === undefined && (this.#gate !== undefined || this.isThrottled)) {
      await this.#gate
      await this.#throttleEnds()
    }
  }

  async #throttleEnds(): Promise<void> {
    while (this.#closed === undefined && this.isThrottled) {
      await this.#wait(this.#throttledUntil - this.clock.monotonic())
    }
  }

  /** Undefined: the broker and this client have no version in common. */
  #versionFor(message: AnyMessage, maxVersion = Number.POSITIVE_INFINITY): number | undefined {
    const broker = this.versions.get(message.key)
    return broker && message.versionFor({ min: broker.min, max: Math.min(broker.max, maxVersion) })
  }

  /** As `send`, without waiting for the gate or a throttle: for the first request and the login. */
  exchange<M extends AnyMessage>(
    message: M,
    request: RequestFor<M>,
    timeout: number,
    version: number | undefined,
    quiet = defaultQuiet,
  ): Promise<ResponseOf<M>> {
    if (version === undefined) return Promise.reject(new UnsupportedRequestError(message.name, this.address))
    return new Promise((resolve, reject) => {
      const write = (correlationId: number) => {
        const value = typeof request === 'function' ? request(version) : request
        return encodeRequest(message, { apiVersion: version, correlationId, clientId: this.clientId }, value)
      }
      const accept = (frame: Buffer) => {
        const answer = message.decodeResponse(responseBody(message, version, frame), version) as ResponseOf<M>
        this.#throttle(answer as Throttled)
        resolve(answer)
      }
      this.#ask(message.name, timeout, quiet, write, accept, reject)
    })
  }

  /** As `exchange`, for a request whose caller encodes it and decodes the answer. Neither has a flexible header. */
  exchangeBytes({ key, name, version, body }: EncodedRequest, timeout: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const write = (correlationId: number) =>
        encodeRequestFrame(
          { key, isFlexible: () => false },
          { apiVersion: version, correlationId, clientId: this.clientId },
          body,
        )
      const accept = (frame: Buffer) =>
        resolve(responseBody({ hasFlexibleResponseHeader: () => false }, version, frame))
      this.#ask(name, timeout, defaultQuiet, write, accept, reject)
    })
  }

  #ask(
    name: string,
    timeout: number,
    quiet: number,
    write: (correlationId: number) => Buffer,
    accept: (frame: Buffer) => void,
    fail: (error: Error) => void,
  ): void {
    if (this.#closed !== undefined) {
      const why = `not connected: ${this.#closed.message}`
      fail(new UnansweredError(why, this.address, { sent: false, cause: this.#closed }))
      return
    }
    const correlationId = this.#nextCorrelationId()
    // If it cannot be encoded, this throws before anything is written.
    const bytes = write(correlationId)
    const now = this.clock.monotonic()
    const pending: Pending = {
      name,
      timeout,
      quiet,
      sentAt: now,
      throttled: 0,
      reportedQuiet: quiet >= timeout,
      deadline: now + timeout,
      timer: undefined,
      accept,
      fail,
    }
    this.#pending.set(correlationId, pending)
    this.#arm(pending, Math.min(quiet, timeout))
    this.socket.write(bytes)
  }

  #nextCorrelationId(): number {
    this.#correlationId = this.#correlationId === maxCorrelationId ? 1 : this.#correlationId + 1
    return this.#correlationId
  }

  /** Holds new requests back until no request is pending, no throttle lasts, and `work` is done. */
  async alone(work: () => Promise<void>): Promise<void> {
    const before = this.#gate
    let open!: () => void
    this.#gate = new Promise(resolve => {
      open = resolve
    })
    try {
      await before
      if (this.#pending.size > 0) {
        await new Promise<void>(resolve => {
          this.#idle = resolve
        })
      }
      // The broker reads nothing until then, and that time must not count towards the time-outs of `work`.
      await this.#throttleEnds()
      if (this.#closed !== undefined) throw this.#closed
      await work()
    } finally {
      this.#gate = undefined
      open()
    }
  }

  /**
   * Does `work` alone after `ms`, or after the longest time of a timer; if it fails, the connection ends. Does not keep the
   * process alive.
   */
  aloneAfter(ms: number, work: () => Promise<void>): void {
    const delay = Math.min(ms, longestDuration)
    this.#later = setTimeout(() => {
      this.alone(work).catch((error: Error) => this.close(error.message, error))
    }, delay).unref()
  }

  /** Ends the connection. Pending requests are rejected with the reason. */
  close(why: string, cause?: unknown): void {
    this.#end(new UnansweredError(why, this.address, { sent: true, cause }))
  }

  #end(error: Error): void {
    if (this.#closed !== undefined) return
    this.#closed = error
    this.ready = false
    this.wasIdle = this.#pending.size === 0
    clearTimeout(this.#later)
    this.socket.destroy()
    for (const pending of this.#pending.values()) {
      clearTimeout(pending.timer)
      pending.fail(error)
    }
    this.#pending.clear()
    this.#idle?.()
    this.onClosed(error)
  }

  // ── Answers ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #receive(chunk: Buffer): void {
    const isKafka = this.#frames.push(chunk, frame => this.#answered(frame))
    if (isKafka) return
    // It has spoken the protocol before, so a broker may have done what was asked, and a new connection may work.
    if (this.ready) return this.close('the peer has sent something else than the Kafka protocol; a proxy perhaps')
    const why =
      'the peer does not speak the Kafka protocol; a port for TLS perhaps, or for something else (see the option ssl)'
    this.#end(new RefusedConnectionError(why, this.address))
  }

  #answered(frame: Buffer): void {
    const correlationId = correlationIdOf(frame)
    this.#answeredAt = this.clock.monotonic()
    const pending = this.#pending.get(correlationId)
    if (pending === undefined) {
      this.close(`answered a request that was not sent (correlation id ${correlationId})`)
      return
    }
    this.#pending.delete(correlationId)
    clearTimeout(pending.timer)
    try {
      pending.accept(frame)
    } catch (cause) {
      const why = `the answer to ${pending.name} cannot be read: ${(cause as Error).message}`
      const error = new UnansweredError(why, this.address, { sent: true, cause })
      pending.fail(error)
      this.#end(error)
    }
    if (this.#pending.size > 0) return
    this.#idle?.()
    this.#idle = undefined
  }

  #throttle({ throttleTimeMs = 0 }: Throttled): void {
    if (throttleTimeMs <= 0) return
    this.#throttledUntil = Math.max(this.#throttledUntil, this.clock.monotonic() + throttleTimeMs)
    // The answers to earlier requests are delayed by as much.
    for (const pending of this.#pending.values()) {
      pending.deadline += throttleTimeMs
      pending.throttled += throttleTimeMs
    }
  }

  /** Resolves after `ms`, or when the connection is closed. */
  #wait(ms: number): Promise<void> {
    return new Promise(resolve => {
      const { socket } = this
      const done = () => {
        clearTimeout(timer)
        socket.off('close', done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      socket.once('close', done)
    })
  }

  #arm(pending: Pending, ms: number): void {
    pending.timer = setTimeout(() => this.#expire(pending), ms)
  }

  #expire(pending: Pending): void {
    const now = this.clock.monotonic()
    const late = now - pending.deadline
    if (late < 0) return this.#arm(pending, Math.min(-late, this.#untilQuiet(pending, now)))
    // This process was suspended: the answer may be in the socket, which is read only after the timers.
    if (late > maxTimerDelay) {
      pending.deadline = this.clock.monotonic() + pending.timeout
      return this.#arm(pending, pending.timeout)
    }
    const why = `did not answer ${pending.name} within ${pending.timeout} ms`
    this.#end(new UnansweredError(why, this.address, { sent: true, silent: true }))
  }

  /** How long until the broker's silence is to be reported, ms. Reported once per request. */
  #untilQuiet(pending: Pending, now: number): number {
    if (pending.reportedQuiet) return Number.POSITIVE_INFINITY
    // The time that a request waits behind others does not count as silence.
    const quietAt = Math.max(pending.sentAt + pending.throttled, this.#answeredAt) + pending.quiet
    if (now < quietAt) return quietAt - now
    pending.reportedQuiet = true
    // After the sockets were read, which happens after the timers: this process may have been suspended.
    setImmediate(() => {
      if (![...this.#pending.values()].includes(pending)) return
      const why = `has not answered ${pending.name} for ${pending.quiet} ms`
      this.onQuiet(new UnansweredError(why, this.address, { sent: true, silent: true }))
    })
    return Number.POSITIVE_INFINITY
  }
}
