import { tap } from 'rxjs'
import { createClient } from 'rxmika'

// A whole client in its own process, which must print nothing on stderr and end by itself. It acks every record, publishes ten
// times a second, and closes on a message.

interface Task {
  readonly brokers: readonly string[]
  readonly group: string
  readonly topic: string
  readonly retryTopic: string
}

// Reports timers that are negative or too long. Node 24 warns of negative ones, Node 20 does not.
const setTimer = globalThis.setTimeout
globalThis.setTimeout = Object.assign((work: () => void, ms?: number, ...rest: []) => {
  if (ms !== undefined && !(ms >= 0 && ms < 2 ** 31)) console.error(new Error(`a timer of ${ms} ms`).stack)
  return setTimer(work, ms, ...rest)
}, setTimer) as typeof setTimeout

const { brokers, group, topic, retryTopic }: Task = JSON.parse(process.argv[2]!)
const client = createClient({
  env: {},
  logger: false,
  brokers,
  group,
  retryTopic,
  commitInterval: 10,
  heartbeatInterval: 200,
})
client
  .topic(topic, { retries: 1 })
  .pipe(tap(record => (record.attempt === 1 && record.partition === 0 ? record.fail(new Error('once')) : record.ack())))
  .subscribe({ error: () => {} })
client.events.subscribe(event => process.send!({ event: event.type, ...('topic' in event && { topic: event.topic }) }))
client.errors.subscribe(({ code }) => process.send!({ error: code }))
client.start()

const publishing = setInterval(() => {
  // Time-outs during the outage are expected.
  for (const partition of [0, 1]) {
    client.publish({ topic, partition, value: 'x' }, { timeout: 2_000 }).subscribe({ error: () => {} })
  }
}, 100)

process.on('message', () => {
  clearInterval(publishing)
  client.close()
})
process.channel!.unref()
process.send!({ closed: await client.closed })
