import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { createClient } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { readPartitionRecords } from '../../../src/protocol/records/partition-records'
import { encodeRecordBatch } from '../../../src/protocol/records/record-batch-encoder'
import { leftPerCycle } from './heap'

/**
 * How many bytes a cycle may leave behind: the compiler's memory in a running process. The smallest leak that any of these
 * cycles ever had was several times as large: a pool of connections, or an assignment with its window.
 */
const nothing = 2_000

async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** All sockets that are opened while `work` runs. */
async function withSockets(work: (opened: Socket[]) => Promise<void>): Promise<void> {
  const opened: Socket[] = []
  const seen = (message: unknown) => opened.push((message as { socket: Socket }).socket)
  subscribe('net.client.socket', seen)
  try {
    await work(opened)
  } finally {
    unsubscribe('net.client.socket', seen)
  }
}

describe('hundreds of cycles leave nothing behind:', { timeout: 20_000 }, () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  it('attempts to connect to a port on which nothing listens', async () => {
    const port = await closedPort()
    await withSockets(async opened => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
      const client = createClient({ env: {}, logger: false, group: 'billing', brokers: [`127.0.0.1:${port}`] })
      client.topic('orders').subscribe({ error: () => {} })
      client.start()
      /** One attempt from its beginning to its failure, without the pause before it. */
      const attempt = async () => {
        while (opened.length === 0) {
          vi.advanceTimersByTime(100)
          await setImmediate()
        }
        const [socket] = opened.splice(0)
        while (!socket!.destroyed) await setImmediate()
      }
      const left = await leftPerCycle(150, nothing, attempt)
      expect(left).toBeLessThan(nothing)
      expect(client.currentState).toBe('starting')
      const closed = client.close()
      for (let done = false; !done; ) {
        void closed.then(() => {
          done = true
        })
        vi.advanceTimersByTime(1_000)
        await setImmediate()
      }
    })
  })

  it('partitions that are assigned, delivered from and revoked', async () => {
    const broker = memoryBroker({ partitions: 4 })
    const records = Array.from({ length: 20 }, (_, at) => ({ value: String(at), key: 'a', partition: 0 }))
    broker.publish('orders', records)
    const client = createClient({
      env: {},
      logger: false,
      driver: broker.driver(),
      group: 'billing',
      retryTopic: 'retries',
      dlqTopic: 'dead',
      commitInterval: 1,
    })
    let delivered = 0
    let waiting = () => {}
    // The first record is never settled, so all are delivered again each time.
    client.topic('orders', { retries: 1, dlq: true }).subscribe(record => {
      if (record.offset > 0n) record.ack()
      delivered++
      waiting()
    })
    const all = async (count: number) => {
      while (delivered < count) {
        await new Promise<void>(resolve => {
          waiting = resolve
        })
      }
    }
    client.start()
    await all(1)
    const left = await leftPerCycle(40, nothing, async () => {
      const before = delivered
      for (const partition of [1, 2, 3, 0]) broker.lose('billing', 'orders', partition)
      await all(before + 1)
    })
    expect(left).toBeLessThan(nothing)
    await client.close()
  })

  it('members that join and leave', async () => {
    const broker = memoryBroker({ partitions: 4 })
    const options = { env: {}, logger: false, group: 'billing' } as const
    const left = await leftPerCycle(40, nothing, async () => {
      const client = createClient({ ...options, driver: broker.driver() })
      client.topic('orders').subscribe({ error: () => {} })
      client.start()
      await new Promise<void>(resolve => client.state.subscribe(state => state === 'running' && resolve()))
      await client.close()
    })
    expect(left).toBeLessThan(nothing)
  })

  it('long names of headers, each written and read once', async () => {
    const left = await leftPerCycle(100, nothing, async at => {
      const name = `${at}-`.padEnd(100_000, 'x')
      const [headers] = headersOf(encodedWith(name))
      expect(headers).toBe(name)
    })
    expect(left).toBeLessThan(nothing)
  })

  it('short names of headers, each written and read once, with a bounded cache', async () => {
    // More names than any cache has entries for.
    const left = await leftPerCycle(100, nothing, async at => {
      for (let each = 0; each < 100; each++) headersOf(encodedWith(`header ${at}-${each}`))
    })
    expect(left).toBeLessThan(nothing)
  })
})

function encodedWith(name: string): Buffer {
  const record = { key: null, value: null, headers: [[name, null]] as const, timestamp: 0 }
  return encodeRecordBatch([record], { producerId: -1n, epoch: -1, first: -1 })
}

function headersOf(bytes: Buffer): readonly string[] {
  const { batches } = readPartitionRecords(bytes, 0, bytes.length, 0, [], {})
  return batches.flatMap(batch => batch.headers(0).map(([name]) => name))
}
