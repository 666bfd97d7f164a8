import fc from 'fast-check'
import { timer } from 'rxjs'
import { createClient, fork, handle, latest } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { expect, it } from 'vitest'
import { Clock } from '../unit/clock'

const runs = Number(process.env.RXMIKA_HISTORIES ?? 200)

const disturbance = fc.record({
  at: fc.integer({ min: 1, max: 60 }),
  what: fc.constantFrom('revoke' as const, 'lose' as const, 'outage' as const, 'pause' as const, 'subscribe' as const),
  partition: fc.nat(1),
  takes: fc.integer({ min: 1, max: 20 }),
})

// `latest` must emit or ack every waiting record, whatever happens to its partition meanwhile.
it('leaves no record of latest unsettled, whatever happens to its partition', () => {
  fc.assert(
    fc.property(
      fc.record({
        records: fc.array(fc.record({ at: fc.nat(50), key: fc.constantFrom('a', 'b', null), partition: fc.nat(1) }), {
          minLength: 1,
          maxLength: 15,
        }),
        disturbances: fc.array(disturbance, { maxLength: 6 }),
        work: fc.integer({ min: 0, max: 7 }),
        waits: fc.constantFrom(0, 5, 15),
        latency: fc.constantFrom(0, 1, 4),
        protocol: fc.constantFrom('classic' as const, 'consumer' as const),
        across: fc.boolean(),
        forked: fc.boolean(),
      }),
      ({ records, disturbances, work, waits, latency, protocol, across, forked }) => {
        const clock = new Clock()
        const broker = memoryBroker({ scheduler: clock, partitions: 2, latency, groupProtocol: protocol })
        broker.createTopic('orders', 2)
        const client = createClient({
          ...{ driver: broker.driver(), group: 'billing', env: {}, logger: false },
          ...{ commitInterval: 5, rebalanceTimeout: 50 },
        })
        const by = across ? { by: ({ key }: { key: Buffer | null }) => key && String(key) } : {}
        const newest = latest(waits, { ...by, scheduler: clock })
        const working = handle(() => timer(work, clock))
        const orders = client.topic('orders')
        const pipeline = () =>
          forked
            ? orders.pipe(fork(source => source.pipe(newest, working), working)).subscribe()
            : orders.pipe(newest, working).subscribe()
        let subscription = pipeline()
        client.start()
        for (const { at, key, partition } of records) {
          clock.schedule(() => void broker.publish('orders', { key, value: String(at), partition }), at)
        }
        // Between two assignments the partition has no owner.
        const isAssigned = (wanted: number) =>
          broker
            .group('billing')
            ?.members.some(({ assignments }) =>
              assignments.some(({ topic, partition }) => topic === 'orders' && partition === wanted),
            )
        for (const { at, what, partition, takes } of disturbances) {
          clock.schedule(() => {
            if (what === 'revoke' || what === 'lose') {
              if (isAssigned(partition)) broker[what]('billing', 'orders', partition)
            } else if (what === 'outage') broker.disconnect()
            else if (what === 'pause') client.pause('orders')
            else {
              subscription.unsubscribe()
              subscription = pipeline()
            }
          }, at)
          clock.schedule(() => {
            if (what === 'outage') broker.reconnect()
            else if (what === 'pause') client.resume('orders')
          }, at + takes)
        }
        clock.runTo(10_000)
        expect(broker.lag('billing', 'orders')).toBe(0)
        expect(client.stalls()).toEqual([])
        client.close()
        clock.runTo(20_000)
      },
    ),
    { numRuns: runs },
  )
})
