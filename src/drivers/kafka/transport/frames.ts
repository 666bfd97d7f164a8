/** Larger than any answer; a peer that speaks TLS or HTTP appears to announce more. */
const maxFrameBytes = 256 * 1024 * 1024

const sizeBytes = 4

/**
 * Cuts a connection's bytes into frames: a size of four bytes, then so many bytes. Each frame has memory of its own, for
 * the chunks are read into a buffer that is used again.
 *
 * @see https://kafka.apache.org/protocol#protocol_common
 */
export class FrameReader {
  #size = Buffer.allocUnsafe(sizeBytes)
  #sizeRead = 0
  #frame: Buffer | undefined
  #frameRead = 0

  /**
   * Calls `next` for each frame that `chunk` completes, without its size.
   *
   * @returns False if the peer announced a frame that no Kafka broker sends; nothing after it can be read.
   */
  push(chunk: Buffer, next: (frame: Buffer) => void): boolean {
    let at = 0
    while (at < chunk.length) {
      if (this.#frame === undefined) {
        const missing = Math.min(sizeBytes - this.#sizeRead, chunk.length - at)
        chunk.copy(this.#size, this.#sizeRead, at, at + missing)
        this.#sizeRead += missing
        at += missing
        if (this.#sizeRead < sizeBytes) return true
        const size = this.#size.readInt32BE(0)
        if (size < sizeBytes || size > maxFrameBytes) return false
        this.#sizeRead = 0
        this.#frame = Buffer.allocUnsafeSlow(size)
        this.#frameRead = 0
      }
      const taken = Math.min(this.#frame.length - this.#frameRead, chunk.length - at)
      chunk.copy(this.#frame, this.#frameRead, at, at + taken)
      this.#frameRead += taken
      at += taken
      if (this.#frameRead < this.#frame.length) return true
      const frame = this.#frame
      this.#frame = undefined
      next(frame)
    }
    return true
  }
}
