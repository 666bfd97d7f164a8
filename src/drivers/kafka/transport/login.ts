// The only file that uses kafkajs: its SASL mechanisms log in over this driver's connection.
import type { Logger } from 'pino'
import { errorCode } from '../../../protocol/errors.js'
import type { SaslOptions } from '../../../sasl.js'
import type { Connection } from './connection.js'
import { RefusedConnectionError, UnansweredError } from './failures.js'

/** A request that kafkajs encodes, and whose answer it decodes. `Connection` carries it. */
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
  /** Milliseconds as text; `'0'` means unlimited. */
  readonly sessionLifetime: string
  authenticate(): Promise<void>
}

const saslHandshake = 17
const saslAuthenticate = 36

/**
 * Logs in over a connection that knows its broker's versions. The caller repeats the login on the same connection before its
 * session ends (KIP-368).
 *
 * Rejects with a `RefusedConnectionError` that has the reason if the login is refused, and with an `UnansweredError` if there
 * is no answer, or no token to log in with.
 *
 * @returns How long the session lasts, ms; undefined if it is unlimited.
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
    throw new RefusedConnectionError('it is older than Kafka 1.0, and this client cannot log in to it', address)
  }
  try {
    // Loaded only for a login, because it takes as long as half of this package.
    // @ts-expect-error kafkajs has no types for it; the version is pinned, and the tests on a real Kafka hold its shape.
    const { default: SaslAuthenticator } = await import('kafkajs/src/broker/saslAuthenticator/index.js')
    const authenticator: Authenticator = new SaslAuthenticator(carrier, silentLogger, versions, true)
    await authenticator.authenticate()
    await carrier.finish()
    const lifetime = Number(authenticator.sessionLifetime)
    return lifetime > 0 ? lifetime : undefined
  } catch (cause) {
    // kafkajs reports every failure as a refusal. The failure noted here says more.
    if (carrier.failure !== undefined) throw carrier.failure
    throw new RefusedConnectionError(`the login is refused: ${refusalOf(cause as KafkajsError)}`, address, { cause })
  }
}

type KafkajsError = Error & { readonly code?: number }

function refusalOf({ code, message }: KafkajsError): string {
  if (code !== errorCode.ILLEGAL_SASL_STATE) return `${message}; see the option sasl`
  // The message of this code is about the state of a login. Brokers answer with it on listeners without SASL.
  return 'this port of the broker has no SASL; leave out the option sasl, or connect to a port that has it (ILLEGAL_SASL_STATE)'
}

const silentLogger = { namespace: () => silentLogger, debug() {}, info() {}, warn() {}, error() {} }

/** A connection in the form that kafkajs's authenticators use. */
class LoginCarrier {
  readonly host: string
  readonly port: number
  readonly sasl: object
  /** A failure that is not a refusal. */
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
    // Copied: kafkajs stores its authenticator on the object, and each login needs a new one.
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
      this.logger.warn({ err: cause }, 'there is no token to log in with; oauthBearerProvider is called again')
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
   * The answer to a refused token is the reason. The refusal itself follows after the client has acknowledged it (RFC 7628,
   * 3.2.3). kafkajs stops before that.
   */
  async finish(): Promise<void> {
    // Only the four bytes of the length, without a reason.
    if (this.options.mechanism !== 'oauthbearer' || (this.#lastToken?.length ?? 0) <= 4) return
    const acknowledgement = Buffer.from([0, 0, 0, 1, 1])
    await this.#carry(saslAuthenticate, 'SaslAuthenticate', 0, acknowledgement)
    throw new Error(`the token is not accepted: ${this.#lastToken!.toString('utf8', 4)}`)
  }
}
