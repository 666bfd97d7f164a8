import fc from 'fast-check'
import { type ConsumeRecord, createClient } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'

/** What a loop's body does with a record. */
const step = fc.constantFrom('ack', 'ack later', 'fail', 'leave', 'throw', 'pause', 'revoke', 'ask twice' as const)

const turn = () => new Promise<void>(resolve => setImmediate(resolve))

describe('for await over a topic, whatever the loop body does', () => {
  it('loses nothing, delivers only when asked, and acks each record once', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 25 }),
        fc.array(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 1, max: 4 }),
        async (steps, perPartition, maxInFlight) => {
          const broker = memoryBroker({ partitions: perPartition.length })
          perPartition.forEach((count, partition) => {
            const values = Array.from({ length: count }, (_, at) => ({ value: String(at), partition }))
            if (count > 0) broker.publish('orders', values)
          })
          const client = createClient({
            driver: broker.driver(),
            env: {},
            group: 'billing',
            retryTopic: 'retry',
            logger: false,
            commitInterval: 0,
          })
          const all = perPartition.reduce((sum, count) => sum + count, 0)
          const records = client.topic('orders', { retries: 100, maxInFlight })
          client.start()
          const acked: string[] = []
          const later: ConsumeRecord[] = []
          /** Records that loops took and left unsettled. They are delivered again. */
          let givenBack = 0
          const ack = (record: ConsumeRecord) => {
            if (record.ack()) acked.push(`${record.partition} ${record.offset}`)
          }
          const remaining = [...steps]
          try {
            while (acked.length < all) {
              const iterator = records[Symbol.asyncIterator]()
              let asked = 0
              while (acked.length < all) {
                asked++
                const next = iterator.next()
                // Unsettled records may fill a partition, or be the only ones left.
                const waits = setTimeout(() => {
                  later.splice(0).forEach(ack)
                  if (acked.length === all) void iterator.return?.()
                }, 5)
                const { value, done } = await next
                clearTimeout(waits)
                if (done) break
                const record = value
                // Retries are queued before they are delivered, so they are not counted.
                const out = client
                  .stalls({ all: true })
                  .filter(({ why, topic }) => why === 'unsettled' && topic === 'orders')
                expect(out.length).toBeLessThanOrEqual(later.length + givenBack + 1)
                const what = remaining.shift() ?? 'ack'
                if (what === 'ack later') later.push(record)
                else if (what === 'fail') record.fail(new Error('no'))
                else if (what !== 'leave' && what !== 'throw') ack(record)
                if (what === 'pause') {
                  client.pause('orders')
                  await turn()
                  client.resume('orders')
                }
                if (what === 'revoke') broker.revoke('billing', 'orders', record.partition)
                if (what === 'ask twice') {
                  const [one, other] = [iterator.next(), iterator.next()]
                  await turn()
                  givenBack += 2
                  await iterator.return?.()
                  for (const { value } of await Promise.all([one, other])) if (value !== undefined) ack(value)
                  break
                }
                if (what === 'leave' || what === 'throw') givenBack++
                if (what === 'leave') {
                  await iterator.return?.()
                  break
                }
                if (what === 'throw') {
                  await expect(iterator.throw?.('given')).rejects.toBe('given')
                  break
                }
              }
              later.splice(0).forEach(ack)
              await iterator.return?.()
              expect(asked).toBeGreaterThan(0)
            }
            expect(new Set(acked).size).toBe(all)
            expect(acked).toHaveLength(all)
          } finally {
            const { unsettled } = await client.close()
            if (acked.length === all) {
              expect(unsettled).toBe(0)
              perPartition.forEach((count, partition) => {
                expect(broker.committed('billing', 'orders', partition) ?? 0n).toBe(BigInt(count))
              })
            }
          }
        },
      ),
      { numRuns: 60 },
    )
  })
})
