import { CorruptBatchError } from './errors.js'

/** The position after the last varint: a second result without an object. */
export let next = 0

/** Reads a zigzag varint of at most 32 bits at `at`. All of it must be before `end`. */
export function readVarint(bytes: Uint8Array, at: number, end: number): number {
  if (at < end) {
    const byte = bytes[at]!
    // One byte holds -64 to 63: most lengths and deltas.
    if (byte < 128) {
      next = at + 1
      return (byte >>> 1) ^ -(byte & 1)
    }
    // Two bytes hold -8,192 to 8,191: the lengths of most other records and values.
    if (at + 1 < end) {
      const second = bytes[at + 1]!
      if (second < 128) {
        next = at + 2
        const value = (byte & 127) | (second << 7)
        return (value >>> 1) ^ -(value & 1)
      }
    }
  }
  return readLongerVarint(bytes, at, end)
}

function readLongerVarint(bytes: Uint8Array, from: number, end: number): number {
  let value = 0
  let at = from
  for (let shift = 0; shift < 35; shift += 7) {
    if (at >= end) throw cutOff()
    const byte = bytes[at++]!
    value |= (byte & 127) << shift
    if (byte < 128) {
      next = at
      return (value >>> 1) ^ -(value & 1)
    }
  }
  throw new CorruptBatchError('a number in it is longer than 32 bits')
}

/** Returns the position after a varint of at most 64 bits. */
export function skipVarint(bytes: Uint8Array, from: number, end: number): number {
  const limit = Math.min(end, from + 10)
  for (let at = from; at < limit; at++) if (bytes[at]! < 128) return at + 1
  throw limit === end ? cutOff() : new CorruptBatchError('a number in it is longer than 64 bits')
}

/** Reads a zigzag varint of at most 64 bits, rounded if a number cannot hold it. `skipVarint` must have checked it before. */
export function readVarlong(bytes: Uint8Array, at: number): number {
  // Four bytes hold 28 bits, which is 37 hours as a delta in ms.
  for (let i = at; i < at + 4; i++) if (bytes[i]! < 128) return readVarint(bytes, at, i + 1)
  return Number(readBigVarlong(bytes, at))
}

/** As `readVarlong`, but exact. */
export function readBigVarlong(bytes: Uint8Array, at: number): bigint {
  let value = 0n
  for (let i = 0; i < 10; i++) {
    const byte = bytes[at + i]!
    value |= BigInt(byte & 127) << BigInt(7 * i)
    if (byte < 128) break
  }
  value = BigInt.asUintN(64, value)
  return (value >> 1n) ^ -(value & 1n)
}

const cutOff = () => new CorruptBatchError('a record in it is cut off')
