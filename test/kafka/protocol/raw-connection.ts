import { once } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import { apiVersions, servedVersions } from '../../../src/protocol/messages/api-versions.js'
import { correlationIdOf, encodeRequestFrame, responseBody } from '../../../src/protocol/messages/headers.js'
import type { AnyMessage, RequestOf, ResponseOf, VersionRange } from '../../../src/protocol/schema/message.js'

/** A connection to a broker, plain text and without a login, and one request after the other on it. */
export class RawConnection {
  readonly #socket: Socket
  readonly #chunks: AsyncIterator<Buffer>
  #served: ReadonlyMap<number, VersionRange> = new Map()
  #correlationId = 0

  private constructor(socket: Socket) {
    this.#socket = socket
    this.#chunks = socket[Symbol.asyncIterator]()
  }

  static async to(address: string): Promise<RawConnection> {
    const [host, port] = address.split(':')
    const socket = createConnection({ host: host!, port: Number(port) })
    await once(socket, 'connect')
    const connection = new RawConnection(socket)
    connection.#served = servedVersions(await connection.ask(apiVersions, {}, 0))
    return connection
  }

  /** The versions that both sides speak, from the oldest. */
  versionsOf(message: AnyMessage): number[] {
    const { min = 0, max = -1 } = this.#served.get(message.key) ?? {}
    const newest = message.versionFor(this.#served.get(message.key)) ?? -1
    const oldest = Math.max(min, message.versions.min)
    return Array.from({ length: Math.max(0, Math.min(newest, max) - oldest + 1) }, (_, i) => oldest + i)
  }

  newest(message: AnyMessage): number {
    const version = message.versionFor(this.#served.get(message.key))
    if (version === undefined) throw new Error(`the broker does not speak ${message.name}`)
    return version
  }

  async ask<M extends AnyMessage>(message: M, request: RequestOf<M>, version: number): Promise<ResponseOf<M>> {
    this.#correlationId += 1
    const correlationId = this.#correlationId
    const body = message.encodeRequest(request, version)
    this.#socket.write(encodeRequestFrame(message, { apiVersion: version, correlationId, clientId: 'raw' }, body))
    const response = await this.#receive()
    if (correlationIdOf(response) !== correlationId) throw new Error('an answer to another request')
    return message.decodeResponse(responseBody(message, version, response), version) as ResponseOf<M>
  }

  end(): void {
    this.#socket.destroy()
  }

  async #receive(): Promise<Buffer> {
    let bytes = Buffer.alloc(0)
    for (;;) {
      const { value, done } = await this.#chunks.next()
      if (done) throw new Error('the broker closed the connection: it could not read the request')
      bytes = Buffer.concat([bytes, value])
      if (bytes.length >= 4 && bytes.length >= 4 + bytes.readInt32BE(0)) return bytes.subarray(4)
    }
  }
}
