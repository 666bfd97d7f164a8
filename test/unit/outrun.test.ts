import * as fc from 'fast-check'
import { map, merge, share, tap, timer } from 'rxjs'
import { type Client, type ClientEvent, type ConsumeRecord, createClient, discard, handle } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { logged } from '../log-lines.js'
import { FakeOwner, fakeRecord } from '../marbles/fake-record.js'
import { Clock } from './clock.js'

/** A client whose `orders` has one record, its `outrun` events, and its log lines. */
function run(pipeline: (client: Client, clock: Clock) => void) {
  const clock = new Clock()
  const broker = memoryBroker({ scheduler: clock, partitions: 1 })
  broker.publish('orders', [{ key: 'k', value: 'v' }])
  const { logger, lines } = logged('info')
  const client = createClient({ driver: broker.driver(), group: 'g', env: {}, logger })
  const outruns: ClientEvent[] = []
  client.events.subscribe(event => event.type === 'outrun' && outruns.push(event))
  pipeline(client, clock)
  client.start()
  clock.runTo(5_000)
  client.close()
  clock.runTo(10_000)
  return { outruns, lines: lines.filter(line => line.event === 'outrun') }
}

const place = { topic: 'orders', partition: 0, offset: 0n, key: Buffer.from('k') }

describe('a contrary second settlement', () => {
  it('is reported by an event and a warning if a fail comes after an ack: the failure has no effect', () => {
    const reason = new Error('card declined')
    const { outruns, lines } = run(client =>
      client.topic('orders', { onFail: discard() }).subscribe(record => {
        expect([record.ack(), record.fail(reason)]).toEqual([true, false])
      }),
    )
    expect(outruns).toEqual([{ type: 'outrun', ...place, first: 'ack', then: 'fail', reason }])
    expect(lines).toMatchObject([{ level: 'warn', topic: 'orders', count: 1, first: 'orders-0@0' }])
    expect(lines[0]!.msg).toContain('card declined')
    expect(lines[0]!.msg).toContain('share()')
  })

  it('is reported if an ack comes after a fail, with the reason of the fail', () => {
    const { outruns, lines } = run(client =>
      client.topic('orders', { onFail: discard() }).subscribe(record => {
        expect([record.fail('no'), record.ack()]).toEqual([true, false])
      }),
    )
    expect(outruns).toEqual([{ type: 'outrun', ...place, first: 'fail', then: 'ack', reason: 'no' }])
    expect(lines).toHaveLength(1)
  })

  it.each([
    { audited: 1, charged: 20, expected: { first: 'ack', then: 'fail' } },
    { audited: 20, charged: 1, expected: { first: 'fail', then: 'ack' } },
  ])(
    'is one of two handles on a shared stream: $expected.first, then $expected.then',
    ({ audited, charged, expected }) => {
      const { outruns } = run((client, clock) => {
        const orders = client.topic('orders', { onFail: discard() }).pipe(share())
        const charge = handle(() =>
          timer(charged, clock).pipe(
            tap(() => {
              throw new Error('declined')
            }),
          ),
        )
        merge(orders.pipe(handle(() => timer(audited, clock))), orders.pipe(charge)).subscribe()
      })
      expect(outruns).toMatchObject([{ type: 'outrun', ...place, ...expected, reason: new Error('declined') }])
    },
  )

  it('is not reported if a handler fails its record by hand and returns, as for some records of a batch', () => {
    const { outruns, lines } = run(client =>
      client
        .topic('orders', { onFail: discard() })
        .pipe(
          map(record => [record]),
          handle(([record]) => {
            record!.fail('a bad one')
          }),
        )
        .subscribe(),
    )
    expect([outruns, lines]).toEqual([[], []])
  })

  it('is reported for any record, mapped or not, and only then', () => {
    const call = fc.record({
      how: fc.constantFrom('ack' as const, 'fail' as const, 'end' as const),
      mapped: fc.nat({ max: 2 }),
      reason: fc.string(),
    })
    fc.assert(
      fc.property(fc.array(call, { maxLength: 8 }), calls => {
        const owner = new FakeOwner()
        const views: ConsumeRecord<unknown>[] = [fakeRecord({ owner, offset: 7 })]
        for (let at = 0; at < 2; at++) views.push(views[at]!.map(() => at))
        const expected: object[] = []
        let first: { how: 'ack' | 'fail'; reason: unknown } | 'late' | undefined
        for (const { how, mapped, reason } of calls) {
          const record = views[mapped]!
          if (how === 'end') {
            owner.end()
            continue
          }
          const counted = how === 'ack' ? record.ack() : record.fail(reason)
          expect(counted).toBe(first === undefined && !owner.ended)
          if (first === undefined) {
            if (owner.ended) expected.push({ offset: 7, how: 'late' })
            else
              expected.push(
                how === 'ack' ? { offset: 7, how: 'acked' } : { offset: 7, how: 'failed', reason, retry: true },
              )
            first = owner.ended ? 'late' : { how, reason }
          } else if (first !== 'late' && first.how !== how) {
            const failed = how === 'fail' ? reason : first.reason
            expected.push({ offset: 7, how: 'outrun', first: first.how, then: how, reason: failed })
          }
        }
        expect(owner.settlements).toEqual(expected)
      }),
    )
  })
})
