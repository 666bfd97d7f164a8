/** Larger than any answer. The bytes of TLS or HTTP look like a larger size. */
const maxFrameBytes = 256 * 1024 * 1024

const sizeBytes = 4

/** Smaller frames are not read directly. */
const minRoom = 32 * 1024

/**
 * Splits a connection's bytes into frames: a size of four bytes, then as many bytes. Each frame has its own memory, because
 * chunks are read into a buffer that is reused, or directly into the frame (`room`).
 *
 * @see https://kafka.apache.org/protocol#protocol_common
 */
export class FrameReader {
  #size = Buffer.allocUnsafe(sizeBytes)
  #sizeRead = 0
  #frame: Buffer | undefined
  #frameRead = 0

  /** The memory into which the next bytes may be read, so that `push` does not copy them. Undefined: no preference. */
  get room(): Buffer | undefined {
    const frame = this.#frame
    return frame === undefined || frame.length - this.#frameRead < minRoom ? undefined : frame.subarray(this.#frameRead)
  }

  /**
   * Calls `next` with each frame that `chunk` completes, without its size.
   *
   * @returns false if the peer announced a frame that no Kafka broker sends. Nothing after it can be read.
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
