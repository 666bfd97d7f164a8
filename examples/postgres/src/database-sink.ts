/**
 * Stores each record of a topic exactly once in PostgreSQL. One statement writes the row and the position after it, and the
 * client reads the positions by its option `positions`. See docs/database-sinks.md in the repository of rxmika.
 *
 *     const sink = new DatabaseSink(new Pool())
 *     const client = createClient({ group: 'billing', positions: sink.positions })
 *     client.topic('orders').pipe(handle(sink.store, { order: 'partition', concurrency: 64 })).subscribe()
 */
import type { Pool } from 'pg'
import { defer, type Observable, retry, timer } from 'rxjs'
import type { AssignedPartition, ConsumeRecord, KeptPosition } from 'rxmika'

export class DatabaseSink {
  /** @param retryDelay How long to wait before a failed statement is repeated, ms. */
  constructor(
    readonly pool: Pool,
    readonly retryDelay = 1_000,
  ) {}

  async createTables(): Promise<void> {
    await this.pool.query(`
      CREATE TABLE IF NOT EXISTS positions (
        topic text, partition int, next bigint NOT NULL, PRIMARY KEY (topic, partition));
      CREATE TABLE IF NOT EXISTS orders (topic text, partition int, record bigint, key text, value text)`)
  }

  /** The client's option `positions`. If it rejects, these partitions are not read, and the client calls it again. */
  readonly positions = async (assigned: readonly AssignedPartition[]): Promise<readonly KeptPosition[]> => {
    const { rows } = await this.pool.query<{ topic: string; partition: number; next: string }>(
      `SELECT topic, partition, next FROM positions
         JOIN unnest($1::text[], $2::int[]) AS assigned(topic, partition) USING (topic, partition)`,
      [assigned.map(({ topic }) => topic), assigned.map(({ partition }) => partition)],
    )
    return rows.map(({ topic, partition, next }) => ({ topic, partition, offset: BigInt(next) }))
  }

  /**
   * A handler for `order: 'partition'`. Its one statement is one transaction. The position moves only if it is not yet past this
   * record, and the row is written only if the position moved. So a record is not stored again if this member or a former owner
   * of the partition has already stored it.
   *
   * It retries until the database accepts the record. If it gave up, the next record would move the position past this one.
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
    ).pipe(retry({ delay: () => timer(this.retryDelay) }))
  }
}
