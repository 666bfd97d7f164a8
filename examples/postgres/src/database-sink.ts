/**
 * Stores each record of a topic exactly once in PostgreSQL: the row and the position after it in one statement, and the
 * positions as the option `positions` of the client. See docs/database-sinks.md in the repository of rxmika.
 *
 *     const sink = new DatabaseSink(new Pool())
 *     const client = createClient({ group: 'billing', positions: sink.positions })
 *     client.topic('orders').pipe(handle(sink.store, { order: 'partition', concurrency: 64 })).subscribe()
 */
import type { Pool } from 'pg'
import { defer, type Observable, retry, timer } from 'rxjs'
import type { AssignedPartition, ConsumeRecord, KeptPosition } from 'rxmika'

export class DatabaseSink {
  /** @param again How long to wait before a statement that failed is tried again, ms. */
  constructor(
    readonly pool: Pool,
    readonly again = 1_000,
  ) {}

  async createTables(): Promise<void> {
    await this.pool.query(`
      CREATE TABLE IF NOT EXISTS positions (
        topic text, partition int, next bigint NOT NULL, PRIMARY KEY (topic, partition));
      CREATE TABLE IF NOT EXISTS orders (topic text, partition int, record bigint, key text, value text)`)
  }

  /** The option `positions`. While it rejects, nothing of these partitions is read. */
  readonly positions = async (assigned: readonly AssignedPartition[]): Promise<readonly KeptPosition[]> => {
    const { rows } = await this.pool.query<{ topic: string; partition: number; next: string }>(
      `SELECT topic, partition, next FROM positions
         JOIN unnest($1::text[], $2::int[]) AS assigned(topic, partition) USING (topic, partition)`,
      [assigned.map(({ topic }) => topic), assigned.map(({ partition }) => partition)],
    )
    return rows.map(({ topic, partition, next }) => ({ topic, partition, offset: BigInt(next) }))
  }

  /**
   * A handler for `order: 'partition'`. One statement, and so one transaction: the position moves on only if it has not passed
   * this record, and the row is written only if the position moved. So a record that was stored before, by this member or by
   * whoever had the partition, is stored by nobody again.
   *
   * It tries again until the database takes the record: were it given up, the next one would pass its position over it.
   */
  readonly store = ({ source, key, value }: ConsumeRecord): Observable<unknown> => {
    const { topic, partition, offset } = source
    return defer(() =>
      this.pool.query(
        `WITH moved AS (
           INSERT INTO positions AS p (topic, partition, next) VALUES ($1, $2, $3::bigint + 1)
           ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next WHERE p.next < excluded.next
           RETURNING 1)
         INSERT INTO orders (topic, partition, record, key, value) SELECT $1, $2, $3, $4, $5 FROM moved`,
        [topic, partition, String(offset), key?.toString(), value?.toString()],
      ),
    ).pipe(retry({ delay: () => timer(this.again) }))
  }
}
