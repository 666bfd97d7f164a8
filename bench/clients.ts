import { type Consumer, Kafka, logLevel } from 'kafkajs'
import { type Client, type ClientOptions, createClient } from 'rxmika'
import { Meter } from './meter.js'
import type { Task, Work } from './row.js'
import './snappy.js'

export const quiet = (brokers: string[]) => new Kafka({ brokers, logLevel: logLevel.NOTHING })

/** A kafkajs consumer of the task's topic, until the meter has seen everything, or so large a part of it. */
export function kafkajs(run: (meter: Meter) => Parameters<Consumer['run']>[0], part = 1): Work {
  return async ({ brokers, topic, group, records }) => {
    const consumer = quiet(brokers).consumer({ groupId: group })
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

/** A client of this library, until the meter has seen everything and all of it is committed. */
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
    if (!drained) throw new Error('not everything was settled')
    return meter.measurement
  }
}
