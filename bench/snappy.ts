import { createRequire } from 'node:module'
import kafkajs from 'kafkajs'

const snappyjs: Record<'compress' | 'uncompress', (bytes: Buffer) => Buffer> = createRequire(import.meta.url)(
  'snappyjs',
)

/** kafkajs contains no snappy codec, so its users have to register one. */
kafkajs.CompressionCodecs[kafkajs.CompressionTypes.Snappy] = () => ({
  compress: async ({ buffer }: { buffer: Buffer }) => snappyjs.compress(buffer),
  decompress: async (buffer: Buffer) => snappyjs.uncompress(buffer),
})
