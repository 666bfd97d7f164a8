import { handle } from 'rxmika'
import { kafkajs, rxmika } from '../clients.js'
import { go, goName } from '../go.js'
import { fromFirst } from '../meter.js'
import { bytes100, type Row } from '../row.js'
import { atLeast } from '../target.js'

const base = 'kafkajs eachMessage'

const handled = (order: 'none' | 'key' | 'partition') =>
  rxmika((client, meter, { topic }) => {
    client
      .topic(topic)
      .pipe(handle(async record => meter.count(record.value), { concurrency: 64, order }))
      .subscribe()
  })

export const handling: Row = {
  title: 'records of 100 B, an async handler per record, 64 at once; everything committed at the end',
  records: 1_000_000,
  filled: bytes100,
  figure: '1000/s',
  base,
  committed: { except: [] },
  contenders: {
    [base]: kafkajs(meter => ({ eachMessage: async ({ message }) => meter.count(message.value) })),
    "rxmika handle, order 'none'": handled('none'),
    "rxmika handle, order 'key'": handled('key'),
    "rxmika handle, order 'partition'": handled('partition'),
    // Go's handler is a plain function without concurrency, like the one of `tap(ack)`.
    [goName]: go('consume'),
  },
  targets: {
    "rxmika handle, order 'none'": [
      atLeast(2, { times: base }),
      atLeast(0.9, { times: goName }),
      atLeast(0.9, { times: goName, column: fromFirst }),
    ],
    "rxmika handle, order 'key'": [atLeast(1.5, { times: base })],
    "rxmika handle, order 'partition'": [atLeast(1.5, { times: base })],
  },
}
