import { Subject, tap } from 'rxjs'
import type { ConsumeRecord } from 'rxmika'
import { describe, expect } from 'vitest'
import type { Backend } from '../backend'
import { Collected } from '../collected'
import { numbered, scenarios, texts } from '../world'

export function consuming(backend: Backend): void {
  const scenario = scenarios(backend)

  describe('consuming', () => {
    scenario('delivers each topic’s records to its own stream, in the order of their partitions', async world => {
      const run = world.client({ group: world.name('group') })
      const { client } = run
      const [orders, refunds] = await Promise.all([world.topic('orders', 2), world.topic('refunds')])
      await backend.publish(orders, [...numbered(0, 20, 0), ...numbered(100, 120, 1)])
      await backend.publish(refunds, numbered(200, 205))
      const seen = {
        orders: new Collected(client.topic(orders).pipe(tap(record => record.ack()))),
        refunds: new Collected(client.topic(refunds).pipe(tap(record => record.ack()))),
      }
      client.start()
      await Promise.all([run.committed(orders, 0, 20), run.committed(orders, 1, 20), run.committed(refunds, 0, 5)])

      const inPartition = (partition: number) => seen.orders.values.filter(record => record.partition === partition)
      expect(texts(inPartition(0))).toEqual(numbered(0, 20).map(({ value }) => value))
      expect(texts(inPartition(1))).toEqual(numbered(100, 120).map(({ value }) => value))
      expect(inPartition(0).map(({ offset }) => offset)).toEqual(Array.from({ length: 20 }, (_, at) => BigInt(at)))
      expect(texts(seen.refunds)).toEqual(['200', '201', '202', '203', '204'])
      expect(await backend.committed(world.name('group'), orders, 0)).toBe(20n)
      expect(await backend.committed(world.name('group'), orders, 1)).toBe(20n)
      expect(await backend.committed(world.name('group'), refunds, 0)).toBe(5n)
    })

    scenario(
      'gives the place and time at which a record was published, and that this is its first attempt',
      async world => {
        const topic = await world.topic('orders', 2)
        await backend.publish(topic, [{ key: 'k', value: 'v', partition: 1, timestamp: 1_700_000_000_123 }])
        const { client } = world.client({ group: world.name('group') })
        const seen = new Collected(client.topic(topic))
        client.start()
        const [record] = await seen.count(1)
        expect(record).toMatchObject({ topic, partition: 1, offset: 0n, timestamp: 1_700_000_000_123, attempt: 1 })
        expect(record!.source).toEqual({ kind: 'topic', topic, partition: 1, offset: 0n })
        expect(String(record!.key)).toBe('k')
      },
    )

    scenario('commits exactly the completed prefix when acks come out of order', async world => {
      const group = world.name('group')
      const topic = await world.topic('orders', 2)
      await backend.publish(topic, [...numbered(0, 5), ...numbered(100, 103, 1)])
      const run = world.client({ group })
      const { client } = run
      const seen = new Collected(client.topic(topic))
      client.start()
      await seen.count(8)
      const at = (offset: number, partition = 0) =>
        seen.values.find(record => record.partition === partition && record.offset === BigInt(offset))!

      at(1).ack()
      at(2).ack()
      at(0, 1).ack()
      // The other partition's commit came last, so this partition's part of the same commit is done.
      await run.committed(topic, 1, 1)
      expect((await backend.committed(group, topic, 0)) ?? 0n).toBe(0n)

      at(0).ack()
      await run.committed(topic, 0, 3)
      expect(await backend.committed(group, topic, 0)).toBe(3n)

      at(4).ack()
      at(1, 1).ack()
      await run.committed(topic, 1, 2)
      expect(await backend.committed(group, topic, 0)).toBe(3n)

      at(3).ack()
      await run.committed(topic, 0, 5)
      expect(await backend.committed(group, topic, 0)).toBe(5n)
      expect(await backend.committed(group, topic, 1)).toBe(2n)
    })

    scenario('settles a record once, and returns false to the second caller', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 1))
      const { client } = world.client({ group: world.name('group') })
      const seen = new Collected(client.topic(topic))
      client.start()
      const [record] = await seen.count(1)
      const mapped = record!.map(value => Number(value))
      expect(mapped.value).toBe(0)
      expect([mapped.ack(), record!.ack(), record!.fail('late'), mapped.fail()]).toEqual([true, false, false, false])
      expect(record!.settled).toBe(true)
    })

    scenario('with batch: true delivers no further records until the batch is completed and committed', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 3))
      const run = world.client({ group: world.name('group') })
      const { client, events } = run
      const positions: bigint[] = []
      const seen = new Collected(
        client.topic(topic, { batch: true }).pipe(
          tap(() => {
            const newest = events.values.findLast(event => event.type === 'committed')
            positions.push(newest?.type === 'committed' ? newest.offset : 0n)
          }),
        ),
      )
      client.start()
      const first = [...(await seen.count(3))]
      await backend.publish(topic, numbered(3, 5))
      first[2]!.ack()
      first[0]!.ack()
      await run.committed(topic, 0, 1)
      expect(texts(seen)).toEqual(['0', '1', '2'])
      first[1]!.ack()
      await seen.count(5)
      expect(texts(seen)).toEqual(['0', '1', '2', '3', '4'])
      expect(positions).toEqual([0n, 0n, 0n, 3n, 3n])
    })

    scenario('keeps at most maxInFlight records of a partition unsettled, however long the backlog', async world => {
      const backlog = 300
      const topic = await world.topic('orders', 2)
      await backend.publish(topic, [...numbered(0, backlog), ...numbered(0, backlog, 1)])
      const run = world.client({ group: world.name('group') })
      const { client } = run
      const unsettled = new Map<number, ConsumeRecord[]>([
        [0, []],
        [1, []],
      ])
      const full = new Subject<number>()
      let most = 0
      const seen = new Collected(
        client.topic(topic, { maxInFlight: 4 }).pipe(
          tap(record => {
            const held = unsettled.get(record.partition)!
            held.push(record)
            most = Math.max(most, held.length)
            if (held.length === 4) full.next(record.partition)
          }),
        ),
      )
      full.subscribe(partition => {
        // In another turn and out of order, as handlers end.
        setImmediate(() => {
          const held = unsettled.get(partition)!.splice(0)
          for (const at of [2, 0, 3, 1]) held[at]!.ack()
        })
      })
      client.start()
      await Promise.all([run.committed(topic, 0, backlog), run.committed(topic, 1, backlog)])
      expect(most).toBe(4)
      const inPartition = (partition: number) => seen.values.filter(record => record.partition === partition)
      expect(texts(inPartition(0))).toEqual(numbered(0, backlog).map(({ value }) => value))
      expect(texts(inPartition(1))).toEqual(numbered(0, backlog).map(({ value }) => value))
    })
  })
}
