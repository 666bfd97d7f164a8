import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePorts } from '../test/kafka/free-ports'

/** A proxy in front of one broker. It can refuse connections, and cut them in the middle of an answer. */
export class TcpProxy {
  #server: Server | undefined
  readonly #links = new Set<Link>()

  private constructor(
    readonly port: number,
    readonly target: { readonly host: string; readonly port: number },
  ) {}

  static async to(address: string): Promise<TcpProxy> {
    const [host, port] = address.split(':') as [string, string]
    const [own] = await freePorts(1)
    const proxy = new TcpProxy(own!, { host, port: Number(port) })
    await proxy.open()
    return proxy
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  async open(): Promise<void> {
    this.#server = createServer(client => {
      const link = new Link(client, connect(this.target))
      this.#links.add(link)
      client.once('close', () => this.#links.delete(link))
    }).listen(this.port, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  /** Closes all connections and refuses new ones, like the port of a killed broker. */
  refuse(): void {
    this.#server?.close()
    for (const link of this.#links) link.end()
  }

  /** Accepts connections again, as soon as the broker does. */
  async accept(): Promise<void> {
    while (!(await this.#listens())) await sleep(100)
    await this.open()
  }

  /** Cuts up to `max` connections, each in the middle of its next answer. Returns the number of connections to be cut. */
  cut(max: number): number {
    const links = [...this.#links].slice(-max)
    for (const link of links) link.doomed = true
    return links.length
  }

  async #listens(): Promise<boolean> {
    const socket = connect(this.target)
    try {
      await once(socket, 'connect')
      return true
    } catch {
      return false
    } finally {
      socket.destroy()
    }
  }
}

/** A client's connection to the proxy, and the proxy's connection to the broker. */
class Link {
  /** True: the next answer is cut in the middle, and then both connections are closed. */
  doomed = false

  constructor(
    readonly client: Socket,
    readonly broker: Socket,
  ) {
    for (const socket of [client, broker]) {
      socket.setNoDelay(true)
      socket.on('error', () => this.end())
      socket.on('close', () => this.end())
    }
    client.pipe(broker)
    broker.on('data', answer => this.#pass(answer as Buffer))
  }

  #pass(answer: Buffer): void {
    if (this.doomed) {
      this.broker.pause()
      this.client.write(answer.subarray(0, answer.length >> 1), () => this.end())
    } else if (!this.client.write(answer)) {
      this.broker.pause()
      this.client.once('drain', () => this.broker.resume())
    }
  }

  end(): void {
    this.client.destroy()
    this.broker.destroy()
  }
}
