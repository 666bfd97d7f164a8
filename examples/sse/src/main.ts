// Sends prices to browsers. Without a group, every instance reads every partition from its end, and commits nothing. A browser
// gets the prices that are published after it has connected.
//
// If a browser reads too slowly, prices pile up in memory. When more than MAX_BUFFERED bytes wait, its connection is closed, and
// the browser reconnects by itself. The topic and the other browsers never wait for it.
import { createServer, type ServerResponse } from 'node:http'
import { Subject } from 'rxjs'
import { createClient } from 'rxmika'

const maxBuffered = Number(process.env.MAX_BUFFERED ?? 64 * 1024)

const client = createClient({ startFrom: 'latest' })
const prices = new Subject<string>()

client.topic('prices').subscribe({
  next: record => {
    prices.next(`id: ${record.partition}-${record.offset}\ndata: ${record.value}\n\n`)
    // Acked at once. Without a group nothing is committed, but unsettled records would fill `maxInFlight` and stop the delivery.
    record.ack()
  },
  error: () => {},
})

const server = createServer((request, response) => {
  if (request.url !== '/prices') return response.writeHead(404).end()
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
  response.flushHeaders()
  const subscription = prices.subscribe(price => send(response, price))
  response.once('close', () => subscription.unsubscribe())
})

function send(response: ServerResponse, text: string): void {
  response.write(text)
  if (response.writableLength <= maxBuffered) return
  console.log(`a slow browser is disconnected: ${response.writableLength} bytes wait`)
  response.destroy()
}

client.state.subscribe(state => console.log(`the client is ${state}`))
client.events.subscribe(({ type }) => type === 'assigned' && console.log('a partition is assigned'))
server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  const address = server.address()
  console.log(`listening on ${typeof address === 'object' ? address?.port : address}`)
})
client.start()
process.once('SIGTERM', () => client.close())
client.closed.then(({ error }) => {
  process.exitCode = error === undefined ? 0 : 1
  server.close()
  server.closeAllConnections()
})
