import { CorruptBatchError } from './errors.js'
import { LARGEST_BATCH, tooLarge } from './largest-batch.js'

/** The beginning of snappy-java's streams. Two version numbers of four bytes each follow, then blocks with length prefixes. */
const XERIAL_MAGIC = Buffer.from([0x82, ...Buffer.from('SNAPPY'), 0])
const XERIAL_HEADER = XERIAL_MAGIC.length + 8

/** The best ratio: the shortest element has 3 bytes and gives at most 64. A block that claims more gets no memory. */
const HIGHEST_RATIO = 22

/**
 * Decompresses Snappy: a single raw block, as Go clients and librdkafka write it, or snappy-java's stream of blocks.
 *
 * Own code, because snappyjs does not terminate on some hostile input.
 */
export function uncompressSnappy(compressed: Buffer): Buffer {
  const isStream = compressed.length >= XERIAL_HEADER && compressed.subarray(0, 8).equals(XERIAL_MAGIC)
  const blocks = isStream ? [...xerialBlocks(compressed)] : [compressed]
  const lengths = blocks.map(block => uncompressedLength(block))
  const total = lengths.reduce((sum, [length]) => sum + length, 0)
  if (total > LARGEST_BATCH) throw tooLarge('snappy')
  const out = Buffer.allocUnsafeSlow(total)
  let at = 0
  blocks.forEach((block, i) => {
    const [length, from] = lengths[i]!
    uncompressBlock(block, from, out.subarray(at, at + length))
    at += length
  })
  return out
}

function* xerialBlocks(compressed: Buffer): Generator<Buffer> {
  let at = XERIAL_HEADER
  while (at < compressed.length) {
    const from = at + 4
    const end = from <= compressed.length ? from + compressed.readUInt32BE(at) : Number.POSITIVE_INFINITY
    if (end > compressed.length) throw new CorruptBatchError('a block of its Snappy stream is cut off')
    yield compressed.subarray(from, end)
    at = end
  }
}

/** The length that a block claims, and where its elements begin. */
function uncompressedLength(block: Buffer): [length: number, from: number] {
  let length = 0
  for (let at = 0; at < 5 && at < block.length; at++) {
    const byte = block[at]!
    length += (byte & 127) * 2 ** (7 * at)
    if (byte > 127) continue
    if (length > HIGHEST_RATIO * block.length) break
    return [length, at + 1]
  }
  throw new CorruptBatchError('the length of its Snappy block is invalid')
}

function uncompressBlock(block: Buffer, from: number, out: Buffer): void {
  const end = block.length
  const room = out.length
  const source = new DataView(block.buffer, block.byteOffset, end)
  const target = new DataView(out.buffer, out.byteOffset, room)
  // Up to here, 16 bytes can be read and written even if fewer are meant: excess bytes are overwritten by the next element.
  const lastSource = end - SHORT
  const lastTarget = room - SHORT
  let at = from
  let to = 0
  while (at < end) {
    const tag = block[at++]!
    const kind = tag & 3
    let length = (tag >>> 2) + 1
    if (kind === LITERAL) {
      if (length > 60) {
        const extra = length - 60
        if (extra > end - at) throw cutOff()
        length = block.readUIntLE(at, extra) + 1
        at += extra
      }
      if (length > end - at || length > room - to) throw outside()
      if (length <= SHORT && at <= lastSource && to <= lastTarget) copyShort(target, to, source, at)
      else if (length > LONG) block.copy(out, to, at, at + length)
      else for (let i = 0; i < length; i++) out[to + i] = block[at + i]!
      at += length
      to += length
      continue
    }
    let distance: number
    if (kind === NEAR_COPY) {
      if (at === end) throw cutOff()
      length = ((tag >>> 2) & 7) + 4
      distance = ((tag >>> 5) << 8) | block[at++]!
    } else if (kind === COPY) {
      if (end - at < 2) throw cutOff()
      distance = block[at]! | (block[at + 1]! << 8)
      at += 2
    } else {
      if (end - at < 4) throw cutOff()
      distance = source.getUint32(at, true)
      at += 4
    }
    if (distance === 0 || distance > to || length > room - to) throw outside()
    if (length <= SHORT && distance >= STEP && to <= lastTarget) {
      copyShort(target, to, target, to - distance)
      to += length
      // Byte by byte, because the source may overlap with what this copy writes.
    } else for (const stop = to + length; to < stop; to++) out[to] = out[to - distance]!
  }
  if (to !== room) throw new CorruptBatchError('its Snappy block gives less than it promises')
}

/** Most elements are at most this long. */
const SHORT = 16
/** From this length on, a call of `copy` pays off. */
const LONG = 32
const STEP = 4

/**
 * Copies 16 bytes in steps of 4. Most elements have 4 to 8 bytes, with lengths in no pattern. The processor would mispredict
 * the end of a loop over the exact length: a batch of hexadecimal text took a fifth longer with it.
 */
function copyShort(target: DataView, to: number, source: DataView, from: number): void {
  target.setInt32(to, source.getInt32(from, true), true)
  target.setInt32(to + 4, source.getInt32(from + 4, true), true)
  target.setInt32(to + 8, source.getInt32(from + 8, true), true)
  target.setInt32(to + 12, source.getInt32(from + 12, true), true)
}

const LITERAL = 0
const NEAR_COPY = 1
const COPY = 2

const cutOff = () => new CorruptBatchError('its Snappy block is cut off')
const outside = () => new CorruptBatchError('its Snappy block reaches outside itself')
