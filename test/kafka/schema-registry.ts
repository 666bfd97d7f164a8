import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Type } from 'avsc'

/** A fake schema registry, which can be stopped and started again at the same address. */
export class SchemaRegistry {
  #server: Server | undefined
  #port = 0
  /** The number of requests for each path. */
  readonly asked: string[] = []
  readonly schemas = new Map<number, object>()

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  async start(): Promise<void> {
    const server = createServer((request, response) => {
      this.asked.push(request.url!)
      const id = /^\/schemas\/ids\/(\d+)$/.exec(request.url!)?.[1]
      const schema = id === undefined ? undefined : this.schemas.get(Number(id))
      response.writeHead(schema === undefined ? 404 : 200, { 'content-type': 'application/vnd.schemaregistry.v1+json' })
      response.end(
        JSON.stringify(
          schema === undefined
            ? { error_code: 40403, message: 'Schema not found' }
            : { schema: JSON.stringify(schema), schemaType: 'AVRO' },
        ),
      )
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(this.#port, '127.0.0.1', resolve)
    })
    this.#port = (server.address() as AddressInfo).port
    this.#server = server
  }

  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
  }
}

export const orderSchema = {
  type: 'record',
  name: 'Order',
  fields: [
    { name: 'id', type: 'string' },
    { name: 'cents', type: 'int' },
  ],
} as const

export interface Order {
  readonly id: string
  readonly cents: number
}

/** An order as a producer with a registry writes it. */
export function orderBytes(order: Order, schemaId: number): Buffer {
  const header = Buffer.alloc(5)
  header.writeUInt32BE(schemaId, 1)
  return Buffer.concat([header, Type.forSchema(orderSchema as never).toBuffer(order)])
}
