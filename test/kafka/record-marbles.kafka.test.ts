import { handle } from 'rxmika'
import { recordMarbles } from 'rxmika/testing'
import { afterAll, beforeAll, expect } from 'vitest'
import { kafkaBackend } from '../contract/kafka-backend'
import { scenarios } from '../contract/world'
import { runPrinted } from '../unit/run-printed'
import { describeKafka, kafkaBrokers } from './describe-kafka'

describeKafka('a recording of a client on Kafka', () => {
  const backend = kafkaBackend(() => kafkaBrokers)
  beforeAll(() => backend.open())
  afterAll(() => backend.close())
  const scenario = scenarios(backend)

  scenario('shows the outcome of its records, and is a marble test that passes', async world => {
    const [topic, retryTopic, dlqTopic] = await Promise.all([
      world.topic('orders'),
      world.topic('retries'),
      world.topic('dlq'),
    ])
    await backend.publish(topic, [
      { key: 'customer', value: 'good' },
      { key: 'customer', value: 'poison' },
      { key: 'another', value: 'good' },
    ])
    const run = world.client({ group: world.name('group'), retryTopic, dlqTopic })
    const recording = recordMarbles(run.client)
    run.client
      .topic(topic, { retries: 1, dlq: true })
      .pipe(
        recording.watch,
        handle(({ value }) => {
          if (String(value) === 'poison') throw new Error('no')
        }),
      )
      .subscribe()
    run.client.start()
    await Promise.all([run.committed(topic, 0, 3), run.committed(retryTopic, 0, 1)])
    expect((await backend.records(dlqTopic)).map(({ value }) => String(value))).toEqual(['poison'])

    const happened = recording.entries().map(({ what, topic, offset }) => `${what} ${topic} ${offset}`)
    expect(happened).toEqual(
      expect.arrayContaining([
        `acked ${topic} 0`,
        `failed ${topic} 1`,
        `acked ${topic} 2`,
        `delivered ${retryTopic} 0`,
        `failed ${retryTopic} 0`,
      ]),
    )
    expect(recording.diagram()).toMatch(`delivered of ${topic}-0`)
    const test = recording.test()
    expect(test).toMatch('{ retries: 1, dlq: true }')
    expect(recording.diagram() + test).not.toMatch(/customer|another|good|poison/)
    runPrinted(test)
  })
})
