import { randomBytes } from 'node:crypto'
import { tap } from 'rxjs'
import { PublishError } from 'rxmika'
import { afterAll, beforeAll, expect } from 'vitest'
import { kafkaBackend } from '../contract/kafka-backend'
import { numbered, scenarios, texts } from '../contract/world'
import { createTopic } from './create-topic'
import { describeKafka, kafkaBrokers } from './describe-kafka'

describeKafka('a copy that the broker refuses as too large', () => {
  const backend = kafkaBackend(() => kafkaBrokers)
  beforeAll(() => backend.open())
  afterAll(() => backend.close())
  const scenario = scenarios(backend)

  scenario('goes to the next step, and does not affect the rest of its batch', async world => {
    const [topic, dlqTopic] = await Promise.all([world.topic('orders'), world.topic('dlq')])
    const retryTopic = world.name('retries')
    const configEntries = [{ name: 'max.message.bytes', value: '20000' }]
    await createTopic({ brokers: [...kafkaBrokers] }, { topic: retryTopic, numPartitions: 1, configEntries })
    // Too large when compressed, too.
    const large = randomBytes(25_000).toString('hex')
    await backend.publish(topic, [...numbered(0, 50), { value: large }, ...numbered(50, 100)])
    const run = world.client({ group: world.name('group'), retryTopic, dlqTopic })
    const retried: string[] = []
    run.client
      .topic(topic, { retries: 1, dlq: true })
      .pipe(
        tap(record => {
          if (record.attempt === 1) record.fail(new Error('once'))
          else if (record.ack()) retried.push(String(record.value))
        }),
      )
      .subscribe()
    run.client.start()
    run.expected = [PublishError]
    await Promise.all([run.committed(topic, 0, 101), run.committed(retryTopic, 0, 100)])
    expect(retried).toHaveLength(100)
    expect(texts(await backend.records(dlqTopic))).toEqual([large])
  })
})
