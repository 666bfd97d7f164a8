import { randomBytes } from 'node:crypto'
import { CompressionTypes } from 'kafkajs'
import { quietKafka } from './clients.js'
import type { Shape } from './row.js'

export const partitions = 4

const codecs = { gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy }

/** Fills a topic with kafkajs, so that all contenders read the batches of an ordinary producer. */
export async function fill(brokers: string[], topic: string, records: number, shape: Shape): Promise<void> {
  const { bytes, headers = [], compression } = shape
  const producer = quietKafka(brokers).producer()
  await producer.connect()
  const pairs = Object.fromEntries(headers.map((name, at) => [name, `value-${at}`]))
  // Batches of a few hundred KiB, one per partition. Compressed ones are smaller, as those of an ordinary producer.
  const chunk = Math.min(compression === undefined ? 10_000 : 1_000, Math.ceil(2_000_000 / bytes))
  for (let written = 0; written < records; written += chunk) {
    const messages = Array.from({ length: Math.min(chunk, records - written) }, (_, at) => ({
      key: `key-${(written + at) % 10_000}`,
      // Hexadecimal text compresses to half of its size; random bytes do not compress.
      value: compression === undefined ? randomBytes(bytes) : randomBytes(bytes / 2).toString('hex'),
      headers: pairs,
      partition: (written + at) % partitions,
    }))
    await producer.send({ topic, messages, compression: compression ? codecs[compression] : CompressionTypes.None })
  }
  await producer.disconnect()
}
