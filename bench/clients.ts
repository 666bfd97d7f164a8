import { type Consumer, Kafka, logLevel } from 'kafkajs'
import { type Client, type ClientOptions, createClient } from 'rxmika'
import { Meter } from './meter.js'
import type { Task, Work } from './row.js'
import './snappy.js'

/** A kafkajs instance that logs nothing. */
export const quietKafka = (brokers: string[]) => new Kafka({ brokers, logLevel: logLevel.NOTHING })

/**
 * Consumes with kafkajs until the meter has counted all records.
 *
 * @param part The share of the records that is consumed, from 0 to 1.
 */
export function kafkajs(run: (meter: Meter) => Parameters<Consumer['run']>[0], part = 1): Work {
  return async ({ brokers, topic, group, records }) => {
    const consumer = quietKafka(brokers).consumer({ groupId: group })
    const meter = new Meter(Math.ceil(records * part))
    consumer.on(consumer.events.GROUP_JOIN, () => meter.start())
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    await consumer.run(run(meter))
    await meter.done
    await consumer.disconnect()
    return meter.measurement
  }
}

/** Consumes with this library until the meter has counted all records and all are committed. */
export function rxmika(
  attach: (client: Client, meter: Meter, task: Task) => void,
  options: (task: Task) => ClientOptions = () => ({}),
): Work {
  return async task => {
    const { brokers, group, records } = task
    const client = createClient({ brokers, group, logger: false, ...options(task) })
    const meter = new Meter(records)
    client.events.subscribe(({ type }) => type === 'assigned' && meter.start())
    attach(client, meter, task)
    client.start().subscribe(error => console.error(error))
    await meter.done
    const { drained } = await client.closeGracefully()
    if (!drained) throw new Error('some records were not settled')
    return meter.measurement
  }
}
