import { tap } from 'rxjs'
import { handle } from 'rxmika'
import { kafkajs, rxmika } from '../clients.js'
import type { Row } from '../row.js'

const handled = (order: 'none' | 'key' | 'partition') =>
  rxmika((client, meter, { topic }) => {
    client
      .topic(topic)
      .pipe(handle(async record => meter.see(record.value), { concurrency: 64, order }))
      .subscribe()
  })

export const consume: Row = {
  title: 'records consumed, values read, everything committed at the end',
  records: 1_000_000,
  base: 'kafkajs eachBatch',
  contenders: {
    'kafkajs eachBatch': kafkajs(meter => ({
      eachBatch: async ({ batch }) => {
        for (const { value } of batch.messages) meter.see(value)
      },
    })),
    'kafkajs eachBatch, no commits': kafkajs(meter => ({
      autoCommit: false,
      eachBatch: async ({ batch }) => {
        for (const { value } of batch.messages) meter.see(value)
      },
    })),
    'kafkajs eachMessage': kafkajs(meter => ({
      eachMessage: async ({ message }) => meter.see(message.value),
    })),
    'rxmika tap(ack)': rxmika((client, meter, { topic }) => {
      client
        .topic(topic)
        .pipe(
          tap(record => {
            meter.see(record.value)
            record.ack()
          }),
        )
        .subscribe()
    }),
    'rxmika tap(ack), headers read': rxmika((client, meter, { topic }) => {
      client
        .topic(topic)
        .pipe(
          tap(record => {
            record.header('header-0')
            meter.see(record.value)
            record.ack()
          }),
        )
        .subscribe()
    }),
    "rxmika handle(async), order 'none'": handled('none'),
    "rxmika handle(async), order 'key'": handled('key'),
    "rxmika handle(async), order 'partition'": handled('partition'),
  },
}
