import net from 'node:net'
import tls from 'node:tls'
import type { ISocketFactory } from 'kafkajs'

/** More than any answer has; what speaks another protocol, TLS or HTTP, seems to announce more. */
const longestFrame = 256 * 1024 * 1024

/**
 * Sockets that hand kafkajs whole frames only.
 *
 * kafkajs keeps what it has of an answer when its connection breaks, and takes the first bytes of the next connection
 * for the rest of it: requests hang, or a RangeError in its listener ends the process. Here an answer that was cut off
 * goes down with its socket.
 */
export class FramedSockets {
  readonly #open = new Set<net.Socket>()

  readonly factory: ISocketFactory = ({ host, port, ssl, onConnect }) => {
    const socket = ssl
      ? tls.connect({ host, port, ...(net.isIP(host) ? {} : { servername: host }), ...ssl }, onConnect)
      : net.connect({ host, port }, onConnect)
    socket.setKeepAlive(true, 60_000)
    // Small requests, each waited for: Nagle's algorithm would hold back the second half of one.
    socket.setNoDelay(true)
    this.#open.add(socket)
    socket.once('close', () => this.#open.delete(socket))
    return framed(socket)
  }

  destroyAll(): void {
    for (const socket of this.#open) socket.destroy()
  }
}

function framed(socket: net.Socket): net.Socket {
  const unref = socket.unref.bind(socket)
  // kafkajs unrefs sockets that are gone, again and again, and each time Node waits for them to connect.
  socket.unref = () => (socket.destroyed ? socket : unref())
  const on = socket.on.bind(socket)
  socket.on = ((event: string, listener: (...args: unknown[]) => void) => {
    if (event !== 'data') return on(event, listener)
    return on(
      'data',
      wholeFrames(listener, error => socket.destroy(error)),
    )
  }) as typeof socket.on
  return socket
}

/** Passes the chunks of a frame on once all of them are there. */
export function wholeFrames(next: (chunk: Buffer) => void, fail: (error: Error) => void): (chunk: Buffer) => void {
  let held: Buffer[] = []
  let bytes = 0
  /** Of the frame that `held` begins with, its size included; undefined while the size is not known. */
  let needed: number | undefined

  const release = (last: Buffer) => {
    const chunks = held
    held = []
    bytes = 0
    needed = undefined
    for (const chunk of chunks) next(chunk)
    next(last)
  }

  return received => {
    let chunk = received
    try {
      while (chunk.length > 0) {
        if (needed === undefined && bytes + chunk.length >= 4) {
          const size = sizeOf(held, chunk)
          if (size < 0 || size > longestFrame) return fail(notKafka())
          needed = 4 + size
        }
        if (needed === undefined || bytes + chunk.length < needed) {
          held.push(chunk)
          bytes += chunk.length
          return
        }
        const rest = needed - bytes
        const tail = chunk
        chunk = tail.subarray(rest)
        release(rest === tail.length ? tail : tail.subarray(0, rest))
      }
    } catch (error) {
      // Thrown by kafkajs's decoding: in a socket's listener it would end the process.
      fail(error as Error)
    }
  }
}

function sizeOf(held: readonly Buffer[], chunk: Buffer): number {
  return held.length === 0 ? chunk.readInt32BE(0) : Buffer.concat([...held, chunk]).readInt32BE(0)
}

function notKafka(): Error {
  const message = 'what answers does not speak the Kafka protocol; a port for TLS perhaps, or for something else'
  return Object.assign(new Error(message), { code: 'NOT_KAFKA' })
}
