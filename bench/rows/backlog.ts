import { setTimeout as sleep } from 'node:timers/promises'
import { createClient, handle } from 'rxmika'
import { quietKafka } from '../clients.js'
import { go, goName } from '../go.js'
import { measureMemory, seconds } from '../memory.js'
import { platformatic } from '../platformatic.js'
import { bytes100, type Row } from '../row.js'
import { atMost } from '../target.js'
import { touch } from '../touch.js'

const own = 'rxmika handle, 100 at once'
/** Growth up to this counts as none, MiB, because the moment of a garbage collection decides about it. */
const maxGrowth = 5

export const backlog: Row = {
  title: `memory while slow handlers (10 ms, 100 at once) work on a backlog for ${seconds} s`,
  records: 1_000_000,
  filled: bytes100,
  figure: 'RSS, MiB',
  base: 'kafkajs eachMessage',
  contenders: {
    'kafkajs eachMessage': async ({ brokers, topic, group }) => {
      const consumer = quietKafka(brokers).consumer({ groupId: group })
      let handled = 0
      await consumer.connect()
      await consumer.subscribe({ topic, fromBeginning: true })
      await consumer.run({
        partitionsConsumedConcurrently: 100,
        eachMessage: async ({ message }) => {
          touch(message.value)
          await sleep(10)
          handled++
        },
      })
      return measureMemory(() => handled)
    },
    [own]: async ({ brokers, topic, group }) => {
      const client = createClient({ brokers, group, logger: false })
      let handled = 0
      client
        .topic(topic)
        .pipe(
          handle(
            record => {
              touch(record.value)
              return sleep(10)
            },
            { concurrency: 100, order: 'none' },
          ),
        )
        .subscribe(() => {
          handled++
        })
      client.start()
      return measureMemory(() => handled)
    },
    [goName]: go('backlog'),
    ...platformatic('backlog'),
  },
  targets: { [own]: [atMost(120), atMost(maxGrowth, { column: 'growth, MiB' })] },
}
