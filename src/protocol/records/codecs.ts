import * as zlib from 'node:zlib'
import { CorruptBatchError, UnsupportedCodecError } from './errors.js'
import { LARGEST_BATCH, tooLarge } from './largest-batch.js'
import { uncompressSnappy } from './snappy.js'

export type CodecName = 'gzip' | 'snappy' | 'lz4' | 'zstd'

/** Decompressors by name. The returned memory must not be reused: records are read from it later. */
export type Codecs = Partial<Record<CodecName, (compressed: Buffer) => Buffer>>

/** By the number in a batch's attributes. */
const CODEC_NAMES: readonly (CodecName | 'none')[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

const limits = { maxOutputLength: LARGEST_BATCH }

// Missing before Node.js 22.15, and so in the types of older versions.
const { zstdDecompressSync } = zlib as { zstdDecompressSync?: (bytes: Buffer, options: typeof limits) => Buffer }

const builtIn: Codecs = {
  gzip: compressed => zlib.gunzipSync(compressed, limits),
  snappy: uncompressSnappy,
  zstd: zstdDecompressSync && (compressed => zstdDecompressSync(compressed, limits)),
}

/**
 * Decompresses a batch. `codecs` take precedence over the built-in ones: gzip, snappy and, from Node.js 22.15 on, zstd.
 *
 * @throws UnsupportedCodecError if there is no codec for this number
 * @throws CorruptBatchError if the bytes are invalid, or expand to more than `LARGEST_BATCH`
 */
export function decompress(codec: number, compressed: Buffer, codecs: Codecs = {}): Buffer {
  const name = CODEC_NAMES[codec]
  if (name === 'none') return compressed
  const uncompress = name && (codecs[name] ?? builtIn[name])
  if (name === undefined || uncompress === undefined) throw new UnsupportedCodecError(name ?? `codec ${codec}`)
  let bytes: unknown
  try {
    bytes = uncompress(compressed)
  } catch (error) {
    if (error instanceof CorruptBatchError) throw error
    if ((error as { code?: unknown })?.code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(name)
    throw new CorruptBatchError(`${name} cannot decompress it: ${(error as Error)?.message ?? error}`, { cause: error })
  }
  if (!(bytes instanceof Uint8Array)) throw new CorruptBatchError(`the codec for ${name} returned no Buffer`)
  if (bytes.length > LARGEST_BATCH) throw tooLarge(name)
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
