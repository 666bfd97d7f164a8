import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from 'rxmika'
import { quietKafka } from '../clients.js'
import { partitions } from '../fill.js'
import { go, goName } from '../go.js'
import { bytes100, type Measurement, type Row } from '../row.js'
import { atLeast } from '../target.js'
import { touch } from '../touch.js'

/** After this time without a record, delivery counts as stopped, ms. */
const standstill = 3_000
/** The default of `maxInFlight`, which includes the stuck record. */
const maxInFlight = 10_000

/** Counts handled records, on the partition of the stuck record (0) and on the other partitions. */
class HandledCounts {
  #own = 0
  #others = 0

  constructor(readonly records: number) {}

  see(partition: number, value: Buffer | null): void {
    touch(value)
    if (partition === 0) this.#own++
    else this.#others++
  }

  /** Resolves once delivery has stopped. */
  async measurement(): Promise<Measurement> {
    for (let before = -1; this.#own + this.#others !== before; ) {
      before = this.#own + this.#others
      await sleep(standstill)
    }
    return {
      'other partitions, %': (100 * this.#others) / (this.records * (1 - 1 / partitions)),
      'own partition': this.#own,
      'all partitions': this.#others + this.#own,
    }
  }
}

export const stuck: Row = {
  title: 'records handled while the handler of one record never returns: on other partitions, and on that record’s own',
  records: 200_000,
  filled: bytes100,
  figure: 'other partitions, %',
  base: 'kafkajs eachMessage, 4 partitions at once',
  contenders: {
    'kafkajs eachMessage, 4 partitions at once': async ({ brokers, topic, group, records }) => {
      const consumer = quietKafka(brokers).consumer({ groupId: group })
      const handled = new HandledCounts(records)
      await consumer.connect()
      await consumer.subscribe({ topic, fromBeginning: true })
      await consumer.run({
        partitionsConsumedConcurrently: 4,
        eachMessage: async ({ partition, message: { offset, value } }) => {
          if (partition === 0 && offset === '0') await new Promise(() => {})
          handled.see(partition, value)
        },
      })
      return handled.measurement()
    },
    rxmika: async ({ brokers, topic, group, records }) => {
      const client = createClient({ brokers, group, logger: false })
      const handled = new HandledCounts(records)
      client.topic(topic).subscribe(record => {
        if (record.partition === 0 && record.offset === 0n) return
        handled.see(record.partition, record.value)
        record.ack()
      })
      client.start()
      return handled.measurement()
    },
    [goName]: go('stuck'),
  },
  targets: { rxmika: [atLeast(100), atLeast(maxInFlight - 1, { column: 'own partition' })] },
}
