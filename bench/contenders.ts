import { Kafka, logLevel } from 'kafkajs'
import { type Observable, tap } from 'rxjs'
import { type ClientOptions, type ConsumeRecord, createClient, handle } from 'rxmika'

/** What a contender is given: a topic that holds `records` records, all to be consumed from the beginning. */
export interface Task {
  readonly brokers: string[]
  readonly topic: string
  readonly group: string
  readonly records: number
}

export interface Measurement {
  /** From the first record seen to the last one, ms. */
  readonly elapsed: number
  readonly rssMiB: number
}

/** Consumes everything and reports how long that took, all positions committed where it commits at all. */
export type Contender = (task: Task) => Promise<Measurement>

/** Counts records and touches each value, as every real handler does. */
class Meter {
  #seen = 0
  #bytes = 0
  #began = 0
  #ended = 0
  #rss = 0
  readonly done: Promise<void>
  #finish!: () => void

  constructor(readonly records: number) {
    this.done = new Promise(resolve => {
      this.#finish = resolve
    })
  }

  see(value: Buffer | null): void {
    if (this.#seen === 0) this.#began = performance.now()
    this.#bytes += value?.length ?? 0
    this.#seen++
    if ((this.#seen & 0xffff) === 0) this.#rss = Math.max(this.#rss, process.memoryUsage.rss())
    if (this.#seen === this.records) {
      this.#ended = performance.now()
      this.#finish()
    }
  }

  get measurement(): Measurement {
    return { elapsed: this.#ended - this.#began, rssMiB: Math.round(this.#rss / 2 ** 20) }
  }
}

function kafkajs(run: (meter: Meter) => Parameters<ReturnType<Kafka['consumer']>['run']>[0]): Contender {
  return async ({ brokers, topic, group, records }) => {
    const consumer = new Kafka({ brokers, logLevel: logLevel.NOTHING }).consumer({ groupId: group })
    const meter = new Meter(records)
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    await consumer.run(run(meter))
    await meter.done
    await consumer.disconnect()
    return meter.measurement
  }
}

function rxmika(
  attach: (records: Observable<ConsumeRecord>, meter: Meter) => void,
  options: ClientOptions = {},
): Contender {
  return async ({ brokers, topic, group, records }) => {
    const client = createClient({ brokers, group, logger: false, ...options })
    const meter = new Meter(records)
    attach(client.topic(topic), meter)
    client.start().subscribe(error => console.error(error))
    await meter.done
    const { drained } = await client.closeGracefully()
    if (!drained) throw new Error('not everything was settled')
    return meter.measurement
  }
}

export const contenders = {
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
  'rxmika tap(ack)': rxmika((records, meter) => {
    records
      .pipe(
        tap(record => {
          meter.see(record.value)
          record.ack()
        }),
      )
      .subscribe()
  }),
  "rxmika handle(async), order 'none'": rxmika((records, meter) => {
    records.pipe(handle(async record => meter.see(record.value), { concurrency: 64, order: 'none' })).subscribe()
  }),
  "rxmika handle(async), order 'key'": rxmika((records, meter) => {
    records.pipe(handle(async record => meter.see(record.value), { concurrency: 64, order: 'key' })).subscribe()
  }),
  "rxmika handle(async), order 'partition'": rxmika((records, meter) => {
    records.pipe(handle(async record => meter.see(record.value), { concurrency: 64, order: 'partition' })).subscribe()
  }),
} satisfies Record<string, Contender>

export type ContenderName = keyof typeof contenders
