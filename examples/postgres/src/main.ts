// Stores each record of `orders` exactly once in PostgreSQL. `DATABASE_URL` names the database, `KAFKA_BROKERS` the brokers.
//
// Kill it at any moment, with `kill -9` too, and start it again: every record has one row, in the order of its partition.
// `INSTANCE`, another name for each process, makes it a static member: started again, it has its partitions at once.
import pg from 'pg'
import { createClient, handle } from 'rxmika'
import { DatabaseSink } from './database-sink.js'

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 8 })
// An idle connection that breaks is replaced by the next statement.
pool.on('error', error => console.error(`PostgreSQL: ${error.message}`))
const sink = new DatabaseSink(pool)
await sink.createTables()

const client = createClient({
  group: 'orders-sink',
  instanceId: process.env.INSTANCE,
  // Reading begins where the database says.
  positions: sink.positions,
})
client
  .topic('orders')
  // One record of a partition at a time: the next one moves the position past this one.
  .pipe(handle(sink.store, { order: 'partition', concurrency: 64 }))
  .subscribe({ error: () => {} })
client.start()

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => client.closeGracefully({ timeout: 15_000 }))
}
const { drained, error } = await client.closed
console.log(`closed: drained ${drained}`)
process.exitCode = error === undefined ? 0 : 1
await pool.end()
