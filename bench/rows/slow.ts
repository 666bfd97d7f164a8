import { handle } from 'rxmika'
import { kafkajs, rxmika } from '../clients.js'
import { go, goName } from '../go.js'
import { bytes100, type Row } from '../row.js'
import { atLeast } from '../target.js'

/** Takes 1 ms, and 100 ms for one record in a hundred. */
const work = (offset: string | bigint) =>
  new Promise(resolve => setTimeout(resolve, Number(offset) % 100 === 0 ? 100 : 1))

const batch = 'kafkajs eachBatch, Promise.all'
const message = 'kafkajs eachMessage, 4 partitions at once'
const own = 'rxmika handle, 10,000 at once'

export const slow: Row = {
  title: 'records whose handlers wait 1 ms, one in a hundred 100 ms',
  records: 400_000,
  filled: bytes100,
  figure: '1000/s',
  base: batch,
  committed: { except: [message] },
  contenders: {
    [batch]: kafkajs(meter => ({
      eachBatch: async ({ batch }) => {
        await Promise.all(
          batch.messages.map(async ({ offset, value }) => {
            await work(offset)
            meter.count(value)
          }),
        )
      },
    })),
    // One record at a time per partition is slow, so only a fortieth of the records is consumed.
    [message]: kafkajs(
      meter => ({
        partitionsConsumedConcurrently: 4,
        eachMessage: async ({ message: { offset, value } }) => {
          await work(offset)
          meter.count(value)
        },
      }),
      1 / 40,
    ),
    [own]: rxmika((client, meter, { topic }) => {
      client
        .topic(topic)
        .pipe(
          handle(
            async record => {
              await work(record.offset)
              meter.count(record.value)
            },
            { concurrency: 10_000, order: 'none' },
          ),
        )
        .subscribe()
    }),
    [goName]: go('slow'),
  },
  targets: { [own]: [atLeast(1.2, { times: batch }), atLeast(90, { times: message })] },
}
