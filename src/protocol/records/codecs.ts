import * as zlib from 'node:zlib'
import { CorruptBatchError, UnsupportedCodecError } from './errors.js'
import { LARGEST_BATCH, tooLarge } from './largest-batch.js'
import { uncompressSnappy } from './snappy.js'

export type CodecName = 'gzip' | 'snappy' | 'lz4' | 'zstd'

/** Decompression by name. What a function returns must be memory of its own: records are read from it later. */
export type Codecs = Partial<Record<CodecName, (compressed: Buffer) => Buffer>>

/** By their number in a batch's attributes. */
const CODEC_NAMES: readonly (CodecName | 'none')[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

const limits = { maxOutputLength: LARGEST_BATCH }

// Absent before Node.js 22.15, and so from the types of older ones.
const { zstdDecompressSync } = zlib as { zstdDecompressSync?: (bytes: Buffer, options: typeof limits) => Buffer }

const builtIn: Codecs = {
  gzip: compressed => zlib.gunzipSync(compressed, limits),
  snappy: uncompressSnappy,
  zstd: zstdDecompressSync && (compressed => zstdDecompressSync(compressed, limits)),
}

/**
 * Undoes a batch's compression. `codecs` come before those built in, which are gzip, snappy and, in Node.js 22.15 and
 * newer, zstd.
 *
 * @throws UnsupportedCodecError when there is none for this number
 * @throws CorruptBatchError when the bytes are not what the codec writes, or expand to more than `LARGEST_BATCH`
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
  if (!(bytes instanceof Uint8Array)) throw new CorruptBatchError(`the codec for ${name} gave no Buffer`)
  if (bytes.length > LARGEST_BATCH) throw tooLarge(name)
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
