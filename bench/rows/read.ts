import { type Client, createClient, type ReadRecord } from 'rxmika'
import { rxmika } from '../clients.js'
import { Meter } from '../meter.js'
import { bytes100, type Row, type Work } from '../row.js'
import { atLeast } from '../target.js'

const topicStream = 'a topic stream, tap(ack)'
const pushed = 'read'
const pulled = 'read, for await'

/** Adds the processor time of the whole process, its start included. It varies less than wall time on a busy machine. */
const withCpu =
  (work: Work): Work =>
  async task => {
    const measurement = await work(task)
    const { user, system } = process.cpuUsage()
    return { ...measurement, 'CPU, µs a record': (user + system) / task.records }
  }

/** A bounded read from the beginning to the end of the topic. */
function reading(take: (client: Client, topic: string, see: (record: ReadRecord) => void) => Promise<void>): Work {
  return withCpu(async ({ brokers, topic, records }) => {
    const client = createClient({ brokers, logger: false })
    const meter = new Meter(records)
    meter.start()
    let seen = 0
    await take(client, topic, ({ value }) => {
      seen++
      meter.count(value)
    })
    if (seen !== records) throw new Error(`it ended after ${seen} of ${records} records`)
    await meter.done
    await client.close()
    return meter.measurement
  })
}

export const read: Row = {
  title: 'a topic of records of 100 B, read from its beginning to its end; values read',
  records: 1_000_000,
  filled: bytes100,
  contenders: {
    [topicStream]: withCpu(
      rxmika((client, meter, { topic }) => {
        client.topic(topic).subscribe(record => {
          meter.count(record.value)
          record.ack()
        })
      }),
    ),
    [pushed]: reading(
      (client, topic, see) =>
        new Promise((complete, error) => client.read(topic).subscribe({ next: see, error, complete })),
    ),
    [pulled]: reading(async (client, topic, see) => {
      for await (const record of client.read(topic)) see(record)
    }),
  },
  figure: '1000/s',
  base: topicStream,
  targets: { [pushed]: [atLeast(0.9, { times: topicStream })] },
}
