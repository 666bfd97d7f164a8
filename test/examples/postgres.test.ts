import { Pool } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type PostgresServer, startPostgres } from '../kafka/postgres-server'
import { Running } from './running'

/** The database that `DATABASE_URL` names, or one that is started here. */
let url = process.env.DATABASE_URL
let server: PostgresServer | undefined
let pool: Pool

beforeAll(async () => {
  if (url === undefined) {
    server = await startPostgres()
    const { user, host, port, database } = server.connection
    url = `postgres://${user}@${host}:${port}/${database}`
  }
  pool = new Pool({ connectionString: url, max: 2 })
})
afterAll(async () => {
  await pool?.end()
  await server?.stop()
})

describe('a sink in PostgreSQL', () => {
  const example = Running.of('postgres')

  it('has each record once and in order, although it is killed while it stores them', async () => {
    await example.topics('orders')
    await pool.query('DROP TABLE IF EXISTS orders, positions')
    const stored = async () => {
      const { rows } = await pool.query<{ value: string }>('SELECT value FROM orders ORDER BY record')
      return rows.map(({ value }) => value)
    }
    const isStored = async (count: number) => {
      const { rows } = await pool.query<{ there: boolean }>("SELECT to_regclass('orders') IS NOT NULL AS there")
      return rows[0]!.there && (await stored()).length >= count
    }
    const values = Array.from({ length: 3_000 }, (_, at) => `order ${at}`)
    await example.publish('orders', ...values.map(value => ({ value })))

    const killed = example.start({ DATABASE_URL: url!, INSTANCE: 'one' })
    await expect.poll(() => isStored(100), { timeout: 30_000, interval: 5 }).toBe(true)
    killed.kill('SIGKILL')
    expect(await killed.exitCode()).toBe(null)
    const before = (await stored()).length
    expect(before).toBeLessThan(values.length)

    const program = example.start({ DATABASE_URL: url!, INSTANCE: 'one' })
    await expect.poll(() => isStored(values.length), { timeout: 60_000 }).toBe(true)
    program.kill('SIGTERM')
    expect(await program.exitCode(), program.output).toBe(0)
    expect(program.output).toContain('closed: drained true')
    expect(await stored()).toEqual(values)
  }, 120_000)
})
