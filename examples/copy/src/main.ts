// Reads `orders`, writes `invoices`. `handle` acks an order when `publish` emits, which is when the broker has acknowledged the
// invoice. So no invoice is missing. After a crash between the two an invoice may be there twice: the key makes it
// recognizable.
import { createClient, handle } from 'rxmika'

interface Order {
  readonly id: string
  readonly cents: number
}

const client = createClient({ group: 'invoicing', dlqTopic: 'orders-dlq' })

client
  .topic('orders', { dlq: true })
  .pipe(
    handle(
      ({ value, key, headers }) => {
        const { id, cents } = JSON.parse(String(value)) as Order
        const invoice = { order: id, total: (cents * 119) / 100 }
        // Headers go along, so that a trace goes on.
        return client.publish({ topic: 'invoices', key, value: JSON.stringify(invoice), headers })
      },
      // Publishing waits for the broker: many at a time, and those of one key in order.
      { order: 'key', concurrency: 500 },
    ),
  )
  .subscribe({ error: () => {} })

client.start()
process.once('SIGTERM', () => client.closeGracefully({ timeout: 15_000 }))
client.closed.then(({ drained, error }) => {
  console.log(`closed: drained ${drained}`)
  process.exitCode = error === undefined ? 0 : 1
})
