// Stores each record of `orders` exactly once in PostgreSQL. `DATABASE_URL` names the database, `KAFKA_BROKERS` the brokers.
//
// Kill it at any moment, even with `kill -9`, and start it again: every record has one row, in the order of its partition.
// `INSTANCE` makes the process a static member, which gets its partitions at once after a restart. Each process needs its own name.
import pg from 'pg'
import { createClient, handle } from 'rxmika'
import { DatabaseSink } from './database-sink.js'

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 8 })
// Reported if an idle connection breaks. The next statement opens another one.
pool.on('error', error => console.error(`PostgreSQL: ${error.message}`))
const sink = new DatabaseSink(pool)
await sink.createTables()

const client = createClient({
  group: 'orders-sink',
  instanceId: process.env.INSTANCE,
  // Reading begins at the positions in the database.
  positions: sink.positions,
})
client
  .topic('orders')
  // One record of a partition at a time, because the next record moves the position past this one.
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
