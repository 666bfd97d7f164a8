/** Decompresses LZ4 frames with dependent blocks. Does not check checksums. */
export function lz4(frames: Buffer): Buffer {
  const flags = frames.readUInt8(4)
  const blockChecksum = (flags & 0x10) !== 0
  const contentSize = (flags & 0x08) !== 0
  let at = 7 + (contentSize ? 8 : 0)
  const out: number[] = []
  for (;;) {
    const size = frames.readUInt32LE(at)
    at += 4
    if (size === 0) return Buffer.from(out)
    const length = size & 0x7fffffff
    const block = frames.subarray(at, at + length)
    if (size >= 2 ** 31) out.push(...block)
    else uncompress(block, out)
    at += length + (blockChecksum ? 4 : 0)
  }
}

/** Decodes a block: literals, and copies of earlier output. */
function uncompress(block: Buffer, out: number[]): void {
  let at = 0
  const long = (nibble: number) => {
    let length = nibble
    if (nibble === 15) {
      let more: number
      do {
        more = block[at++]!
        length += more
      } while (more === 255)
    }
    return length
  }
  while (at < block.length) {
    const token = block[at++]!
    for (let literals = long(token >> 4); literals > 0; literals--) out.push(block[at++]!)
    if (at >= block.length) return
    const distance = block.readUInt16LE(at)
    at += 2
    for (let copies = long(token & 15) + 4; copies > 0; copies--) out.push(out[out.length - distance]!)
  }
}
