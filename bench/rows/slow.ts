import { handle } from 'rxmika'
import { kafkajs, rxmika } from '../clients.js'
import type { Row } from '../row.js'

/** 1 ms, and for one record in a hundred 100 ms. */
const work = (offset: string | bigint) =>
  new Promise(resolve => setTimeout(resolve, Number(offset) % 100 === 0 ? 100 : 1))

export const slow: Row = {
  title: 'records whose handlers wait 1 ms, one in a hundred 100 ms',
  records: 400_000,
  base: 'kafkajs eachBatch, Promise.all',
  contenders: {
    'kafkajs eachBatch, Promise.all': kafkajs(meter => ({
      eachBatch: async ({ batch }) => {
        await Promise.all(
          batch.messages.map(async ({ offset, value }) => {
            await work(offset)
            meter.see(value)
          }),
        )
      },
    })),
    'rxmika handle, 10,000 at once': rxmika((client, meter, { topic }) => {
      client
        .topic(topic)
        .pipe(
          handle(
            async record => {
              await work(record.offset)
              meter.see(record.value)
            },
            { concurrency: 10_000, order: 'none' },
          ),
        )
        .subscribe()
    }),
  },
}
