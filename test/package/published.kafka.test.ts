import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createTopic } from '../kafka/create-topic'
import { describeKafka, kafkaBrokers } from '../kafka/describe-kafka'
import { PackedPackage, toldByProgram } from './packed'

// A bundler once moved a read past the call that it depends on: sources and tests were right, and what was published
// lost every header, by which retry copies are told apart.
describeKafka('the packed package on Kafka', () => {
  let packed: PackedPackage
  beforeAll(async () => {
    packed = await PackedPackage.make()
    await packed.compile('nodenext')
  }, 120_000)
  afterAll(() => packed?.remove())

  it.each(['esm', 'cjs'] as const)(
    'retries a record and keeps its headers, in a program of the format %s',
    async format => {
      const suffix = `-${randomUUID()}`
      for (const topic of ['orders', 'retries', 'dlq']) {
        await createTopic({ brokers: kafkaBrokers }, { topic: topic + suffix, numPartitions: 1 })
      }
      const env = { KAFKA_BROKERS: kafkaBrokers.join(','), KAFKA_GLOBAL_SUFFIX: suffix }
      expect(await packed.run(format, env)).toEqual(toldByProgram)
    },
  )
})
