import { tap } from 'rxjs'
import type { ConsumeRecord } from 'rxmika'
import { kafkajs, rxmika } from '../clients.js'
import { go, goName } from '../go.js'
import { fromFirst, type Meter } from '../meter.js'
import { platformatic } from '../platformatic.js'
import { bytes100, type Row, type Shape, type Work } from '../row.js'
import { atLeast, type Target } from '../target.js'
import { touch } from '../touch.js'

const eachBatch = kafkajs(meter => ({
  eachBatch: async ({ batch }) => {
    for (const { value } of batch.messages) meter.count(value)
  },
}))

const eachBatchNoCommits = kafkajs(meter => ({
  autoCommit: false,
  eachBatch: async ({ batch }) => {
    for (const { value } of batch.messages) meter.count(value)
  },
}))

const acked = (see: (meter: Meter, record: ConsumeRecord) => void) =>
  rxmika((client, meter, { topic }) => {
    client
      .topic(topic)
      .pipe(
        tap(record => {
          see(meter, record)
          record.ack()
        }),
      )
      .subscribe()
  })

/** The names of contenders that several rows share. */
const batch = 'kafkajs eachBatch'
const batchNoCommits = 'kafkajs eachBatch, no commits'
const tapAck = 'rxmika tap(ack)'

const contenders = {
  [batch]: eachBatch,
  [batchNoCommits]: eachBatchNoCommits,
  [tapAck]: acked((meter, record) => meter.count(record.value)),
  [goName]: go('consume'),
}

/** At least `value` times as fast as Go, by both clocks of {@link Meter}. */
const timesGo = (value: number): readonly Target[] => [
  atLeast(value, { times: goName }),
  atLeast(value, { times: goName, column: fromFirst }),
]

function row(title: string, records: number, filled: Shape, target: number, more: Partial<Row> = {}): Row {
  return {
    ...{ title: `${title}; values read, everything committed at the end`, records, filled, contenders },
    ...{ figure: '1000/s', base: batch, committed: { except: [batchNoCommits] } },
    targets: { [tapAck]: [atLeast(target, { times: batch })] },
    ...more,
  }
}

export const consume = row('records of 100 B', 1_000_000, bytes100, 2.5, {
  contenders: {
    ...contenders,
    'kafkajs eachMessage': kafkajs(meter => ({ eachMessage: async ({ message }) => meter.count(message.value) })),
    ...platformatic('consume'),
  },
  targets: {
    [tapAck]: [atLeast(2.5, { times: batch }), atLeast(1_000), ...timesGo(1.2)],
  },
})

/** A longer run: joining and the first fetch are a small part of it, and most of it runs compiled code. */
export const consume5m = row('records of 100 B', 5_000_000, bytes100, 2.5, {
  targets: { [tapAck]: [atLeast(2.5, { times: batch }), ...timesGo(1.5)] },
})

export const consume1k = row('records of 1 KiB', 400_000, { bytes: 1_024 }, 4, {
  contenders: { ...contenders, ...platformatic('consume') },
  targets: { [tapAck]: [atLeast(4, { times: batch }), ...timesGo(1.5)] },
})

const headers = Array.from({ length: 5 }, (_, at) => `header-${at}`)

export const headersUnread = row('records of 100 B with 5 headers, not read', 400_000, { bytes: 100, headers }, 6, {
  contenders: { ...contenders, ...platformatic('consume') },
  targets: { [tapAck]: [atLeast(6, { times: batch }), ...timesGo(1.5)] },
})

const allHeaders = 'rxmika tap(ack), all five'
const oneHeader = 'rxmika tap(ack), one by its name'

function touchEach(values: { readonly [name: string]: unknown }): void {
  for (const name of headers) touch(values[name] as Buffer)
}

const eachBatchRead = (autoCommit: boolean): Work =>
  kafkajs(meter => ({
    autoCommit,
    eachBatch: async ({ batch }) => {
      for (const { headers, value } of batch.messages) {
        touchEach(headers!)
        meter.count(value)
      }
    },
  }))

export const headersRead = row('records of 100 B with 5 headers, read', 400_000, { bytes: 100, headers }, 2, {
  contenders: {
    [batch]: eachBatchRead(true),
    [batchNoCommits]: eachBatchRead(false),
    [allHeaders]: acked((meter, record) => {
      touchEach(record.headers)
      meter.count(record.value)
    }),
    [oneHeader]: acked((meter, record) => {
      touch(record.header('header-0'))
      meter.count(record.value)
    }),
    [goName]: go('headers-read'),
    ...platformatic('headers-read'),
  },
  targets: { [allHeaders]: [atLeast(2, { times: batch })], [oneHeader]: [atLeast(2, { times: batch })] },
})

export const gzip = row('records of 100 B, gzip', 400_000, { bytes: 100, compression: 'gzip' }, 2)

export const snappy = row('records of 100 B, snappy', 400_000, { bytes: 100, compression: 'snappy' }, 2)
