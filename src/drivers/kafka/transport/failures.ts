import { type Address, shownAddress } from './address.js'

/**
 * A request has no answer: its broker cannot be reached, closed the connection, was silent for too long, or sent invalid
 * bytes. A retry may succeed.
 */
export class UnansweredError extends Error {
  readonly address: Address
  /** Whether the request was written to a socket, so that the broker may have acted on it. */
  readonly sent: boolean
  /** The message without the address. */
  readonly why: string
  /** Whether the broker closed the connection while a request was pending. */
  readonly closedByPeer: boolean
  /** Whether the connection is open, or being opened, and nothing arrives. */
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
 * A broker and this client do not fit: a certificate or a login is refused, or the peer does not speak the Kafka protocol. A
 * retry will end in the same way.
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

/** The reason, without the address if possible. */
export function reasonOf(error: Error | undefined): string {
  if (error instanceof UnansweredError || error instanceof RefusedConnectionError) return error.why
  return error === undefined ? 'it does not answer' : error.message
}

/** Equal for failures of a broker with the same cause. For silence, its duration and the request do not matter. */
export function kindOf(error: Error | undefined): string {
  const isSilent = error === undefined || (error instanceof UnansweredError && error.silent)
  return isSilent ? 'silent' : reasonOf(error)
}
