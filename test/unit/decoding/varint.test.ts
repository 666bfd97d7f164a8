import { describe, expect, it } from 'vitest'
import { next, readVarint, readVarlong, skipVarint } from '../../../src/protocol/records/varint.js'
import { varint } from './encode.js'

const ints = [0, 1, -1, 63, -64, 64, -65, 8191, -8192, 2 ** 20, 2 ** 27, -(2 ** 27) - 1, 2 ** 31 - 1, -(2 ** 31)]
const longs = [...ints, 2 ** 40, -(2 ** 40), Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]

describe('varints', () => {
  it.each(ints)('are decoded at any position: %i', value => {
    const bytes = Buffer.concat([Buffer.of(255), varint(value), Buffer.of(255)])
    expect(readVarint(bytes, 1, bytes.length - 1)).toBe(value)
    expect(next).toBe(bytes.length - 1)
  })

  it.each(longs)('of 64 bits are read and skipped: %i', value => {
    const bytes = Buffer.concat([Buffer.of(255), varint(value), Buffer.of(255)])
    expect(readVarlong(bytes, 1)).toBe(value)
    expect(skipVarint(bytes, 1, bytes.length - 1)).toBe(bytes.length - 1)
  })

  it('of 64 bits are rounded if a number cannot represent them', () => {
    for (const value of [2n ** 63n - 1n, -(2n ** 63n)]) expect(readVarlong(varint(value), 0)).toBe(Number(value))
  })

  it('that are too long are refused, whatever follows', () => {
    for (const value of ints) {
      const bytes = varint(value)
      for (let end = 0; end < bytes.length; end++) {
        expect(() => readVarint(bytes, 0, end)).toThrow('a record in it is cut off')
        expect(() => skipVarint(bytes, 0, end)).toThrow('a record in it is cut off')
      }
    }
  })

  it('are at most five bytes long, and ten for 64 bits', () => {
    const endless = Buffer.alloc(20, 128)
    expect(() => readVarint(endless, 0, 20)).toThrow('longer than 32 bits')
    expect(() => skipVarint(endless, 0, 20)).toThrow('longer than 64 bits')
  })
})
