import { createRequire } from 'node:module'

const snappyjs = createRequire(import.meta.url)('snappyjs') as Record<
  'compress' | 'uncompress',
  (bytes: Buffer) => Buffer
>

/** One raw block, as clients in Go write it. */
export const { compress: snappy, uncompress: unsnappy } = snappyjs

/** As snappy-java's SnappyOutputStream writes: a header, then blocks of at most `blockSize` with their lengths. */
export function xerial(bytes: Buffer, blockSize: number): Buffer {
  const parts: Buffer[] = [Buffer.from([0x82, ...Buffer.from('SNAPPY'), 0, 0, 0, 0, 1, 0, 0, 0, 1])]
  for (let at = 0; at < bytes.length; at += blockSize) {
    const block = snappy(bytes.subarray(at, at + blockSize))
    const length = Buffer.alloc(4)
    length.writeUInt32BE(block.length)
    parts.push(length, block)
  }
  return Buffer.concat(parts)
}
