import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { encodeRequestFrame, encodeResponseFrame, responseBody } from '../../src/protocol/messages/headers'
import { produce } from '../../src/protocol/messages/produce'
import type { AnyMessage } from '../../src/protocol/schema/message'
import { freePorts } from './free-ports'
import { type ProduceFate, ProducePassage, type ProxiedBatch } from './produce-passage'

/** The API keys of requests that can be disturbed. */
export const api = {
  produce: 0,
  fetch: 1,
  metadata: 3,
  offsetCommit: 8,
  offsetFetch: 9,
  joinGroup: 11,
  heartbeat: 12,
  syncGroup: 14,
  apiVersions: 18,
  consumerGroupHeartbeat: 68,
} as const

export interface Interference {
  readonly api: number
  /**
   * `'request'`: the connection is cut before the broker gets the request. `'answer'`: it is cut after the broker has answered,
   * and no byte of the answer passes. `'mid-size'`, `'mid-answer'`: a part of the answer passes. `'silence'`: the answer is
   * dropped, and the connection stays. A function replaces the answer, in the version of the request.
   */
  readonly at:
    | 'request'
    | 'answer'
    | 'mid-size'
    | 'mid-answer'
    | 'silence'
    | ((answer: Buffer, version: number) => Buffer)
  /** Selects the request or answer. Absent: the next one is disturbed. */
  readonly when?: (frame: Buffer) => boolean
}

interface Armed extends Interference {
  readonly done: () => void
}

/** A proxy in front of one broker. It parses requests and answers, and disturbs those that a test selects. */
export class BrokerProxy {
  readonly armed = new Set<Armed>()
  readonly #links = new Set<Link>()
  #server: Server | undefined
  /** Decides what happens to each batch that is written. Absent: all batches pass. */
  fate: ((batch: ProxiedBatch) => ProduceFate) | undefined
  /** Batches that were held back, and whose producers' connections have closed. */
  #late: ProxiedBatch[] = []

  private constructor(
    readonly port: number,
    readonly target: { readonly host: string; readonly port: number },
  ) {}

  /** Uses its own port, on which nothing listens before `open`. */
  static async to(address: string): Promise<BrokerProxy> {
    const [host, port] = address.split(':') as [string, string]
    const [own] = await freePorts(1)
    return new BrokerProxy(own!, { host, port: Number(port) })
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  async open(): Promise<this> {
    this.#server = createServer(client => {
      const link = new Link(client, connect(this.target), this)
      this.#links.add(link)
      client.once('close', () => this.#links.delete(link))
    }).listen(this.port, '127.0.0.1')
    await once(this.#server, 'listening')
    return this
  }

  /** Ends all connections and refuses new ones. */
  close(): void {
    this.#server?.close()
    this.endAll()
  }

  endAll(): void {
    for (const link of this.#links) link.end()
  }

  hold(late: readonly ProxiedBatch[]): void {
    this.#late.push(...late)
  }

  /**
   * Sends the batches that were held back to the broker, in order, on a separate connection.
   *
   * @returns the broker's codes
   */
  async arriveLate(): Promise<number[]> {
    const late = this.#late
    this.#late = []
    if (late.length === 0) return []
    const broker = connect(this.target)
    const codes: number[] = []
    const answered = new Promise<void>((resolve, reject) => {
      broker.on('error', reject)
      onFrames(broker, frame => {
        const { responses } = produce.decodeResponse(frame.subarray(9), produce.versions.max - 1)
        codes.push(responses[0]!.partitionResponses[0]!.errorCode)
        if (codes.length === late.length) resolve()
      })
    })
    // The newest version that has names.
    const apiVersion = produce.versions.max - 1
    late.forEach(({ topic, partition, records }, correlationId) => {
      const topicData = [{ name: topic, partitionData: [{ index: partition, records }] }]
      const body = produce.encodeRequest({ acks: -1, timeoutMs: 10_000, topicData }, apiVersion)
      broker.write(encodeRequestFrame(produce, { apiVersion, correlationId, clientId: 'late' }, body))
    })
    await answered.finally(() => broker.destroy())
    return codes
  }

  /** Disturbs one request. Resolves when that has happened. */
  interfere(interference: Interference): Promise<void> {
    return new Promise(done => this.armed.add({ ...interference, done }))
  }
}

/** A client's connection to the proxy, and the proxy's connection to the broker. */
class Link {
  /** The unanswered requests by correlation id. */
  readonly #asked = new Map<number, { readonly key: number; readonly version: number }>()
  /** By correlation id: what happens to the batches of a request. */
  readonly #passages = new Map<number, ProducePassage>()

  constructor(
    readonly client: Socket,
    readonly broker: Socket,
    readonly proxy: BrokerProxy,
  ) {
    for (const socket of [client, broker]) {
      socket.setNoDelay(true)
      socket.on('error', () => this.end())
      socket.on('close', () => this.end())
    }
    onFrames(client, frame => this.#request(frame))
    onFrames(broker, frame => this.#answer(frame))
  }

  #request(frame: Buffer): void {
    const key = frame.readInt16BE(4)
    this.#asked.set(frame.readInt32BE(8), { key, version: frame.readInt16BE(6) })
    const cut = this.#take(armed => armed.api === key && armed.at === 'request', frame)
    if (cut === undefined) this.broker.write(key === api.produce ? this.#produced(frame) : frame)
    else {
      this.end()
      cut.done()
    }
  }

  /** The part of the request that is passed to the broker. */
  #produced(frame: Buffer): Buffer {
    if (this.proxy.fate === undefined) return frame
    const passage = new ProducePassage(frame, this.proxy.fate)
    this.proxy.hold(passage.late)
    this.#passages.set(frame.readInt32BE(8), passage)
    return passage.request
  }

  #answer(whole: Buffer): void {
    const passage = this.#passages.get(whole.readInt32BE(4))
    this.#passages.delete(whole.readInt32BE(4))
    if (passage?.cut === true) {
      this.end()
      return
    }
    const frame = passage === undefined ? whole : passage.answer(whole)
    const correlation = frame.readInt32BE(4)
    const { key, version } = this.#asked.get(correlation)!
    this.#asked.delete(correlation)
    const interference = this.#take(armed => armed.api === key && armed.at !== 'request', frame)
    if (interference === undefined) {
      this.client.write(frame)
      return
    }
    const { at, done } = interference
    if (typeof at === 'function') this.client.write(at(frame, version), () => done())
    else if (at === 'silence') done()
    else {
      const passing = at === 'answer' ? 0 : at === 'mid-size' ? 2 : frame.length >> 1
      this.client.write(frame.subarray(0, passing), () => {
        this.end()
        done()
      })
    }
  }

  #take(fits: (armed: Armed) => boolean, frame: Buffer): Armed | undefined {
    for (const armed of this.proxy.armed) {
      if (!fits(armed) || armed.when?.(frame) === false) continue
      this.proxy.armed.delete(armed)
      return armed
    }
    return undefined
  }

  end(): void {
    this.client.destroy()
    this.broker.destroy()
  }
}

/** Calls `next` with each complete request or answer, its size included. */
function onFrames(socket: Socket, next: (frame: Buffer) => void): void {
  let held = Buffer.alloc(0)
  socket.on('data', chunk => {
    held = Buffer.concat([held, chunk as Buffer])
    while (held.length >= 4 && held.length >= 4 + held.readInt32BE(0)) {
      const size = 4 + held.readInt32BE(0)
      const frame = held.subarray(0, size)
      held = held.subarray(size)
      next(frame)
    }
  })
}

/** Replaces the error code of an answer by UNKNOWN_SERVER_ERROR. */
export function withUnknownServerError(message: AnyMessage): (answer: Buffer, version: number) => Buffer {
  return (answer, version) => {
    const original = message.decodeResponse(responseBody(message, version, answer.subarray(4)), version)
    const body = message.encodeResponse({ ...original, errorCode: -1 } as never, version)
    return encodeResponseFrame(message, version, answer.readInt32BE(4), body)
  }
}
