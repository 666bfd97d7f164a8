import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, createClient } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { Clock } from './clock.js'

describe('a loop over a topic whose decoder never settles', () => {
  it.each<[string, (client: Client) => unknown]>([
    ['close()', client => client.close()],
    ['closeGracefully() at its time-out', client => client.closeGracefully({ timeout: 1_000 })],
  ])('ends by %s', async (_, close) => {
    const clock = new Clock()
    const broker = memoryBroker({ scheduler: clock, partitions: 1 })
    broker.publish('orders', [{ value: 'v' }])
    const client = createClient({ driver: broker.driver(), group: 'g', env: {}, logger: false })
    const orders = client.topic('orders', { decode: () => new Promise<string>(() => {}) })
    const next = orders[Symbol.asyncIterator]().next()
    client.start()
    clock.runTo(100)
    close(client)
    clock.runTo(10_000)
    expect(await Promise.race([next, sleep(50)])).toEqual({ done: true, value: undefined })
    expect((await client.closed).unsettled).toBe(1)
  })
})
