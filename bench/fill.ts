import { randomBytes } from 'node:crypto'
import { CompressionTypes } from 'kafkajs'
import { quiet } from './clients.js'
import type { Shape } from './row.js'

export const partitions = 4

const codecs = { gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy }

/** Fills a topic by kafkajs, so that all contenders read the batches of an ordinary producer. */
export async function fill(brokers: string[], topic: string, records: number, shape: Shape): Promise<void> {
  const { bytes, headers = [], compression } = shape
  const producer = quiet(brokers).producer()
  await producer.connect()
  const pairs = Object.fromEntries(headers.map((name, at) => [name, `value-${at}`]))
  // A few hundred KiB for each partition. Compressed batches are as small as an ordinary producer's.
  const chunk = Math.min(compression === undefined ? 10_000 : 1_000, Math.ceil(2_000_000 / bytes))
  for (let written = 0; written < records; written += chunk) {
    const messages = Array.from({ length: Math.min(chunk, records - written) }, (_, at) => ({
      key: `key-${(written + at) % 10_000}`,
      // With compression: hexadecimal text, which gzip shortens to half.
      value: compression === undefined ? randomBytes(bytes) : randomBytes(bytes / 2).toString('hex'),
      headers: pairs,
      partition: (written + at) % partitions,
    }))
    await producer.send({ topic, messages, compression: compression ? codecs[compression] : CompressionTypes.None })
  }
  await producer.disconnect()
}
