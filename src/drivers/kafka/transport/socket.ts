import net from 'node:net'
import tls from 'node:tls'
import { type Address, shownAddress } from './address.js'
import { RefusedConnectionError, UnansweredError } from './failures.js'

export type Ssl = boolean | tls.ConnectionOptions

/** One side does not accept the other's certificate, or the peer does not speak TLS. */
const tlsRefusal =
  /^(ERR_TLS_|ERR_SSL_|EPROTO$|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_(GET|VERIFY|DECRYPT)|HOSTNAME_MISMATCH)/

/** The maximum number of bytes per read from a socket. */
const readBytes = 256 * 1024

/** Shared by all plain sockets: its content is processed before the next read of any socket. */
let readBuffer: Buffer | undefined

/** An open socket. */
export interface OpenSocket {
  readonly socket: net.Socket
  /**
   * Calls `take` with the received bytes. They are valid only during the call, unless they are in the memory that `room`
   * returned. `room` is called before each read, but not with TLS.
   */
  receive(take: (chunk: Buffer) => void, room: () => Buffer | undefined): void
}

/**
 * Opens a socket, with TLS if `ssl` is set. Stops at once when `ended` aborts.
 *
 * Rejects with an `UnansweredError` if nothing answers within `timeout` ms or a retry may help, and with a
 * `RefusedConnectionError` if TLS does not fit.
 */
export function openSocket(
  address: Address,
  ssl: Ssl | undefined,
  timeout: number,
  ended: AbortSignal,
): Promise<OpenSocket> {
  return new Promise((resolve, reject) => {
    const { host, port } = address
    const encrypted = ssl !== undefined && ssl !== false
    const options = ssl === true || !encrypted ? {} : (ssl as tls.ConnectionOptions)
    const reader = new Reader()
    const socket = encrypted
      ? encryptedSocket(address, { host, port, ...(net.isIP(host) === 0 ? { servername: host } : {}), ...options })
      : net.connect({ host, port, onread: reader.onread })
    const fail = (error: Error) => {
      clearTimeout(timer)
      ended.removeEventListener('abort', giveUp)
      socket.destroy()
      reject(error)
    }
    const giveUp = () => fail(new UnansweredError('the client is closed', address, { sent: false }))
    ended.addEventListener('abort', giveUp)
    const timer = setTimeout(() => {
      const step = encrypted && !socket.connecting ? 'the TLS handshake' : 'connecting'
      fail(new UnansweredError(`${step} took longer than ${timeout} ms`, address, { sent: false, silent: true }))
    }, timeout)
    socket.once('error', (cause: NodeJS.ErrnoException) => fail(connectionFailure(address, cause, encrypted)))
    // A peer that closes during the handshake may not speak TLS, or may be shutting down.
    socket.once('close', () =>
      fail(new UnansweredError(encrypted ? closedInHandshake : closedEarly, address, { sent: false })),
    )
    socket.once(encrypted ? 'secureConnect' : 'connect', () => {
      clearTimeout(timer)
      ended.removeEventListener('abort', giveUp)
      socket.removeAllListeners('error')
      socket.removeAllListeners('close')
      socket.setKeepAlive(true, 60_000)
      // Requests are small, and each is waited for: Nagle's algorithm would delay the second half of one.
      socket.setNoDelay(true)
      if (encrypted) socket.on('data', chunk => reader.take(chunk as Buffer))
      resolve({ socket, receive: (take, room) => reader.give(take, room) })
    })
  })
}

/** Node throws for a key or a certificate that it cannot read. The error has the name of the option, never its value. */
function encryptedSocket(address: Address, options: tls.ConnectionOptions): tls.TLSSocket {
  try {
    return tls.connect(options)
  } catch (error) {
    const why = (error as Error).message.replace(/ Received .*/s, '')
    throw new RefusedConnectionError(`the option ssl cannot be used: ${why}`, address)
  }
}

/** Passes on what a socket reads. Bytes that arrive before `receive` are kept. */
class Reader {
  #take: ((chunk: Buffer) => void) | undefined
  #room: (() => Buffer | undefined) | undefined
  readonly #early: Buffer[] = []

  /** Makes Node read into a shared buffer: otherwise its buffers of 64 KiB each would be most of the garbage. */
  readonly onread = {
    buffer: () => {
      const room = this.#room?.()
      if (room !== undefined) return room
      readBuffer ??= Buffer.allocUnsafeSlow(readBytes)
      return readBuffer
    },
    callback: (length: number, buffer: Uint8Array) => {
      this.take((buffer as Buffer).subarray(0, length))
      return true
    },
  }

  take(chunk: Buffer): void {
    if (this.#take === undefined) this.#early.push(Buffer.from(chunk))
    else this.#take(chunk)
  }

  give(take: (chunk: Buffer) => void, room: () => Buffer | undefined): void {
    this.#take = take
    this.#room = room
    for (const chunk of this.#early.splice(0)) take(chunk)
  }
}

function connectionFailure(address: Address, cause: NodeJS.ErrnoException, encrypted: boolean): Error {
  const code = cause.code ?? ''
  if (encrypted && tlsRefusal.test(code)) {
    return new RefusedConnectionError(`TLS does not fit: ${cause.message}; see the option ssl`, address, {
      // Node's own error contains the certificates, which would fill logs.
      cause: Object.assign(new Error(cause.message), { code }),
    })
  }
  const why = encrypted && cause.code === 'ECONNRESET' ? closedInHandshake : reasonOf(cause, address)
  return new UnansweredError(why, address, { sent: false, cause })
}

const closedEarly = 'the broker closed the connection while it was opened'
/** It is no refusal, because a broker that is shutting down closes connections too. */
const closedInHandshake =
  'the connection was closed during the TLS handshake; the port may not use TLS (see the option ssl)'

function reasonOf(cause: NodeJS.ErrnoException, address: Address): string {
  switch (cause.code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `the name ${address.host} does not resolve (${cause.code})`
    case 'ECONNREFUSED':
      return 'the connection is refused (ECONNREFUSED); nothing listens on that port'
    default:
      return cause.message.replace(` ${shownAddress(address)}`, '')
  }
}
