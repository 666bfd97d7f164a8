import { type Consumer, Kafka, logLevel } from 'kafkajs'
import { type Client, type ClientOptions, createClient } from 'rxmika'
import { Meter } from './meter.js'
import type { Contender, Task } from './row.js'

export const quiet = (brokers: string[]) => new Kafka({ brokers, logLevel: logLevel.NOTHING })

/** A kafkajs consumer of the task's topic, until the meter has seen everything. */
export function kafkajs(run: (meter: Meter, consumer: Consumer) => Parameters<Consumer['run']>[0]): Contender {
  return async ({ brokers, topic, group, records }) => {
    const consumer = quiet(brokers).consumer({ groupId: group })
    const meter = new Meter(records)
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    await consumer.run(run(meter, consumer))
    await meter.done
    await consumer.disconnect()
    return meter.measurement
  }
}

/** A client of this library, until the meter has seen everything and all of it is committed. */
export function rxmika(
  attach: (client: Client, meter: Meter, task: Task) => void,
  options: (task: Task) => ClientOptions = () => ({}),
): Contender {
  return async task => {
    const { brokers, group, records } = task
    const client = createClient({ brokers, group, logger: false, ...options(task) })
    const meter = new Meter(records)
    attach(client, meter, task)
    client.start().subscribe(error => console.error(error))
    await meter.done
    const { drained } = await client.closeGracefully()
    if (!drained) throw new Error('not everything was settled')
    return meter.measurement
  }
}
