import { Pool, type PoolConfig } from 'pg'
import { type ClientOptions, createClient, handle } from 'rxmika'
import { DatabaseSink } from '../../examples/postgres/src/database-sink'
import '../strict'

// A member that stores records exactly once, in its own process. It is killed, frozen, or closed by a message.

export interface SinkTask {
  readonly topic: string
  readonly options: Pick<ClientOptions, 'brokers' | 'group' | 'sessionTimeout' | 'heartbeatInterval' | 'groupProtocol'>
  readonly postgres: PoolConfig
}

const { topic, options, postgres }: SinkTask = JSON.parse(process.argv[2]!)
const pool = new Pool({ ...postgres, max: 8 })
// Idle connections of the pool break when the server ends. The next statement opens another one.
pool.on('error', () => {})
const sink = new DatabaseSink(pool, 100)
const client = createClient({
  ...{ env: {}, logger: false, commitInterval: 20, rebalanceTimeout: 3_000, positions: sink.positions, ...options },
})
client
  .topic(topic)
  .pipe(handle(sink.store, { order: 'partition', concurrency: 64 }))
  .subscribe({ error: () => {} })
client.start().subscribe(error => process.send!({ error: error.name, message: error.message }))
client.events.subscribe(event => {
  if (event.type === 'state') process.send!({ state: event.state })
})
async function end(): Promise<void> {
  await client.closeGracefully({ timeout: 10_000 })
  await pool.end()
  process.disconnect()
}
process.once('message', () => {
  end().catch(error => {
    throw error
  })
})
