import { randomUUID } from 'node:crypto'
import { expect, it } from 'vitest'
import { expectStory } from '../docs/demo-story'
import { Example } from '../docs/run-example'
import { createTopic } from './create-topic'
import { describeKafka, kafkaBrokers } from './describe-kafka'

describeKafka('the demo on Kafka', () => {
  it('prints the same steps as on the memory broker', async () => {
    const suffix = `-${randomUUID().slice(0, 8)}`
    const create = (name: string, numPartitions: number) =>
      createTopic({ brokers: kafkaBrokers }, { topic: name + suffix, numPartitions })
    await Promise.all([create('orders', 3), create('orders-retry', 1), create('orders-dlq', 1)])

    const demo = new Example('demo', { KAFKA_BROKERS: kafkaBrokers.join(','), KAFKA_GLOBAL_SUFFIX: suffix })
    expect(await demo.exitCode(), demo.output).toBe(0)
    expectStory(demo.output)
  })
})
