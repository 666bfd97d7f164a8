import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { decompress } from '../../../src/protocol/records/codecs.js'
import { CorruptBatchError, UnsupportedCodecError } from '../../../src/protocol/records/errors.js'
import { snappy, xerial } from './compress.js'

const bytes = Buffer.from('a record of a batch')
const [NONE, GZIP, SNAPPY, LZ4, ZSTD] = [0, 1, 2, 3, 4]

describe('decompress', () => {
  it.each([
    ['none', NONE, bytes],
    ['gzip', GZIP, gzipSync(bytes)],
    ['snappy as Go writes it', SNAPPY, snappy(bytes)],
    ['snappy as Java writes it', SNAPPY, xerial(bytes, 8)],
  ])('has %s built in', (_, codec, compressed) => {
    expect(decompress(codec, compressed)).toEqual(bytes)
  })

  it('names a missing codec', () => {
    expect(() => decompress(LZ4, bytes)).toThrow(
      expect.objectContaining({ name: 'UnsupportedCodecError', codec: 'lz4' }),
    )
    expect(() => decompress(LZ4, bytes)).toThrow('compressed with lz4, which cannot be read here; pass a codec for it')
    expect(() => decompress(6, bytes)).toThrow(expect.objectContaining({ codec: 'codec 6' }))
  })

  it('supports zstd if and only if Node.js does', async () => {
    const zlib = (await import('node:zlib')) as { zstdCompressSync?: (bytes: Buffer) => Buffer }
    if (zlib.zstdCompressSync) expect(decompress(ZSTD, zlib.zstdCompressSync(bytes))).toEqual(bytes)
    else expect(() => decompress(ZSTD, bytes)).toThrow(UnsupportedCodecError)
  })

  it("prefers the user's codecs to its own", () => {
    const reverse = (compressed: Buffer) => Buffer.from(compressed.toReversed())
    expect(decompress(LZ4, reverse(bytes), { lz4: reverse })).toEqual(bytes)
    expect(decompress(GZIP, reverse(bytes), { gzip: reverse })).toEqual(bytes)
  })

  it('accepts a Uint8Array or Buffer, and nothing else', () => {
    const array = (compressed: Buffer) => new Uint8Array(compressed) as Buffer
    expect(decompress(LZ4, bytes, { lz4: array })).toEqual(bytes)
    const promise = (async () => bytes) as never
    expect(() => decompress(LZ4, bytes, { lz4: promise })).toThrow('the codec for lz4 returned no Buffer')
  })

  it("reports the codec's error for invalid bytes", () => {
    expect(() => decompress(GZIP, bytes)).toThrow(CorruptBatchError)
    expect(() => decompress(GZIP, bytes)).toThrow('gzip cannot decompress it: incorrect header check')
    const failing = () => {
      throw 'no luck'
    }
    expect(() => decompress(LZ4, bytes, { lz4: failing })).toThrow('lz4 cannot decompress it: no luck')
  })
})
