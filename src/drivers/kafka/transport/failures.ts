import { type Address, shownAddress } from './address.js'

/**
 * A request has no answer: its broker cannot be reached, closed the connection, was silent for too long, or sent bytes
 * that cannot be read. It can heal.
 */
export class UnansweredError extends Error {
  readonly address: Address
  /** Whether the request was written to a socket, so that the broker may have acted on it. */
  readonly sent: boolean
  /** The message without the address. */
  readonly why: string
  /** The broker closed the connection while a request was under way. */
  readonly closedByPeer: boolean
  /** The connection stands, or is being opened, and nothing comes. */
  readonly silent: boolean

  constructor(
    why: string,
    address: Address,
    options: {
      readonly sent: boolean
      readonly closedByPeer?: boolean
      readonly silent?: boolean
      readonly cause?: unknown
    },
  ) {
    super(`broker ${shownAddress(address)}: ${why}`, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'UnansweredError'
    this.address = address
    this.why = why
    this.closedByPeer = options.closedByPeer ?? false
    this.silent = options.silent ?? false
    this.sent = options.sent
  }
}

/**
 * A broker and this client do not fit: a certificate or a login is refused, or the peer does not speak the Kafka
 * protocol. The next attempt ends the same way.
 */
export class RefusedConnectionError extends Error {
  readonly address: Address
  /** The message without the address. */
  readonly why: string

  constructor(why: string, address: Address, options?: { readonly cause?: unknown }) {
    super(
      `broker ${shownAddress(address)}: ${why}`,
      options?.cause === undefined ? undefined : { cause: options.cause },
    )
    this.name = 'RefusedConnectionError'
    this.address = address
    this.why = why
  }
}

/** The broker and this client have no version of a request in common. */
export class UnsupportedRequestError extends Error {
  constructor(name: string, address: Address) {
    super(
      `broker ${shownAddress(address)} does not support ${name}, or only in versions that this client does not speak`,
    )
    this.name = 'UnsupportedRequestError'
  }
}

/** Why, without the address where it is known. */
export function reasonOf(error: Error | undefined): string {
  if (error instanceof UnansweredError || error instanceof RefusedConnectionError) return error.why
  return error === undefined ? 'it does not answer' : error.message
}

/** What makes two failures of one broker the same: how long it was silent, and at which request, does not. */
export function kindOf(error: Error | undefined): string {
  const isSilent = error === undefined || (error instanceof UnansweredError && error.silent)
  return isSilent ? 'silent' : reasonOf(error)
}
