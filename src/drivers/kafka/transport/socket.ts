import net from 'node:net'
import tls from 'node:tls'
import { type Address, shownAddress } from './address.js'
import { RefusedConnectionError, UnansweredError } from './failures.js'

export type Ssl = boolean | tls.ConnectionOptions

/** A certificate that is not accepted, by either side, or a peer that speaks no TLS. */
const tlsRefusal =
  /^(ERR_TLS_|ERR_SSL_|EPROTO$|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_(GET|VERIFY|DECRYPT)|HOSTNAME_MISMATCH)/

/** What one read takes from a socket at most, bytes. */
const readBytes = 256 * 1024

/** What every plain socket reads into: what comes is taken out of it before the next read, of whichever socket. */
let readBuffer: Buffer | undefined

/** An open connection to a peer. */
export interface OpenSocket {
  readonly socket: net.Socket
  /**
   * Calls back with what comes, which is only lent: the memory is used again after the call, unless it is what `room`
   * gave, which is asked before each read. TLS does not ask.
   */
  receive(take: (chunk: Buffer) => void, room: () => Buffer | undefined): void
}

/**
 * Opens a socket, with TLS where `ssl` is set. Gives up at once when `ended` aborts.
 *
 * Rejects with an `UnansweredError` if nothing answers within `timeout` ms or the attempt fails in a way that can heal,
 * and with a `RefusedConnectionError` if TLS does not fit.
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
      ? tls.connect({ host, port, ...(net.isIP(host) === 0 ? { servername: host } : {}), ...options })
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
    // A peer that closes during the handshake may not speak TLS, or may just be going away.
    socket.once('close', () =>
      fail(new UnansweredError('closed the connection while it was opened', address, { sent: false })),
    )
    socket.once(encrypted ? 'secureConnect' : 'connect', () => {
      clearTimeout(timer)
      ended.removeEventListener('abort', giveUp)
      socket.removeAllListeners('error')
      socket.removeAllListeners('close')
      socket.setKeepAlive(true, 60_000)
      // Requests are small and each is waited for: Nagle's algorithm would hold back the second half of one.
      socket.setNoDelay(true)
      if (encrypted) socket.on('data', chunk => reader.take(chunk as Buffer))
      resolve({ socket, receive: (take, room) => reader.give(take, room) })
    })
  })
}

/** Hands on what a socket reads; what comes before anybody takes it is kept. */
class Reader {
  #take: ((chunk: Buffer) => void) | undefined
  #room: (() => Buffer | undefined) | undefined
  readonly #early: Buffer[] = []

  /** Node reads into a buffer of ours: one of its own for every 64 KiB is most of what there is to collect otherwise. */
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
      // Node's own error holds the certificates, which fill logs.
      cause: Object.assign(new Error(cause.message), { code }),
    })
  }
  return new UnansweredError(reasonOf(cause, address), address, { sent: false, cause })
}

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
