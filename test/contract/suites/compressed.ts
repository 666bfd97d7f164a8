import { CompressionCodecs, CompressionTypes, Kafka, logLevel } from 'kafkajs'
import { tap } from 'rxjs'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { snappy, unsnappy } from '../../unit/decoding/compress'
import type { Backend } from '../backend'
import { Collected } from '../collected'
import { numbered, scenarios, texts } from '../world'

CompressionCodecs[CompressionTypes.Snappy] = () => ({
  compress: async ({ buffer }: { buffer: Buffer }) => Buffer.from(snappy(buffer)),
  decompress: async (bytes: Buffer) => Buffer.from(unsnappy(bytes)),
})

/** On a broker whose records other clients have compressed. */
export function compressed(backend: Backend): void {
  const scenario = scenarios(backend)

  describe('compressed records', () => {
    beforeAll(() => backend.open())
    afterAll(() => backend.close())

    for (const [name, compression] of [
      ['gzip', CompressionTypes.GZIP],
      ['snappy', CompressionTypes.Snappy],
    ] as const) {
      scenario(`reads records compressed with ${name} among uncompressed ones`, async world => {
        const topic = await world.topic('orders')
        const kafka = new Kafka({ brokers: [...world.backend.connection().brokers!], logLevel: logLevel.NOTHING })
        const producer = kafka.producer()
        await producer.connect()
        await producer.send({ topic, messages: numbered(0, 2) })
        await producer.send({ topic, compression, messages: numbered(2, 200) })
        await producer.send({ topic, messages: numbered(200, 201) })
        await producer.disconnect()

        const run = world.client({ group: world.name('group') })
        const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
        run.client.start()
        await run.committed(topic, 0, 201)
        expect(texts(seen)).toEqual(numbered(0, 201).map(({ value }) => value))
      })
    }
  })
}
