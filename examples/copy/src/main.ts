// Reads `orders` and writes `invoices`. `handle` acks an order when `publish` completes, that is, when the broker has acknowledged
// the invoice. So no invoice is lost. A crash between the two publishes an invoice twice; its `order` shows that they are the same.
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
        // The headers are copied, so that a trace continues.
        return client.publish({ topic: 'invoices', key, value: JSON.stringify(invoice), headers })
      },
      // Publishing waits for the broker, so many orders are handled at once. Orders of one key stay in order.
      { order: 'key', concurrency: 500 },
    ),
  )
  .subscribe({ error: () => {} })

client.start()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => client.closeGracefully({ timeout: 15_000 }))
}
client.closed.then(({ drained, error }) => {
  console.log(`closed: drained ${drained}`)
  process.exitCode = error === undefined ? 0 : 1
})
