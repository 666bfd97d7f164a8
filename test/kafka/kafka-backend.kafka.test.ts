import { afterAll, beforeAll, expect, it } from 'vitest'
import { kafkaBackend } from '../contract/kafka-backend'
import { numbered, World } from '../contract/world'
import { describeKafka, kafkaBrokers } from './describe-kafka'

describeKafka('records that tests publish to a real Kafka', () => {
  const backend = kafkaBackend(() => kafkaBrokers)
  beforeAll(() => backend.open())
  afterAll(() => backend.close())

  it('are written, or the test fails', async () => {
    const topic = await new World(backend).topic('orders', 2)
    await backend.publish(topic, [...numbered(0, 2), ...numbered(2, 3, 1)])
    expect(await backend.records(topic)).toHaveLength(3)
    await expect(backend.publish(topic, numbered(3, 4, 2))).rejects.toThrow(`kafkajs wrote nothing to ${topic}-2`)
  })
})
