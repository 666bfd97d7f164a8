import { afterEach, describe, expect, it, vi } from 'vitest'
import { byteFolding } from '../../../src/protocol/records/byte-folding.js'
import { crc32c } from '../../../src/protocol/records/crc32c.js'
import { kafkaJSCrc32c } from './kafkajs-internals.js'

// Without a period that a mistake in distances could hide behind.
const noise = Buffer.alloc(600_000)
for (let i = 0, seed = 1; i < noise.length; i++) {
  seed = Math.imul(seed, 1_103_515_245) + 12_345
  noise[i] = seed >>> 16
}

describe('crc32c', () => {
  // The first by Williams' "CRC RockSoft" check, the others of RFC 3720, B.4.
  it.each([
    ['digits', Buffer.from('123456789'), 0xe3069283],
    ['zeros', Buffer.alloc(32), 0x8a9136aa],
    ['ones', Buffer.alloc(32, 255), 0x62a8ab43],
    ['ascending', Buffer.from(Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e],
    ['descending', Buffer.from(Array.from({ length: 32 }, (_, i) => 31 - i)), 0x113fdb5c],
    ['nothing', Buffer.alloc(0), 0],
  ])('gives the published checksum: %s', (_, bytes, checksum) => {
    expect(crc32c(bytes, 0, bytes.length)).toBe(checksum)
  })

  it('equals that of kafkajs for every short length and place in a buffer', () => {
    for (let start = 0; start < 20; start++) {
      for (let end = start; end <= 120; end++) {
        expect(crc32c(noise, start, end)).toBe(kafkaJSCrc32c(noise.subarray(start, end)))
      }
    }
  })

  const largest = byteFolding()!.largest
  const around = (length: number, by: number) => Array.from({ length: 2 * by + 1 }, (_, i) => length - by + i)

  it.each([
    ['where folding begins', around(2048, 200)],
    ['where it is done in two pieces', around(largest, 70)],
    ['where the second piece is folded, too', around(largest + 2048, 70)],
    ['of many pieces', [599_000]],
  ])('equals that of kafkajs for lengths %s', (_, lengths) => {
    for (const length of lengths) {
      const start = length % 17
      expect(crc32c(noise, start, start + length)).toBe(kafkaJSCrc32c(noise.subarray(start, start + length)))
    }
  })

  it('does not depend on earlier calls', () => {
    const [ones, zeros] = [Buffer.alloc(200_000, 255), Buffer.alloc(200_000)]
    const expected = kafkaJSCrc32c(zeros.subarray(0, 3000))
    crc32c(ones, 0, ones.length)
    expect(crc32c(zeros, 0, 3000)).toBe(expected)
  })
})

describe('without WebAssembly', () => {
  afterEach(() => {
    vi.unstubAllGlobals()
    vi.resetModules()
  })

  it('is equal, but slower', async () => {
    vi.stubGlobal('WebAssembly', undefined)
    vi.resetModules()
    const { byteFolding } = await import('../../../src/protocol/records/byte-folding.js')
    expect(byteFolding()).toBeUndefined()
    const { crc32c } = await import('../../../src/protocol/records/crc32c.js')
    expect(crc32c(noise, 3, 100_000)).toBe(kafkaJSCrc32c(noise.subarray(3, 100_000)))
  })
})
