import { setTimeout as sleep } from 'node:timers/promises'
import { lastValueFrom } from 'rxjs'
import { createClient } from 'rxmika'
import { quietKafka } from '../clients.js'
import { go, goName } from '../go.js'
import type { Measurement, Row, Task, Work } from '../row.js'
import { atMost } from '../target.js'

const perSecond = 1_000

/** Publishes records at a steady rate, each with the current time as its value, and measures how long each takes to its handler. */
async function paced(
  { brokers, topic, records }: Task,
  take: (seen: (value: Buffer | null) => void) => void,
): Promise<Measurement> {
  const waits: number[] = []
  const done = new Promise<void>(resolve => {
    take(value => {
      waits.push(performance.now() - Number(value))
      if (waits.length === records) resolve()
    })
  })
  const publisher = createClient({ brokers, logger: false })
  await lastValueFrom(publisher.publish({ topic, value: String(performance.now()) }))
  const began = performance.now()
  for (let sent = 1; sent < records; ) {
    const due = Math.min(records, 1 + ((performance.now() - began) * perSecond) / 1_000)
    for (; sent < due; sent++) publisher.publish({ topic, value: String(performance.now()) }).subscribe()
    await sleep(1)
  }
  await done
  await publisher.close()
  waits.sort((one, other) => one - other)
  const at = (share: number) => waits[Math.floor(waits.length * share)]!
  return { 'p50, ms': at(0.5), 'p99, ms': at(0.99) }
}

const eachMessage =
  (autoCommit: boolean): Work =>
  async task => {
    const consumer = quietKafka(task.brokers).consumer({ groupId: task.group })
    await consumer.connect()
    await consumer.subscribe({ topic: task.topic, fromBeginning: true })
    const joined = new Promise(resolve => consumer.on(consumer.events.GROUP_JOIN, resolve))
    let seen: (value: Buffer | null) => void = () => {}
    await consumer.run({ autoCommit, eachMessage: async ({ message }) => seen(message.value) })
    await joined
    const measurement = await paced(task, take => {
      seen = take
    })
    await consumer.disconnect()
    return measurement
  }

export const latency: Row = {
  title: `time from publishing to the handler, at ${perSecond.toLocaleString('en')} records a second`,
  records: 10_000,
  figure: 'p50, ms',
  base: 'kafkajs eachMessage',
  committed: { except: ['kafkajs eachMessage, no commits'] },
  contenders: {
    'kafkajs eachMessage': eachMessage(true),
    'kafkajs eachMessage, no commits': eachMessage(false),
    rxmika: async task => {
      const client = createClient({ brokers: task.brokers, group: task.group, logger: false })
      let seen: (value: Buffer | null) => void = () => {}
      client.topic(task.topic).subscribe(record => {
        seen(record.value)
        record.ack()
      })
      const assigned = new Promise<void>(resolve => {
        client.events.subscribe(({ type }) => type === 'assigned' && resolve())
      })
      client.start()
      await assigned
      const measurement = await paced(task, take => {
        seen = take
      })
      await client.close()
      return measurement
    },
    // The Go program publishes with franz-go, which by default waits 10 ms for more records.
    [goName]: go('latency'),
  },
  targets: {
    rxmika: [
      atMost(0.53),
      atMost(3.4, { column: 'p99, ms' }),
      atMost(1, { times: goName }),
      atMost(1, { times: goName, column: 'p99, ms' }),
    ],
  },
}
