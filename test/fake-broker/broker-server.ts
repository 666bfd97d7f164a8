import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { messageOf } from '../../src/protocol/messages/all'
import { decodeRequestHeader, encodeResponseFrame } from '../../src/protocol/messages/headers'
import type { AnyMessage } from '../../src/protocol/schema/message'
import type { Fate } from './asked'

/** Processes a request. Returns the answer, or nothing if there is none. */
export interface Answering {
  fate(message: AnyMessage, version: number, request: unknown): Fate
  answer(message: AnyMessage, version: number, request: unknown): unknown
}

/** One broker's port on 127.0.0.1. Answers a connection's requests one after the other, as Kafka does. */
export class BrokerServer {
  #server: Server | undefined
  readonly #sockets = new Set<Socket>()
  port = 0

  constructor(readonly answering: Answering) {}

  async start(): Promise<void> {
    this.#server = createServer(socket => this.#serve(socket)).listen(this.port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.port = (this.#server.address() as AddressInfo).port
  }

  /** Stops listening on the port, and closes every connection. */
  stop(): void {
    this.#server?.close()
    this.#server = undefined
    this.cut()
  }

  /** How many connections are open. */
  get connections(): number {
    return this.#sockets.size
  }

  /** Closes every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', () => {})
    let bytes = Buffer.alloc(0)
    let turn = Promise.resolve()
    socket.on('data', chunk => {
      bytes = Buffer.concat([bytes, chunk as Buffer])
      while (bytes.length >= 4 && bytes.length >= 4 + bytes.readInt32BE(0)) {
        const end = 4 + bytes.readInt32BE(0)
        const frame = bytes.subarray(4, end)
        bytes = bytes.subarray(end)
        turn = turn.then(() => this.#request(socket, frame))
      }
    })
  }

  async #request(socket: Socket, frame: Buffer): Promise<void> {
    const { header, body } = decodeRequestHeader(frame)
    const message = messageOf(header.apiKey)!
    const { apiVersion: version, correlationId } = header
    const request = message.decodeRequest(body, version)
    const { ending, late = 0, delay = 0, until, change } = this.answering.fate(message, version, request)
    if (ending === 'cut') {
      socket.destroy()
      return
    }
    if (late > 0) await new Promise(resolve => setTimeout(resolve, late).unref())
    const own = await this.answering.answer(message, version, request)
    // Later requests of the connection are not answered either.
    if (ending === 'silence') return await new Promise(() => {})
    await until
    if (delay > 0) await new Promise(resolve => setTimeout(resolve, delay).unref())
    const answer = message.encodeResponse((change === undefined ? own : change(own)) as never, version)
    if (!socket.destroyed) socket.write(encodeResponseFrame(message, version, correlationId, answer))
  }
}
