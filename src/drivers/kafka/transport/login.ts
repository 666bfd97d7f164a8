// The only file that knows kafkajs: its SASL mechanisms log in over a connection of ours.
import type { Logger } from 'pino'
import type { SaslOptions } from '../../../sasl.js'
import type { Connection } from './connection.js'
import { RefusedConnectionError, UnansweredError } from './failures.js'

/** What kafkajs encodes and decodes by itself, for `Connection` to carry. */
interface KafkajsRequest {
  readonly request: {
    readonly apiKey: number
    readonly apiVersion: number
    readonly apiName: string
    encode(): Promise<{ readonly buffer: Buffer }>
  }
  readonly response: { decode(payload: Buffer): Promise<unknown>; parse(decoded: unknown): Promise<unknown> }
}

interface Authenticator {
  /** ms as text; `'0'` for ever. */
  readonly sessionLifetime: string
  authenticate(): Promise<void>
}

const saslHandshake = 17
const saslAuthenticate = 36

/**
 * Logs in over a connection that knows its broker's versions, and again on the same connection when its session is
 * about to end (KIP-368).
 *
 * Rejects with a `RefusedConnectionError` that names the reason if the login is refused, and with an `UnansweredError`
 * if there is no answer, or no token to log in with.
 *
 * @returns How long the session lasts, ms; `undefined`: without end.
 */
export async function logIn(
  connection: Connection,
  sasl: SaslOptions,
  timeout: number,
  logger: Logger,
): Promise<number | undefined> {
  const carrier = new LoginCarrier(connection, sasl, timeout, logger)
  const versions = Object.fromEntries(
    [saslHandshake, saslAuthenticate].map(key => {
      const range = connection.versions.get(key)
      return [key, { minVersion: range?.min, maxVersion: range?.max }]
    }),
  )
  const { address } = connection
  if (!connection.versions.has(saslAuthenticate)) {
    throw new RefusedConnectionError('it is older than Kafka 1.0 and cannot be logged in to', address)
  }
  try {
    // Loaded by who logs in, and nobody else: it takes as long as half of this package.
    // @ts-expect-error kafkajs has no types for it; the version is pinned, and the tests on a real Kafka hold its shape.
    const { default: SaslAuthenticator } = await import('kafkajs/src/broker/saslAuthenticator/index.js')
    const authenticator: Authenticator = new SaslAuthenticator(carrier, silentLogger, versions, true)
    await authenticator.authenticate()
    await carrier.finish()
    const lifetime = Number(authenticator.sessionLifetime)
    return lifetime > 0 ? lifetime : undefined
  } catch (cause) {
    // kafkajs takes every failure for a refusal; what we saw ourselves says more.
    if (carrier.failure !== undefined) throw carrier.failure
    throw new RefusedConnectionError(
      `the login is refused: ${(cause as Error).message}; see the option sasl`,
      address,
      {
        cause,
      },
    )
  }
}

const silentLogger = { namespace: () => silentLogger, debug() {}, info() {}, warn() {}, error() {} }

/** A connection as kafkajs's authenticators use one. */
class LoginCarrier {
  readonly host: string
  readonly port: number
  readonly sasl: object
  /** What went wrong below kafkajs. */
  failure: Error | undefined
  #lastToken: Buffer | undefined

  constructor(
    readonly connection: Connection,
    readonly options: SaslOptions,
    readonly timeout: number,
    readonly logger: Logger,
  ) {
    this.host = connection.address.host
    this.port = connection.address.port
    // A copy: kafkajs keeps the authenticator it made on it, and this one is made anew for each login.
    this.sasl = {
      ...options,
      ...(options.mechanism === 'oauthbearer' && { oauthBearerProvider: () => this.#token(options) }),
    }
  }

  async #token(options: Extract<SaslOptions, { mechanism: 'oauthbearer' }>): Promise<{ readonly value: string }> {
    try {
      return await options.oauthBearerProvider()
    } catch (cause) {
      const why = `there is no token to log in with: ${cause instanceof Error ? cause.message : String(cause)}`
      this.logger.warn({ err: cause }, 'there is no token to log in with; it is asked for again')
      this.failure = new UnansweredError(why, this.connection.address, { sent: false, cause })
      throw this.failure
    }
  }

  async send({ request, response }: KafkajsRequest): Promise<unknown> {
    const { buffer } = await request.encode()
    const { apiKey, apiName, apiVersion } = request
    let payload: Buffer
    try {
      payload = await this.#carry(apiKey, apiName, apiVersion, buffer)
    } catch (error) {
      this.failure = error as Error
      throw error
    }
    const answer = await response.parse(await response.decode(payload))
    if (apiKey === saslAuthenticate) this.#lastToken = (answer as { readonly authBytes: Buffer }).authBytes
    return answer
  }

  #carry(key: number, name: string, version: number, body: Buffer): Promise<Buffer> {
    return this.connection.exchangeBytes({ key, name, version, body }, this.timeout)
  }

  /**
   * A token that is refused is answered by the reason; the refusal itself comes after the client has acknowledged that
   * (RFC 7628, 3.2.3). kafkajs stops before.
   */
  async finish(): Promise<void> {
    // A length of four bytes, and nothing behind it.
    if (this.options.mechanism !== 'oauthbearer' || (this.#lastToken?.length ?? 0) <= 4) return
    const acknowledgement = Buffer.from([0, 0, 0, 1, 1])
    await this.#carry(saslAuthenticate, 'SaslAuthenticate', 0, acknowledgement)
    throw new Error(`the token is not accepted: ${this.#lastToken!.toString('utf8', 4)}`)
  }
}
