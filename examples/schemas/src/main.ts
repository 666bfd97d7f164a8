// Two typed topics. `orders` is JSON, checked by a zod schema. `payments` is Avro, with schemas from the registry at
// SCHEMA_REGISTRY. A value that does not match goes to the DLQ topic unchanged, without retries. If the registry does not answer,
// the record is retried.
import { createClient, exponential, handle, json } from 'rxmika'
import { z } from 'zod'
import { avro } from './avro.js'

const Order = z.object({ id: z.string().min(1), cents: z.number().int().nonnegative() })

interface Payment {
  readonly order: string
  readonly cents: number
}

const client = createClient({ group: 'accounting', retryTopic: 'accounting-retry', dlqTopic: 'accounting-dlq' })

client
  .topic('orders', { decode: json(Order), tombstones: 'ack', dlq: true })
  .pipe(handle(({ value }) => console.log(`order ${value.id}: ${value.cents}`)))
  .subscribe({ error: () => {} })

client
  .topic('payments', {
    decode: avro<Payment>(process.env.SCHEMA_REGISTRY ?? 'http://localhost:8081'),
    tombstones: 'ack',
    retries: 20,
    backoff: exponential({ initial: 200, max: 60_000 }),
    dlq: true,
  })
  .pipe(handle(({ value }) => console.log(`payment for ${value.order}: ${value.cents}`)))
  .subscribe({ error: () => {} })

client.events.subscribe(event => {
  if (event.type === 'dead-lettered') console.log(`dead letter of ${(event.origin ?? event).topic}: ${event.reason}`)
  if (event.type === 'retried') console.log(`retried: ${event.reason}`)
})
client.start()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => client.closeGracefully({ timeout: 15_000 }))
}
client.closed.then(({ drained, error }) => {
  console.log(`closed: drained ${drained}`)
  process.exitCode = error === undefined ? 0 : 1
})
