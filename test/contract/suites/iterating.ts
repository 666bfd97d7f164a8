import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect } from 'vitest'
import type { Backend } from '../backend'
import { numbered, scenarios } from '../world'

export function iterating(backend: Backend): void {
  const scenario = scenarios(backend)

  describe('for await over a topic', () => {
    scenario('takes one record at a time from all partitions, and leaves the rest to the next loop', async world => {
      const group = world.name('group')
      const topic = await world.topic('orders', 3)
      for (const partition of [0, 1, 2]) await backend.publish(topic, numbered(0, 40, partition))
      const run = world.client({ group })
      const records = run.client.topic(topic)
      run.client.start()
      const seen: string[] = []
      const loop = async (least: number) => {
        for await (const record of records) {
          const out = run.client.stalls({ all: true }).filter(({ why }) => why === 'unsettled')
          expect(out).toMatchObject([{ partition: record.partition, offset: record.offset }])
          seen.push(`${record.partition} ${record.offset}`)
          await delay(seen.length % 10 === 0 ? 5 : 0)
          record.ack()
          if (seen.length === least) break
        }
      }
      await loop(50)
      await loop(120)
      await Promise.all([0, 1, 2].map(partition => run.committed(topic, partition, 40)))
      expect(new Set(seen).size).toBe(120)
      for (const partition of [0, 1, 2]) {
        const ofPartition = seen.filter(one => one.startsWith(`${partition} `))
        expect(ofPartition).toEqual(numbered(0, 40).map((_, at) => `${partition} ${at}`))
      }
    })

    scenario('redelivers a record for which the loop body threw, and ends with the client', async world => {
      const group = world.name('group')
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 10))
      const run = world.client({ group })
      const records = run.client.topic(topic)
      run.client.start()
      const seen: bigint[] = []
      const loop = async (throwAt: bigint | undefined) => {
        for await (const record of records) {
          seen.push(record.offset)
          if (record.offset === throwAt) throw new Error('in the body')
          record.ack()
          if (record.offset === 9n) run.client.closeGracefully()
        }
      }
      await expect(loop(4n)).rejects.toThrow('in the body')
      await loop(undefined)
      expect(seen).toEqual([0n, 1n, 2n, 3n, 4n, 4n, 5n, 6n, 7n, 8n, 9n])
      expect(await run.client.closed).toMatchObject({ drained: true, unsettled: 0 })
      expect(await backend.committed(group, topic, 0)).toBe(10n)
    })

    scenario('continues through a rebalance, and redelivers no acked record', async world => {
      const group = world.name('group')
      const topic = await world.topic('orders', 2)
      for (const partition of [0, 1]) await backend.publish(topic, numbered(0, 30, partition))
      const [first, second] = [world.client({ group }), world.client({ group })]
      const acked: string[] = []
      const ended = [first, second].map(async ({ client }) => {
        for await (const record of client.topic(topic)) {
          await delay(2)
          if (record.ack()) acked.push(`${record.partition} ${record.offset}`)
        }
      })
      await first.start()
      await first.committed(topic, 0, 1)
      await second.start()
      await second.event('assigned')
      await backend.publish(topic, [...numbered(30, 35, 0), ...numbered(30, 35, 1)])
      const committed = async () =>
        Promise.all([0, 1].map(async partition => (await backend.committed(group, topic, partition)) ?? 0n))
      while ((await committed()).some(position => position < 35n)) await delay(20)
      await Promise.all([first.client.closeGracefully(), second.client.closeGracefully()])
      await Promise.all(ended)
      expect(new Set(acked).size).toBe(70)
      expect(acked).toHaveLength(70)
    })
  })
}
