import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from 'rxmika'
import { quiet } from '../clients.js'
import type { Measurement, Row } from '../row.js'

/** Nothing more came for so long, ms: it stands. */
const standstill = 3_000

/** Until nothing more comes. `rate` is how many came: the work is not timed. */
async function untilItStands(seen: () => number): Promise<Measurement> {
  for (let before = -1; seen() !== before; ) {
    before = seen()
    await sleep(standstill)
  }
  return { rate: seen() }
}

export const stuck: Row = {
  title: 'records handled while the first one never is (a count, not a rate)',
  records: 200_000,
  base: 'kafkajs eachMessage, 4 partitions at once',
  contenders: {
    'kafkajs eachMessage, 4 partitions at once': async ({ brokers, topic, group }) => {
      const consumer = quiet(brokers).consumer({ groupId: group })
      let seen = 0
      await consumer.connect()
      await consumer.subscribe({ topic, fromBeginning: true })
      await consumer.run({
        partitionsConsumedConcurrently: 4,
        eachMessage: async ({ partition, message }) => {
          if (partition === 0 && message.offset === '0') await new Promise(() => {})
          seen++
        },
      })
      return untilItStands(() => seen)
    },
    rxmika: async ({ brokers, topic, group }) => {
      const client = createClient({ brokers, group, logger: false })
      let seen = 0
      client.topic(topic).subscribe(record => {
        if (record.partition === 0 && record.offset === 0n) return
        seen++
        record.ack()
      })
      client.start()
      return untilItStands(() => seen)
    },
  },
}
