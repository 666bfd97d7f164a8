/** Larger than any answer; a peer that speaks TLS or HTTP appears to announce more. */
const maxFrameBytes = 256 * 1024 * 1024

const sizeBytes = 4

/** Less than this is not worth a read of its own. */
const minRoom = 32 * 1024

/**
 * Cuts a connection's bytes into frames: a size of four bytes, then so many bytes. Each frame has memory of its own, for
 * chunks are read into a buffer that is used again, or straight into the frame (`room`).
 *
 * @see https://kafka.apache.org/protocol#protocol_common
 */
export class FrameReader {
  #size = Buffer.allocUnsafe(sizeBytes)
  #sizeRead = 0
  #frame: Buffer | undefined
  #frameRead = 0

  /** Where the bytes that come next may be read to, so that `push` need not copy them; undefined: anywhere. */
  get room(): Buffer | undefined {
    const frame = this.#frame
    return frame === undefined || frame.length - this.#frameRead < minRoom ? undefined : frame.subarray(this.#frameRead)
  }

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
      const isInPlace =
        chunk.buffer === this.#frame.buffer && chunk.byteOffset + at === this.#frame.byteOffset + this.#frameRead
      if (!isInPlace) chunk.copy(this.#frame, this.#frameRead, at, at + taken)
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
