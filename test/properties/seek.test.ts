import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { type ConsumeRecord, createClient, handle } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { expect, it } from 'vitest'

const runs = Number(process.env.RXMIKA_HISTORIES ?? 100)

const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ what: fc.constant('publish' as const), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 4, arbitrary: fc.record({ what: fc.constant('ack' as const), which: fc.nat(8) }) },
  {
    weight: 4,
    arbitrary: fc.record({ what: fc.constant('seek' as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
  },
  { weight: 1, arbitrary: fc.constant({ what: 'revoke' as const }) },
  { weight: 1, arbitrary: fc.constant({ what: 'lose' as const }) },
  { weight: 1, arbitrary: fc.constant({ what: 'refuse' as const }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant('wait' as const), turns: fc.integer({ min: 1, max: 6 }) }) },
)

it('lowers a position only to its target, and delivers everything from there, whatever else happens', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 3, maxLength: 25 }),
      fc.integer({ min: 0, max: 2 }),
      async (steps, latency) => {
        const broker = memoryBroker({ latency })
        broker.createTopic('orders', 1)
        const group = 'billing'
        const client = createClient({ driver: broker.driver(), group, logger: false, env: {}, commitInterval: 0 })
        client.errors.subscribe()
        const commits: bigint[] = []
        broker.commits.subscribe(({ offset }) => commits.push(offset))
        /** The targets of its seeks, in the order in which they were applied. */
        const moves: bigint[] = []
        client.events.subscribe(event => {
          if (event.type === 'moved') moves.push(event.offset)
        })
        const open: ConsumeRecord[] = []
        /** Each delivery, with the number of moves before it. */
        const delivered: { readonly offset: bigint; readonly after: number }[] = []
        let acking = false
        client.topic('orders').subscribe(record => {
          delivered.push({ offset: record.offset, after: moves.length })
          if (acking) record.ack()
          else open.push(record)
        })
        client.start()
        while (client.currentState !== 'running') await turn()
        let end = 0
        const seeks: Promise<readonly unknown[] | 'rejected'>[] = []
        for (const each of steps) {
          if (each.what === 'publish') {
            broker.publish(
              'orders',
              Array.from({ length: each.count }, () => ({ value: String(end++) })),
            )
          } else if (each.what === 'ack') open.splice(each.which % Math.max(open.length, 1), 1)[0]?.ack()
          else if (each.what === 'seek') {
            const offset = BigInt(Math.floor(each.share * end))
            seeks.push(client.seek('orders', { offset }).catch(() => 'rejected' as const))
          } else if (each.what === 'wait') for (let left = each.turns; left > 0; left--) await turn()
          else if (each.what === 'refuse') broker.failNext('commit', new Error('not now'))
          else if (broker.group(group)?.members[0]?.assignments.length === 1) broker[each.what](group, 'orders', 0)
        }
        acking = true
        for (const record of open) record.ack()
        const results = await Promise.all(seeks)
        while (broker.committed(group, 'orders', 0) !== BigInt(end) && end > 0) {
          await turn()
          for (const record of open.splice(0)) record.ack()
        }
        await client.closeGracefully()
        expect(broker.committed(group, 'orders', 0) ?? 0n).toBe(BigInt(end))
        // Each step back was requested by a seek, and each seek accounts for one step at most.
        const left = [...moves]
        for (const [at, offset] of commits.entries()) {
          if (at === 0 || offset >= commits[at - 1]!) continue
          const asked = left.indexOf(offset)
          expect(asked, `${commits} with moves to ${moves}`).toBeGreaterThanOrEqual(0)
          left.splice(0, asked + 1)
        }
        // From the target of the last seek on everything was delivered, unless it was rejected because its partition was revoked.
        const last = moves.at(-1)
        const isKept = results.findLast(result => result.length > 0) !== 'rejected'
        if (last !== undefined && isKept) {
          const seen = new Set(delivered.filter(({ after }) => after === moves.length).map(({ offset }) => offset))
          for (let offset = last; offset < BigInt(end); offset++) expect(seen.has(offset)).toBe(true)
        }
      },
    ),
    { numRuns: Math.ceil(runs / 2) },
  )
})

it('releases records that handle had begun, which begin again', async () => {
  const broker = memoryBroker()
  broker.publish(
    'orders',
    Array.from({ length: 20 }, (_, at) => ({ value: String(at) })),
  )
  const client = createClient({ driver: broker.driver(), group: 'billing', logger: false, env: {} })
  const begun: number[] = []
  const aborted: number[] = []
  let hold = true
  client
    .topic('orders')
    .pipe(
      handle(
        ({ offset }, { signal }) => {
          begun.push(Number(offset))
          signal.addEventListener('abort', () => aborted.push(Number(offset)))
          if (!hold) return undefined
          return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
        },
        { order: 'partition' },
      ),
    )
    .subscribe()
  client.start()
  while (begun.length === 0) await turn()
  hold = false
  await client.seek('orders', { offset: 12n })
  while (broker.committed('billing', 'orders', 0) !== 20n) await turn()
  expect(begun).toEqual([0, 12, 13, 14, 15, 16, 17, 18, 19])
  expect(aborted).toEqual([0])
  await client.close()
})
