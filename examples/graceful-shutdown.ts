/**
 * A service that closes gracefully: on SIGTERM it accepts no new records, finishes those in flight, commits, and leaves the group.
 *
 * Runs on the Kafka that KAFKA_BROKERS names, or else on a memory broker in this process, which it also fills.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type ConsumeRecord, createClient, handle } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'

const workTime = Number(process.env.WORK_MS ?? 500)
const closeTimeout = Number(process.env.CLOSE_TIMEOUT_MS ?? 15_000)

const broker = process.env.KAFKA_BROKERS === undefined ? memoryBroker({ partitions: 3 }) : undefined
const client = createClient({ driver: broker?.driver(), group: 'billing', logger: false })

async function charge({ value, signal }: ConsumeRecord): Promise<void> {
  console.log(`charging ${value}`)
  // The signal aborts when the partition moves to another member: then the result no longer counts.
  await sleep(workTime, undefined, { signal })
  console.log(`charged ${value}`)
}

client
  .topic('orders')
  .pipe(handle(charge, { order: 'key', concurrency: 64 }))
  .subscribe()
client.start().subscribe(error => console.error(`${error.name}: ${error.message}`))

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => {
    console.log(`${signal}: closing, within ${closeTimeout} ms`)
    client.closeGracefully({ timeout: closeTimeout })
  })
}

let published = 0
const publishing = setInterval(() => {
  const order = `order ${++published}`
  broker?.publish('orders', { key: order, value: order })
}, 20)

const { drained, unsettled } = await client.closed
clearInterval(publishing)
console.log(`closed, drained: ${drained}, unsettled: ${unsettled}`)
process.exitCode = drained ? 0 : 1
