import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Pool } from 'pg'
import { lastValueFrom } from 'rxjs'
import { createClient } from 'rxmika'
import { afterAll, beforeAll, expect, onTestFinished, vi } from 'vitest'
import { DatabaseSink } from '../../examples/postgres/src/database-sink'
import { spawnStrictly } from '../strict-process'
import { describeOwnKafka } from './describe-kafka'
import { ownKafka } from './own-kafka'
import { type PostgresServer, startPostgres } from './postgres-server'
import type { SinkTask } from './sink-program'

// A run of kills and rebalances, each of which waits for a session to end.
vi.setConfig({ testTimeout: 300_000 })

const partitions = 6
const script = fileURLToPath(new URL('./sink-program.ts', import.meta.url))

describeOwnKafka('a database that stores the positions with the rows', () => {
  const own = ownKafka({
    config: {
      'group.min.session.timeout.ms': 500,
      'group.consumer.min.session.timeout.ms': 500,
      'group.consumer.session.timeout.ms': 1_500,
      'group.consumer.min.heartbeat.interval.ms': 100,
      'group.consumer.heartbeat.interval.ms': 200,
    },
  })
  let postgres: PostgresServer
  let pool: Pool
  beforeAll(async () => {
    postgres = await startPostgres()
    pool = new Pool({ ...postgres.connection, max: 2 })
    pool.on('error', () => {})
  })
  afterAll(async () => {
    await pool?.end()
    await postgres?.stop()
  })

  /** A member in its own process, which is killed at the test's end. */
  class Member {
    frozen = false
    readonly #strict

    constructor(task: SinkTask) {
      this.#strict = spawnStrictly(script, [JSON.stringify(task)], { stdio: ['ignore', 'inherit', 'pipe', 'ipc'] })
      onTestFinished(() => void this.signal('SIGKILL'))
    }

    signal(signal: NodeJS.Signals): void {
      this.frozen = signal === 'SIGSTOP'
      this.#strict.process.kill(signal)
    }

    async kill(): Promise<void> {
      this.signal('SIGKILL')
      await this.#strict.exited
    }

    async close(): Promise<void> {
      this.#strict.process.send('close')
      await this.#strict.exited
    }
  }

  const draws = (seed: number) => () => {
    // A linear congruential generator, so that a failed run can be repeated by its seed.
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31
    return seed / 2 ** 31
  }

  for (const [groupProtocol, seed] of [
    ['classic', 20_261_128],
    ['consumer', 20_261_129],
  ] as const) {
    own.scenario(
      `has every record once, whatever happens to the members and the database (${groupProtocol} protocol)`,
      async world => {
        const topic = await world.topic('orders', partitions)
        const random = draws(seed)
        await new DatabaseSink(pool).createTables()
        const options = { brokers: own.server.brokers, group: world.name('sink'), groupProtocol }
        const times = { sessionTimeout: 1_500, heartbeatInterval: 200 }
        const task: SinkTask = { topic, options: { ...options, ...times }, postgres: postgres.connection }
        const stored = async () => {
          const { rows } = await pool.query<{ count: string }>('SELECT count(*) FROM orders WHERE topic = $1', [topic])
          return Number(rows[0]!.count)
        }
        const reaches = async (count: number) => {
          while ((await stored().catch(() => 0)) < count) await sleep(20)
        }

        // The published values, in the order of each partition.
        const published: string[][] = Array.from({ length: partitions }, () => [])
        const producer = createClient({ env: {}, logger: false, brokers: own.server.brokers })
        onTestFinished(() => producer.close().then(() => undefined))
        let count = 0
        const publish = async (records: number) => {
          const list = Array.from({ length: records }, () => {
            const partition = Math.floor(random() * partitions)
            const value = `order ${count++}`
            published[partition]!.push(value)
            return { topic, partition, key: `customer ${count % 50}`, value }
          })
          await lastValueFrom(producer.publish(list))
        }

        const members = [new Member(task), new Member(task)]
        for (let round = 0; round < 8; round++) {
          await publish(150)
          // In the middle of its work.
          await reaches(count - 150 + Math.floor(random() * 120))
          const member = members[Math.floor(random() * members.length)]!
          const drawn = random()
          if (round === 3) {
            await postgres.kill()
            await postgres.start()
          } else if (drawn < 0.4 || member.frozen) {
            await member.kill()
            members.splice(members.indexOf(member), 1, new Member(task))
          } else if (drawn < 0.6 && members.length > 1) {
            await member.close()
            members.splice(members.indexOf(member), 1)
          } else if (drawn < 0.8) {
            // Others take over its partitions. Then it continues in the middle of its work.
            member.signal('SIGSTOP')
            members.push(new Member(task))
            await publish(50)
            await reaches(count - 40)
            member.signal('SIGCONT')
          } else members.push(new Member(task))
        }
        await reaches(count)
        // Counted when every process that could still store something has ended.
        await Promise.all(members.map(member => member.close()))

        expect(await stored()).toBe(count)
        const { rows } = await pool.query<{ partition: number; record: string; value: string }>(
          'SELECT partition, record, value FROM orders WHERE topic = $1 ORDER BY partition, record, value',
          [topic],
        )
        const expected = published.flatMap((values, partition) =>
          values.map((value, record) => ({ partition, record: String(record), value })),
        )
        expect(rows).toEqual(expected)
        for (const [partition, values] of published.entries()) {
          expect(await own.backend.committed(options.group, topic, partition)).toBe(BigInt(values.length))
        }
      },
    )
  }
})
