import { setTimeout } from 'node:timers/promises'
import { merge, tap } from 'rxjs'
import { type ConsumeRecord, handle } from 'rxmika'
import { describe, expect } from 'vitest'
import type { Backend } from '../backend'
import { Collected } from '../collected'
import { numbered, type Run, scenarios, texts } from '../world'

export function restarting(backend: Backend): void {
  const scenario = scenarios(backend)

  describe('restarts and rebalances', () => {
    scenario('continues after a crash at the first record that was not completed', async world => {
      const group = world.name('group')
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 6))
      const crashed = world.mortalClient({ group })
      const before = new Collected(crashed.client.topic(topic))
      crashed.client.start()
      await before.count(6)
      for (const at of [4, 1, 0]) before.values[at]!.ack()
      await crashed.committed(topic, 0, 2)
      await crashed.kill()
      expect(await backend.committed(group, topic, 0)).toBe(2n)

      const run = world.client({ group })
      const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
      run.client.start()
      await run.committed(topic, 0, 6)
      expect(texts(seen)).toEqual(['2', '3', '5'])
    })

    scenario(
      'redelivers one record, not 10,001, if the client is killed while the first record is stuck',
      async world => {
        const group = world.name('group')
        const topic = await world.topic('orders')
        await backend.publish(topic, numbered(0, 10_001))
        const crashed = world.mortalClient({ group })
        const before = new Collected(crashed.client.topic(topic, { maxInFlight: 20_000 }))
        crashed.client.start()
        await before.count(10_001)
        const committed = crashed.event('committed')
        for (const record of before.values.slice(1)) record.ack()
        await committed
        await crashed.kill()

        const run = world.client({ group })
        const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
        run.client.start()
        await run.committed(topic, 0, 10_001)
        expect(texts(seen)).toEqual(['0'])
      },
    )

    scenario('redelivers retries that a crashed client had not completed', async world => {
      const group = world.name('group')
      const [topic, retryTopic] = await Promise.all([world.topic('orders'), world.topic('retries')])
      await backend.publish(topic, numbered(0, 2))
      const crashed = world.mortalClient({ group, retryTopic })
      const before = new Collected(
        crashed.client.topic(topic, { retries: 1 }).pipe(tap(record => record.attempt === 1 && record.fail('no'))),
      )
      crashed.client.start()
      await Promise.all([before.count(4), crashed.committed(topic, 0, 2)])
      await crashed.kill()

      const run = world.client({ group, retryTopic })
      const seen = new Collected(run.client.topic(topic, { retries: 1 }).pipe(tap(record => record.ack())))
      run.client.start()
      await run.committed(retryTopic, 0, 2)
      expect(seen.values.map(({ value, attempt }) => `${value} ${attempt}`).sort()).toEqual(['0 2', '1 2'])
    })

    scenario('redelivers nothing that was settled before a graceful restart', async world => {
      const group = world.name('group')
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 4))
      const first = world.client({ group, commitInterval: 60_000 })
      const before = new Collected(first.client.topic(topic))
      first.client.start()
      await before.count(4)
      for (const at of [3, 2, 0]) before.values[at]!.ack()
      expect(await first.client.close()).toMatchObject({ drained: false, unsettled: 1 })
      const second = world.client({ group })
      const seen = new Collected(second.client.topic(topic).pipe(tap(record => record.ack())))
      second.client.start()
      await second.committed(topic, 0, 4)
      expect(texts(seen)).toEqual(['1'])
    })

    scenario(
      'loses nothing and repeats nothing that was settled when a member joins and another leaves',
      async world => {
        const group = world.name('group')
        const partitions = 4
        const topic = await world.topic('orders', partitions)
        const each = 60
        const publish = (from: number, to: number) =>
          backend.publish(
            topic,
            Array.from({ length: partitions }, (_, partition) => numbered(from, to, partition)).flat(),
          )
        const settled: string[] = []
        const member = () => {
          const run = world.client({ group })
          const outcomes = run.client.topic(topic).pipe(
            handle(() => setTimeout(1), { order: 'key', concurrency: 8 }),
            tap(({ record }) => settled.push(`${record.partition}/${record.value}`)),
          )
          return { run, outcomes: new Collected(outcomes) }
        }
        const assigned = (run: Run) => run.event('assigned', event => event.topic === topic)

        await publish(0, 20)
        const one = member()
        one.run.client.start()
        await one.outcomes.count(10)
        const two = member()
        two.run.client.start()
        await assigned(two.run)
        await publish(20, 40)
        await two.outcomes.count(5)
        expect(await one.run.client.closeGracefully()).toEqual({ drained: true, unsettled: 0, left: [] })
        await publish(40, each)
        await Promise.all(Array.from({ length: partitions }, (_, at) => two.run.committed(topic, at, each)))

        const all = Array.from({ length: partitions }, (_, partition) =>
          numbered(0, each, partition).map(({ value }) => `${partition}/${value}`),
        ).flat()
        expect([...settled].sort()).toEqual(all.sort())
        for (let partition = 0; partition < partitions; partition++) {
          expect(await backend.committed(group, topic, partition)).toBe(BigInt(each))
        }
      },
    )

    scenario(
      'releases partitions without waiting for records that `handle` has not begun, which begin after the rebalance',
      async world => {
        const group = world.name('group')
        const orders = ['partition', 'key', 'none'] as const
        const topics = await Promise.all(orders.map(order => world.topic(order, 2)))
        // Two partitions of ten seconds' work each: more than a rebalance may wait for.
        const rebalanceTimeout = 5_000
        const keyed = [0, 1].flatMap(partition => numbered(0, 500, partition).map(each => ({ ...each, key: 'one' })))
        await Promise.all(topics.map(topic => backend.publish(topic, keyed)))
        const member = () => {
          const run = world.client({ group, rebalanceTimeout })
          const work = topics.map((topic, at) =>
            run.client.topic(topic).pipe(handle(() => setTimeout(20), { order: orders[at]!, concurrency: 2 })),
          )
          return { run, settled: new Collected(merge(...work)) }
        }
        const first = member()
        await first.run.start()
        await first.settled.count(30)
        const second = member()
        const began = performance.now()
        await second.run.start()
        expect(performance.now() - began).toBeLessThan(rebalanceTimeout)
        await Promise.all([second.settled.count(30), first.settled.count(first.settled.values.length + 30)])
        // Each once, and none left out.
        const offsets = new Map<string, number[]>()
        for (const { record } of [...first.settled.values, ...second.settled.values]) {
          const name = `${record.topic}/${record.partition}`
          offsets.set(name, [...(offsets.get(name) ?? []), Number(record.offset)])
        }
        for (const settled of offsets.values()) {
          expect(settled.sort((one, other) => one - other)).toEqual(settled.map((_, at) => at))
        }
      },
    )

    scenario('releases a partition with unsettled records, whose settlement then has no effect', async world => {
      const group = world.name('group')
      const topic = await world.topic('orders', 2)
      await backend.publish(topic, [...numbered(0, 2), ...numbered(0, 2, 1)])
      const one = world.client({ group, rebalanceTimeout: 50 })
      const held = new Collected(one.client.topic(topic))
      one.client.start()
      await held.count(4)
      for (const record of held.values) if (record.offset === 0n) record.ack()

      const two = world.client({ group })
      const seen = new Collected(two.client.topic(topic).pipe(tap(record => record.ack())))
      two.client.start()
      await one.event('revoked')
      const revoked = one.events.values.find(event => event.type === 'revoked')!
      const { partition } = revoked as { partition: number }
      expect(revoked).toMatchObject({ topic, offset: 1n })
      const gone = held.values.find(record => record.partition === partition && record.offset === 1n) as ConsumeRecord
      expect(gone.signal.aborted).toBe(true)
      expect(gone.signal.reason).toMatchObject({ name: 'AbortError' })
      expect(gone.ack()).toBe(false)
      await two.committed(topic, partition, 2)
      expect(texts(seen)).toEqual(['1'])
      expect(one.events.values.some(({ type }) => type === 'late-settlement')).toBe(true)

      // The other partition stayed where it was.
      const kept = held.values.find(record => record.partition !== partition && record.offset === 1n) as ConsumeRecord
      expect(kept.ack()).toBe(true)
      await one.committed(topic, kept.partition, 2)
      expect(held.values).toHaveLength(4)
    })
  })
}
