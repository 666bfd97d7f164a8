import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from 'rxmika'
import { quietKafka } from '../clients.js'
import { bytes100, type Row } from '../row.js'
import { atMost } from '../target.js'
import { touch } from '../touch.js'

/** Wait after the last record, ms, so that everything is committed and nothing is in flight at the close. */
const idle = 1_000

/** Resolves when the first record has arrived, and when all have. */
class Arrivals {
  #left: number
  #resolveFirst!: () => void
  #resolveAll!: () => void
  readonly first = new Promise<void>(resolve => {
    this.#resolveFirst = resolve
  })
  readonly all = new Promise<void>(resolve => {
    this.#resolveAll = resolve
  })

  constructor(records: number) {
    this.#left = records
  }

  see(value: Buffer | null): void {
    touch(value)
    this.#resolveFirst()
    if (--this.#left === 0) this.#resolveAll()
  }
}

async function timed(action: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await action()
  return performance.now() - began
}

const base = 'kafkajs eachMessage'

export const start: Row = {
  title: 'time from the start of a new group to its first record, and to close it while nothing is in flight',
  records: 1_000,
  filled: bytes100,
  figure: 'start, ms',
  base,
  committed: { except: [] },
  contenders: {
    [base]: async ({ brokers, topic, group, records }) => {
      const arrivals = new Arrivals(records)
      const consumer = quietKafka(brokers).consumer({ groupId: group })
      const started = await timed(async () => {
        await consumer.connect()
        await consumer.subscribe({ topic, fromBeginning: true })
        await consumer.run({ eachMessage: async ({ message }) => arrivals.see(message.value) })
        await arrivals.first
      })
      await arrivals.all
      await sleep(idle)
      return { 'start, ms': started, 'close, ms': await timed(() => consumer.disconnect()) }
    },
    rxmika: async ({ brokers, topic, group, records }) => {
      const arrivals = new Arrivals(records)
      const client = createClient({ brokers, group, logger: false })
      client.topic(topic).subscribe(record => {
        arrivals.see(record.value)
        record.ack()
      })
      const started = await timed(() => {
        client.start()
        return arrivals.first
      })
      await arrivals.all
      await sleep(idle)
      return { 'start, ms': started, 'close, ms': await timed(() => client.closeGracefully()) }
    },
  },
  targets: { rxmika: [atMost(45), atMost(1, { times: base }), atMost(200, { column: 'close, ms', over: base })] },
}
