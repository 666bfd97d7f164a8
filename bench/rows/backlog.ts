import { setTimeout as sleep } from 'node:timers/promises'
import { createClient, handle } from 'rxmika'
import { quiet } from '../clients.js'
import { median } from '../median.js'
import type { Measurement, Row } from '../row.js'

/** How long each contender works on the backlog, s. */
const seconds = 20

/** Looks at the memory ten times a second while something runs; `growth` is from the second quarter to the last. */
async function watched(handled: () => number): Promise<Measurement> {
  const rss: number[] = []
  const began = performance.now()
  while (performance.now() - began < seconds * 1_000) {
    await sleep(100)
    rss.push(process.memoryUsage.rss() / 2 ** 20)
  }
  const quarter = Math.floor(rss.length / 4)
  const growth = median(rss.slice(3 * quarter)) - median(rss.slice(quarter, 2 * quarter))
  return { rate: handled() / seconds, 'RSS, MiB': Math.max(...rss), 'growth, MiB': growth }
}

export const backlog: Row = {
  title: `memory while slow handlers (10 ms, 100 at once) work on a backlog, for ${seconds} s`,
  records: 2_000_000,
  base: 'kafkajs eachMessage',
  contenders: {
    'kafkajs eachMessage': async ({ brokers, topic, group }) => {
      const consumer = quiet(brokers).consumer({ groupId: group })
      let handled = 0
      await consumer.connect()
      await consumer.subscribe({ topic, fromBeginning: true })
      await consumer.run({
        partitionsConsumedConcurrently: 100,
        eachMessage: async () => {
          await sleep(10)
          handled++
        },
      })
      return watched(() => handled)
    },
    'rxmika handle, 100 at once': async ({ brokers, topic, group }) => {
      const client = createClient({ brokers, group, logger: false })
      let handled = 0
      client
        .topic(topic)
        .pipe(handle(() => sleep(10), { concurrency: 100, order: 'none' }))
        .subscribe(() => {
          handled++
        })
      client.start()
      return watched(() => handled)
    },
  },
}
