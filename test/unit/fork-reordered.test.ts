import fc from 'fast-check'
import { bufferTime, delay, filter, mergeMap, of, pipe, throwError, timer } from 'rxjs'
import { type ConsumeRecord, createClient, discard, fork, handle, redeliver, retryTopic } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { Clock } from './clock.js'

/** Brings records out of their order: each is delayed by its value, from 0 to 9, or by the rest to 9. */
const reordered = (clock: Clock, byRest = false) =>
  mergeMap((record: ConsumeRecord) => {
    const ms = Number(record.value)
    return of(record).pipe(delay(byRest ? 9 - ms : ms, clock))
  })

describe('a branch of fork that reorders the records of a key, before a handle with order key', () => {
  it.each([1, 4])('and other branches do not wait for each other, up to %i at a time', concurrency => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({ key: fc.constantFrom('a', 'b'), ms: fc.nat(9), fails: fc.boolean(), partition: fc.nat(1) }),
          { maxLength: 12 },
        ),
        fc.boolean(),
        fc.boolean(),
        fc.boolean(),
        (records, together, both, retries) => {
          const clock = new Clock()
          const broker = memoryBroker({ scheduler: clock, partitions: 2 })
          broker.publish(
            'orders',
            records.map(({ key, ms, partition }, at) => ({
              key,
              value: String(ms),
              partition,
              headers: { at: String(at) },
            })),
          )
          const client = createClient({
            driver: broker.driver(),
            group: 'g',
            retryTopic: 'retry',
            env: {},
            logger: false,
          })
          const work = (record: ConsumeRecord) =>
            timer(1, clock).pipe(
              mergeMap(() =>
                records[Number(record.header('at'))]!.fails && record.attempt === 1
                  ? throwError(() => 'no')
                  : of('done'),
              ),
            )
          const options = { order: 'key', concurrency } as const
          const inOne = handle(work, options)
          const inArrays = pipe(
            bufferTime<ConsumeRecord>(3, clock),
            filter(batch => batch.length > 0),
            handle((batch: ConsumeRecord[]) => work(batch[0]!), options),
          )
          client
            .topic('orders', {
              onFail: pipe(
                retries ? retryTopic(client, { retries: 2 }) : redeliver(client, { attempts: 3 }),
                discard(),
              ),
            })
            .pipe(
              fork(
                pipe(reordered(clock), together ? inArrays : inOne),
                both ? pipe(reordered(clock, true), inOne) : inOne,
              ),
            )
            .subscribe()
          client.start()
          clock.runTo(1_000)
          expect({ lag: broker.lag('g', 'orders'), stalls: client.stalls() }).toEqual({ lag: 0, stalls: [] })
        },
      ),
      { numRuns: 100 },
    )
  })
})
