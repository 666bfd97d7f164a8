import { describe, expect, it } from 'vitest'
import { CorruptBatchError } from '../../../src/protocol/records/errors.js'
import { uncompressSnappy } from '../../../src/protocol/records/snappy.js'
import { snappy, unsnappy, xerial } from './compress.js'

const texts = {
  empty: '',
  'one byte': 'a',
  'a run, which copies overlap themselves for': 'ab'.repeat(40_000),
  'a long literal': Array.from({ length: 70_000 }, (_, i) => String.fromCharCode(32 + ((i * i * 31) % 90))).join(''),
  json: JSON.stringify(Array.from({ length: 500 }, (_, id) => ({ id, name: `customer ${id % 7}` }))),
}

describe('uncompressSnappy', () => {
  for (const [name, text] of Object.entries(texts)) {
    it(`decodes a raw block: ${name}`, () => {
      expect(uncompressSnappy(snappy(Buffer.from(text))).toString()).toBe(text)
    })

    it(`decodes the stream of snappy-java: ${name}`, () => {
      expect(uncompressSnappy(xerial(Buffer.from(text), 32 * 1024)).toString()).toBe(text)
    })
  }

  it('decodes a copy with an offset of more than two bytes', () => {
    const literal = Buffer.alloc(70_000, 'abcdefg')
    // A literal with its length in three bytes, then a copy of 4 bytes from 69,998 back.
    const block = [
      Buffer.from([0xf4, 0xa2, 0x04, 62 << 2, 0x6f, 0x11, 0x01]),
      literal,
      Buffer.from([0x0f, 0x6e, 0x11, 0x01, 0]),
    ]
    expect(uncompressSnappy(Buffer.concat(block)).subarray(70_000).toString()).toBe('cdef')
  })

  it('decodes copies of every short length and distance, even overlapping ones', () => {
    for (let distance = 1; distance <= 24; distance++) {
      for (let length = 1; length <= 64; length++) {
        // At the end of a block, and with more behind it.
        for (const rest of [0, 1, 40]) {
          const size = distance + length + rest
          const before = Buffer.from(Array.from({ length: distance }, (_, at) => 65 + at))
          const copied = Buffer.from(Array.from({ length }, (_, at) => before[at % distance]!))
          const after = Buffer.alloc(rest, '.')
          const block = [
            Buffer.from(size > 127 ? [size | 128, 1] : [size]),
            Buffer.from([(distance - 1) << 2]),
            before,
            Buffer.from([((length - 1) << 2) | 2, distance, 0]),
            ...(rest === 0 ? [] : [Buffer.from([(rest - 1) << 2]), after]),
          ]
          expect(uncompressSnappy(Buffer.concat(block)).toString()).toBe(`${before}${copied}${after}`)
        }
      }
    }
  })

  it('decodes a stream of any number of elements', () => {
    expect(uncompressSnappy(xerial(Buffer.alloc(0), 10))).toHaveLength(0)
  })

  // The bytes of a literal's length make it negative: snappyjs then reads the same element forever.
  const goesBack = Buffer.from([20, 63 << 2, 0xfa, 0xff, 0xff, 0xff])

  it.each([
    ['no bytes at all', Buffer.alloc(0)],
    ['a length without end', Buffer.from([255, 255, 255, 255, 255, 1])],
    ['a length no block of its size can have', Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f, 0, 65])],
    ['a literal that ends outside', Buffer.from([5, 4 << 2, 65])],
    ['a literal that begins outside', Buffer.from([5, 61 << 2, 1])],
    ['a literal longer than promised', Buffer.from([1, 1 << 2, 65, 66])],
    ['a literal that goes back', goesBack],
    ['less than promised', Buffer.from([3, 0, 65])],
    ['a copy from before the beginning', Buffer.from([5, 0, 65, 0b000_000_01, 2])],
    ['a copy from itself', Buffer.from([5, 0, 65, 0b000_000_01, 0])],
    ['a copy longer than promised', Buffer.from([3, 0, 65, 0b000_000_01, 1])],
    ['a copy cut off', Buffer.from([5, 0, 65, 0b000_000_10, 1])],
    ['a stream cut off in a length', Buffer.concat([xerial(Buffer.alloc(0), 1), Buffer.from([0, 0])])],
    ['a stream cut off in a block', xerial(Buffer.from('hello'), 10).subarray(0, -1)],
    [
      'a stream with a hostile length',
      Buffer.concat([xerial(Buffer.alloc(0), 1), Buffer.from([255, 255, 255, 255, 0])]),
    ],
  ])('refuses %s', (_, bytes) => {
    expect(() => uncompressSnappy(bytes)).toThrow(CorruptBatchError)
  })

  it('agrees with snappyjs', () => {
    for (const text of Object.values(texts)) {
      const compressed = snappy(Buffer.from(text))
      expect(uncompressSnappy(compressed).equals(unsnappy(compressed))).toBe(true)
    }
  })
})
