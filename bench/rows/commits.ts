import { tap } from 'rxjs'
import { handle } from 'rxmika'
import { kafkajs, rxmika } from '../clients.js'
import { CommitRequests } from '../commit-requests.js'
import { bytes100, type Row, type Work } from '../row.js'
import { atMost } from '../target.js'

/** One request per `commitInterval`, which defaults to 100 ms. */
const maxPerSecond = 1_000 / 100

const counted =
  (work: Work): Work =>
  async task => {
    const requests = new CommitRequests()
    const measurement = await work(task)
    return { 'commits/s': requests.perSecond, commits: requests.count, '1000/s': measurement['1000/s']! }
  }

export const commits: Row = {
  title: 'commit requests a second while records of 100 B are consumed at full speed',
  records: 5_000_000,
  filled: bytes100,
  figure: 'commits/s',
  base: 'kafkajs eachBatch',
  committed: { except: [] },
  contenders: {
    'kafkajs eachBatch': counted(
      kafkajs(meter => ({
        eachBatch: async ({ batch }) => {
          for (const { value } of batch.messages) meter.count(value)
        },
      })),
    ),
    'rxmika tap(ack)': counted(
      rxmika((client, meter, { topic }) => {
        client
          .topic(topic)
          .pipe(
            tap(record => {
              meter.count(record.value)
              record.ack()
            }),
          )
          .subscribe()
      }),
    ),
    "rxmika handle, order 'none'": counted(
      rxmika((client, meter, { topic }) => {
        client
          .topic(topic)
          .pipe(handle(async record => meter.count(record.value), { concurrency: 64, order: 'none' }))
          .subscribe()
      }),
    ),
  },
  targets: {
    'rxmika tap(ack)': [atMost(maxPerSecond)],
    "rxmika handle, order 'none'": [atMost(maxPerSecond)],
  },
}
