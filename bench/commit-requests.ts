import { Socket } from 'node:net'

const offsetCommit = 8

/**
 * Counts the OffsetCommit requests that this process writes to sockets. This works for kafkajs and for this library, because
 * both write each request with one call: its size first, then its API key.
 */
export class CommitRequests {
  readonly #times: number[] = []

  constructor() {
    const times = this.#times
    const write = Socket.prototype.write
    Socket.prototype.write = function (this: Socket, ...args: unknown[]) {
      if (isCommit(args[0])) times.push(performance.now())
      return Reflect.apply(write, this, args)
    } as typeof write
  }

  get count(): number {
    return this.#times.length
  }

  /** The average rate between the first and the last request. */
  get perSecond(): number {
    if (this.count < 2) return 0
    return ((this.count - 1) * 1_000) / (this.#times.at(-1)! - this.#times[0]!)
  }
}

const isCommit = (bytes: unknown) =>
  Buffer.isBuffer(bytes) &&
  bytes.length > 6 &&
  bytes.readInt32BE(0) === bytes.length - 4 &&
  bytes.readInt16BE(4) === offsetCommit
