import { Socket } from 'node:net'

const offsetCommit = 8

/**
 * Counts the OffsetCommit requests of this process as they are handed to a socket, whichever client makes them: kafkajs,
 * which also writes for this library, hands over whole requests, the size and the request's key in front.
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

  /** Between the first and the last one. */
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
