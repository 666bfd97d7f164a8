import { lastValueFrom } from 'rxjs'
import { createClient } from 'rxmika'
import { quietKafka } from '../clients.js'
import { Meter } from '../meter.js'
import type { Row } from '../row.js'
import { atLeast } from '../target.js'

const value = Buffer.alloc(100, 'x')
const base = 'kafkajs send, 1,000 a batch, 4 under way'
const own = 'rxmika publish, 10,000 callers of one record'
const arrays = 'rxmika publish, arrays of 1,000, 4 under way'

export const publish: Row = {
  title: 'records of 100 B published and acknowledged',
  records: 400_000,
  figure: '1000/s',
  base,
  contenders: {
    [base]: async ({ brokers, scratch, records }) => {
      const producer = quietKafka(brokers).producer()
      await producer.connect()
      const meter = new Meter(records)
      meter.start()
      let sent = 0
      const sender = async () => {
        while (sent < records) {
          const messages = Array.from({ length: 1_000 }, (_, at) => ({ key: String(sent + at), value }))
          sent += messages.length
          await producer.send({ topic: scratch, messages })
          for (const message of messages) meter.count(message.value)
        }
      }
      await Promise.all(Array.from({ length: 4 }, sender))
      await producer.disconnect()
      return meter.measurement
    },
    [own]: async ({ brokers, scratch, records }) => {
      const client = createClient({ brokers, logger: false })
      const meter = new Meter(records)
      await lastValueFrom(client.publish({ topic: scratch, value: null }))
      meter.start()
      let sent = 0
      const caller = async () => {
        while (sent < records) {
          await lastValueFrom(client.publish({ topic: scratch, key: String(sent++), value }))
          meter.count(value)
        }
      }
      await Promise.all(Array.from({ length: 10_000 }, caller))
      await client.close()
      return meter.measurement
    },
    // The same batches as kafkajs.
    [arrays]: async ({ brokers, scratch, records }) => {
      const client = createClient({ brokers, logger: false })
      const meter = new Meter(records)
      await lastValueFrom(client.publish({ topic: scratch, value: null }))
      meter.start()
      let sent = 0
      const sender = async () => {
        while (sent < records) {
          const first = sent
          sent += 1_000
          const messages = Array.from({ length: 1_000 }, (_, at) => ({
            topic: scratch,
            key: String(first + at),
            value,
          }))
          await lastValueFrom(client.publish(messages))
          for (const message of messages) meter.count(message.value)
        }
      }
      await Promise.all(Array.from({ length: 4 }, sender))
      await client.close()
      return meter.measurement
    },
  },
  targets: { [own]: [atLeast(0.9, { times: base })], [arrays]: [atLeast(4, { times: base })] },
}
