// An order service. `KAFKA_BROKERS` names the brokers. `PORT` is the port for probes and metrics, 8080 by default.
//
//   GET /live      200, or 503 once an error has closed the client: restart the process
//   GET /ready     200, or 503 with the reasons: no assignment yet, or no broker answers
//   GET /metrics   for Prometheus
import { createServer } from 'node:http'
import { createClient, exponential, handle } from 'rxmika'
import { charge } from './charge.js'
import { exposition } from './exposition.js'

const client = createClient({ group: 'orders-service', retryTopic: 'orders-retry', dlqTopic: 'orders-dlq' })

client
  .topic('orders', { retries: 2, backoff: exponential({ initial: 100, max: 60_000 }), dlq: true })
  // Orders of a customer are handled one after the other, up to 16 customers at a time. A call that hangs fails after 10 s.
  .pipe(handle(record => charge(record), { order: 'key', concurrency: 16, timeout: 10_000 }))
  // If an error closes the client, the stream errors too. `closed` below reports the error and ends the process.
  .subscribe({ error: () => {} })

client.events.subscribe(event => {
  if (event.type !== 'dead-lettered') return
  const { topic, partition, offset } = event.origin ?? event
  console.log(`dead letter: ${topic}-${partition}@${offset}: ${event.reason}`)
})

const server = createServer((request, response) => {
  const { live, ready, reasons } = client.health()
  switch (request.url) {
    case '/live':
      return response.writeHead(live ? 200 : 503).end(reasons.join('\n'))
    case '/ready':
      return response.writeHead(ready ? 200 : 503).end(reasons.join('\n'))
    case '/metrics':
      return response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(exposition(client.metrics()))
    default:
      return response.writeHead(404).end()
  }
})
server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  const address = server.address()
  console.log(`listening on ${typeof address === 'object' ? address?.port : address}`)
})

client.start()

// Kubernetes sends SIGTERM and waits 30 s by default. Records in flight get 15 s to be finished and committed.
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => client.closeGracefully({ timeout: 15_000 }))
}

// The process ends when the client has closed. After an error the exit code is 1, so that it is restarted.
client.closed.then(({ drained, unsettled, error }) => {
  console.log(`closed: drained ${drained}, unsettled ${unsettled}`)
  process.exitCode = error === undefined ? 0 : 1
  server.close()
  server.closeAllConnections()
})
