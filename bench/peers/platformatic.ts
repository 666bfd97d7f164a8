// @platformatic/kafka in its fast configuration: values as buffers, `data` events, offsets committed at an interval.
import { setTimeout as sleep } from 'node:timers/promises'
import { measureMemory } from '../memory.js'
import { Meter } from '../meter.js'
import type { Measurement, Task } from '../row.js'
import { touch } from '../touch.js'

interface Message {
  readonly value: Buffer | null
  readonly headers: ReadonlyMap<unknown, unknown>
}

interface Consumer {
  consume(options: object): Promise<AsyncIterable<Message> & NodeJS.ReadableStream & { close(): Promise<void> }>
  on(event: string, listener: () => void): void
  close(): Promise<void>
}

const [name, row, argument] = process.argv.slice(2) as [string, string, string]
const task: Task = JSON.parse(argument)
const { Consumer }: { Consumer: new (options: object) => Consumer } = await import(name)

async function open(joined = () => {}) {
  const consumer = new Consumer({ groupId: task.group, clientId: 'bench', bootstrapBrokers: task.brokers })
  consumer.on('consumer:group:join', joined)
  const stream = await consumer.consume({
    topics: [task.topic],
    // Starts at the committed offset, or at the beginning if there is none. Commits as often as rxmika does.
    ...{ mode: 'committed', fallbackMode: 'earliest', autocommit: 100 },
  })
  return { consumer, stream }
}

async function consume(see: (meter: Meter, message: Message) => void): Promise<Measurement> {
  const meter = new Meter(task.records)
  const { consumer, stream } = await open(() => meter.start())
  stream.on('data', message => see(meter, message as unknown as Message))
  await meter.done
  await stream.close()
  await consumer.close()
  return meter.measurement
}

/** 100 concurrent handlers of 10 ms each, on one iterator. */
async function backlog(): Promise<Measurement> {
  const { stream } = await open()
  const messages = stream[Symbol.asyncIterator]()
  let handled = 0
  const worker = async () => {
    for (;;) {
      const { value, done } = await messages.next()
      if (done) return
      touch(value.value)
      await sleep(10)
      handled++
    }
  }
  const workers = Promise.all(Array.from({ length: 100 }, worker))
  // The workers run until the process ends. If they end earlier, the stream has ended, which is an error.
  return Promise.race([
    measureMemory(() => handled),
    workers.then((): never => {
      throw new Error('the stream ended')
    }),
  ])
}

const works: { readonly [row: string]: () => Promise<Measurement> } = {
  consume: () => consume((meter, { value }) => meter.count(value)),
  'headers-read': () =>
    consume((meter, { headers, value }) => {
      for (const header of headers.values()) touch(header as Buffer)
      meter.count(value)
    }),
  backlog,
}
process.stdout.write(`${JSON.stringify(await works[row]!())}\n`)
process.exit(0)
