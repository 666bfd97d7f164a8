import type { IHeaders } from 'kafkajs'
import { quietKafka, rxmika } from '../clients.js'
import { go, goName } from '../go.js'
import { Meter } from '../meter.js'
import { bytes100, type Row } from '../row.js'
import { atLeast } from '../target.js'

export const retry: Row = {
  title: 'records that fail once and are acked when they are delivered from the retry topic',
  records: 200_000,
  filled: bytes100,
  figure: '1000/s',
  base: 'kafkajs, by hand',
  committed: { except: [] },
  contenders: {
    /** What a team might write by hand: copies whole batches with two headers, and no failure metadata. */
    'kafkajs, by hand': async ({ brokers, topic, scratch, group, records }) => {
      const kafka = quietKafka(brokers)
      const producer = kafka.producer()
      const consumer = kafka.consumer({ groupId: group })
      const meter = new Meter(records)
      await Promise.all([producer.connect(), consumer.connect()])
      consumer.on(consumer.events.GROUP_JOIN, () => meter.start())
      await consumer.subscribe({ topics: [topic, scratch], fromBeginning: true })
      await consumer.run({
        eachBatch: async ({ batch }) => {
          if (batch.topic === scratch) for (const { value } of batch.messages) meter.count(value)
          else {
            const messages = batch.messages.map(({ key, value, timestamp, headers }) => ({
              ...{ key, value, timestamp },
              headers: { ...headers, org_topic: topic, retries: '1' } as IHeaders,
            }))
            await producer.send({ topic: scratch, messages })
          }
        },
      })
      await meter.done
      await consumer.disconnect()
      await producer.disconnect()
      return meter.measurement
    },
    'rxmika retries: 1': rxmika(
      (client, meter, { topic }) => {
        const reason = new Error('not now')
        client.topic(topic, { retries: 1 }).subscribe(record => {
          if (record.attempt === 1) setImmediate(() => record.fail(reason))
          else {
            meter.count(record.value)
            record.ack()
          }
        })
      },
      ({ scratch }) => ({ retryTopic: scratch }),
    ),
    [goName]: go('retry'),
  },
  targets: { 'rxmika retries: 1': [atLeast(1, { times: goName })] },
}
