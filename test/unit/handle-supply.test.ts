import fc from 'fast-check'
import { Subject, tap } from 'rxjs'
import { type ConsumeRecord, createClient, type HandleOptions, handle } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { Clock } from './clock.js'

/** How many records wait in `handle` before the rest waits in Kafka. */
const enough = 256

/** A client whose handlers end on request. */
function handling(records: number, options: HandleOptions, keyOf = (at: number) => `key-${at}`) {
  const clock = new Clock()
  const broker = memoryBroker({ scheduler: clock, partitions: 2 })
  const client = createClient({
    ...{ driver: broker.driver(), group: 'g', retryTopic: 'again', env: {}, logger: false },
    commitInterval: 1,
  })
  broker.publish(
    'orders',
    Array.from({ length: records }, (_, at) => ({ key: keyOf(at), value: String(at), partition: at % 2 })),
  )
  const world = { delivered: 0, retried: 0, begun: [] as { record: ConsumeRecord; done: Subject<void> }[] }
  const pipeline = client.topic('orders', { retries: 1 }).pipe(
    tap(({ attempt }) => (attempt === 1 ? world.delivered++ : world.retried++)),
    handle(record => {
      const done = new Subject<void>()
      world.begun.push({ record, done })
      return done
    }, options),
  )
  client.start()
  let now = 0
  const settle = (ms = 100) => {
    now += ms
    clock.runTo(now)
  }
  return { broker, client, clock, pipeline, world, settle }
}

describe('records that handle cannot begin soon', () => {
  it.each(['none', 'key'] as const)('wait in Kafka, not in its queue: order %s', order => {
    const { pipeline, world, settle } = handling(3_000, { concurrency: 2, order })
    pipeline.subscribe()
    settle()
    expect(world.delivered).toBe(enough + 2)
    for (let at = 0; at < 3_000; at++) {
      world.begun[at]!.done.complete()
      if (at % 50 === 0) settle(1)
      expect(world.delivered - at).toBeLessThanOrEqual(enough + 3)
    }
    settle()
    expect(world.delivered).toBe(3_000)
  })

  it('are at least as many as `concurrency`', () => {
    const { pipeline, world, settle } = handling(3_000, { concurrency: 500, order: 'none' })
    pipeline.subscribe()
    settle()
    expect(world.delivered).toBe(1_000)
  })

  it('do not include records behind others of their key, so that other keys continue', () => {
    const { pipeline, world, settle } = handling(3_000, { concurrency: 4, order: 'key' }, at =>
      at < 2_000 ? 'hot' : `key-${at}`,
    )
    pipeline.subscribe()
    settle()
    const keys = world.begun.map(({ record }) => String(record.key))
    expect(keys).toHaveLength(4)
    expect(keys.filter(key => key === 'hot')).toHaveLength(1)
    expect(new Set(keys).size).toBe(4)
  })

  it('do not hold back retries', () => {
    const { pipeline, world, settle } = handling(3_000, { concurrency: 1, order: 'none' })
    pipeline.subscribe()
    settle()
    for (let at = 0; at < 100; at++) world.begun[at]!.done.error(new Error('not now'))
    settle(1_000)
    expect(world.retried).toBe(100)
  })

  it('are delivered to the next subscriber: a former one holds nothing back', () => {
    const { pipeline, world, settle } = handling(3_000, { concurrency: 1, order: 'none' })
    const subscription = pipeline.subscribe()
    settle()
    subscription.unsubscribe()
    settle()
    world.delivered = 0
    world.begun.length = 0
    pipeline.subscribe()
    settle()
    // Records that the first subscription had are delivered again, and no more than `handle` requests.
    expect(world.delivered).toBe(enough + 1)
    for (let at = 0; at < 3_000; at++) {
      world.begun[at]!.done.complete()
      settle(1)
    }
    expect(world.delivered).toBe(3_000)
  })

  it('are all handled in the end, once, however the concurrency changes (generated)', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(600), fc.nat(400)), { minLength: 1, maxLength: 12 }),
        fc.constantFrom('none' as const, 'key' as const),
        (steps, order) => {
          const limits = new Subject<number>()
          const { pipeline, world, settle } = handling(2_000, { concurrency: limits, order }, at => `key-${at % 700}`)
          pipeline.subscribe()
          let ended = 0
          for (const [limit, ends] of steps) {
            limits.next(limit)
            settle(1)
            for (let n = 0; n < ends && ended < world.begun.length; n++) world.begun[ended++]!.done.complete()
            settle(1)
          }
          limits.next(64)
          for (let idle = 0; idle < 3; ) {
            const before = ended
            while (ended < world.begun.length) world.begun[ended++]!.done.complete()
            settle(1)
            idle = ended === before ? idle + 1 : 0
          }
          expect(world.begun.map(({ record }) => Number(record.value)).sort((a, b) => a - b)).toEqual(
            Array.from({ length: 2_000 }, (_, at) => at),
          )
        },
      ),
      { numRuns: 12 },
    )
  })
})
