import { bufferCount, connect, filter, map, merge, mergeMap, of, pipe, retry, take, tap, throwError, timer } from 'rxjs'
import { type ConsumeRecord, createClient, deadLetter, fixed, handle, redeliver } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { Clock } from './clock.js'

function setUp() {
  const clock = new Clock()
  const broker = memoryBroker({ scheduler: clock })
  const client = createClient({ driver: broker.driver(), group: 'billing', dlqTopic: 'dlq', logger: false })
  const again = (attempts: number, delay: number) =>
    pipe(redeliver(client, { attempts, backoff: fixed(delay) }), deadLetter(client))
  /** Publishes `a0` with key `a` and so on. The name `-` means no key. */
  const publish = (topic: string, ...values: string[]) =>
    broker.publish(
      topic,
      values.map(value => ({ key: value[0] === '-' ? null : value[0]!, value })),
    )
  return { clock, broker, client, again, publish }
}

const nameOf = (record: ConsumeRecord) => `${record.value}#${record.attempt}`
const no = () => throwError(() => new Error('no'))

describe('handle with redelivered records', () => {
  it.each([1, 2])('is resubscribed by retry() after an error before it, for %i topics', topics => {
    const { clock, client, publish } = setUp()
    const names = ['orders', 'refunds'].slice(0, topics)
    for (const name of names) publish(name, ...Array.from({ length: 30 }, (_, at) => `${'abc'[at % 3]}${name}${at}`))
    const acked = new Set<string>()
    const errors: unknown[] = []
    let seen = 0
    merge(...names.map(name => client.topic(name)))
      .pipe(
        tap(() => {
          if (++seen % 7 === 0) throw new Error('boom')
        }),
        handle(record => {
          acked.add(String(record.value))
        }),
        tap({ error: error => errors.push(error) }),
        retry({ count: 20 }),
      )
      .subscribe()
    client.start()
    clock.runTo(1000)
    expect(acked.size).toBe(30 * topics)
    expect(new Set(errors.map(String))).toEqual(new Set(['Error: boom']))
  })

  /** A client whose first pipeline ended after two records of a key: the first was dead-lettered, the other left behind. */
  function leftBehind() {
    const { clock, client, publish } = setUp()
    publish('orders', 'a0', 'a1')
    const orders = client.topic('orders', { dlq: true })
    orders
      .pipe(
        take(2),
        handle(record => timer(5, clock).pipe(mergeMap(() => (String(record.value) === 'a0' ? no() : of(1)))), {
          order: 'key',
        }),
      )
      .subscribe()
    client.start()
    clock.runTo(1000)
    return { clock, client, orders, publish }
  }

  it('counts a record that its pipeline left behind as unsettled, without delaying a close', async () => {
    const { clock, client } = leftBehind()
    const closed = client.closeGracefully({ timeout: 100 })
    clock.runTo(2000)
    expect(await closed).toMatchObject({ drained: false, unsettled: 1 })
  })

  it('does not count one record for another when it closes', async () => {
    const { clock, client, orders, publish } = leftBehind()
    const taken: string[] = []
    orders.subscribe(record => taken.push(nameOf(record)))
    publish('orders', 'z0')
    clock.runTo(2000)
    const closed = client.closeGracefully({ timeout: 100 })
    clock.runTo(3000)
    expect(taken).toEqual(['a1#1', 'z0#1'])
    expect(await closed).toMatchObject({ drained: false, unsettled: 2 })
  })

  it('continues with later records while one that failed later waits for its redelivery', () => {
    const { clock, client, again, publish } = setUp()
    publish('orders', ...Array.from({ length: 50 }, (_, at) => `${at}`))
    const acked: string[] = []
    client.topic('orders', { maxInFlight: 5, onFail: again(Number.POSITIVE_INFINITY, 1000) }).subscribe(record => {
      if (String(record.value) === '0') clock.schedule(() => record.fail(new Error('no')), 10)
      else if (record.ack()) acked.push(String(record.value))
    })
    client.start()
    clock.runTo(10_000)
    expect(acked).toHaveLength(49)
  })

  it('handles two failed records of a key one at a time when they are redelivered separately', () => {
    const { clock, client, again, publish } = setUp()
    publish('orders', 'a0', 'a1')
    const log: string[] = []
    client
      .topic('orders', { onFail: again(2, 10) })
      .pipe(
        connect(records =>
          merge(
            records.pipe(
              filter(({ attempt }) => attempt === 1),
              bufferCount(2),
            ),
            records.pipe(
              filter(({ attempt }) => attempt > 1),
              map(record => [record]),
            ),
          ),
        ),
        handle(
          records => {
            const name = records.map(nameOf).join()
            log.push(`begin ${name}`)
            return timer(5, clock).pipe(
              mergeMap(() => {
                log.push(`end ${name}`)
                return records[0]!.attempt === 1 ? no() : of(1)
              }),
            )
          },
          { order: 'key' },
        ),
      )
      .subscribe()
    client.start()
    clock.runTo(1000)
    expect(log).toEqual(['a0#1,a1#1', 'a0#2', 'a1#2'].flatMap(name => [`begin ${name}`, `end ${name}`]))
  })

  it("keeps a key's next record behind a handler that continues after it has acked", () => {
    const { clock, client, again, publish } = setUp()
    publish('orders', 'a0', 'a1')
    const log: string[] = []
    client
      .topic('orders', { onFail: again(3, 10) })
      .pipe(
        handle(
          record => {
            const name = nameOf(record)
            log.push(`begin ${name}`)
            if (name === 'a0#1') throw new Error('no')
            record.ack()
            return timer(5, clock).pipe(tap(() => log.push(`end ${name}`)))
          },
          { order: 'key' },
        ),
      )
      .subscribe()
    client.start()
    clock.runTo(1000)
    expect(log).toEqual(['begin a0#1', 'begin a0#2', 'end a0#2', 'begin a1#1', 'end a1#1'])
  })

  it('keeps no order for a record without a key, which may be redelivered in a later array', () => {
    const { clock, broker, client, again, publish } = setUp()
    publish('orders', '-0', 'a0', 'a1')
    const log: string[] = []
    client
      .topic('orders', { onFail: again(2, 10) })
      .pipe(
        connect(records =>
          merge(
            records.pipe(
              filter(({ attempt, value }) => attempt === 1 && String(value) !== 'a1'),
              bufferCount(2),
            ),
            // a0 is in an array of its own. -0 is in one array with a1, which waits behind a0.
            records.pipe(
              filter(record => nameOf(record) === 'a0#2'),
              map(record => [record]),
            ),
            records.pipe(
              filter(record => ['-0#2', 'a1#1'].includes(nameOf(record))),
              bufferCount(2),
            ),
          ),
        ),
        handle(
          records => {
            log.push(records.map(nameOf).join())
            return records.some(({ attempt, value }) => attempt === 1 && String(value) !== 'a1') ? no() : of(1)
          },
          { order: 'key' },
        ),
      )
      .subscribe()
    client.start()
    clock.runTo(1000)
    expect(log).toEqual(['-0#1,a0#1', 'a0#2', 'a1#1,-0#2'])
    expect(broker.committed('billing', 'orders', 0)).toBe(3n)
  })

  it('does not delay a close for an array behind two failed keys when one of them is done', async () => {
    const { clock, client, again, publish } = setUp()
    publish('orders', 'a1', 'b1', 'a2', 'b2')
    client
      .topic('orders', { onFail: again(Number.POSITIVE_INFINITY, 10) })
      .pipe(
        connect(records =>
          merge(
            records.pipe(
              filter(({ value }) => String(value)[1] === '1'),
              map(record => [record]),
            ),
            records.pipe(
              filter(({ value }) => String(value)[1] === '2'),
              bufferCount(2),
            ),
          ),
        ),
        handle(([first]) => (first!.value?.toString() === 'b1' || first!.attempt === 1 ? no() : of(1)), {
          order: 'key',
        }),
      )
      .subscribe()
    client.start()
    clock.runTo(1000)
    const closed = client.closeGracefully({ timeout: 600_000 })
    clock.runTo(1100)
    expect(await Promise.race([closed, Promise.resolve('still closing')])).toMatchObject({
      drained: false,
      unsettled: 2,
    })
  })

  it.each([0, 5])("keeps a key's next record behind one that its handler failed by hand, %i ms before its end", ms => {
    const { clock, client, again, publish } = setUp()
    publish('orders', 'a0', 'b0', 'a1')
    const log: string[] = []
    client
      .topic('orders', { onFail: again(2, 0) })
      .pipe(
        handle(
          record => {
            log.push(nameOf(record))
            if (nameOf(record) === 'a0#1') record.fail(new Error('no'))
            return ms === 0 ? of(1) : timer(ms, clock)
          },
          { order: 'key' },
        ),
      )
      .subscribe()
    client.start()
    clock.runTo(1000)
    expect(log).toEqual(['a0#1', 'b0#1', 'a0#2', 'a1#1'])
  })

  it('keeps the place of a record that other code failed while it waited', () => {
    const { clock, client, again, publish } = setUp()
    publish('orders', 'a0', 'a1', 'a2', 'a3')
    const log: string[] = []
    client
      .topic('orders', { onFail: again(2, 0) })
      .pipe(
        tap(record => {
          if (nameOf(record) === 'a2#1') clock.schedule(() => record.fail(new Error('no')), 2)
        }),
        handle(
          record => {
            log.push(nameOf(record))
            return timer(5, clock)
          },
          { order: 'key' },
        ),
      )
      .subscribe()
    client.start()
    clock.runTo(1000)
    expect(log).toEqual(['a0#1', 'a1#1', 'a2#2', 'a3#1'])
  })

  it('redelivers records that failed at the same time in their order', () => {
    const { clock, client, again, publish } = setUp()
    publish('orders', ...Array.from({ length: 8 }, (_, at) => `a${at}`))
    const log: string[] = []
    client
      .topic('orders', { onFail: again(2, 10) })
      .pipe(
        connect(records =>
          merge(
            records.pipe(
              filter(({ attempt }) => attempt === 1),
              bufferCount(8),
              mergeMap(all => all),
            ),
            records.pipe(filter(({ attempt }) => attempt > 1)),
          ),
        ),
      )
      .subscribe(record => {
        log.push(nameOf(record))
        if (record.attempt === 1) record.fail(new Error('no'))
      })
    client.start()
    clock.runTo(1000)
    expect(log.slice(8)).toEqual(Array.from({ length: 8 }, (_, at) => `a${at}#2`))
  })

  it('continues a key whose record is done, whatever happens to the other records of its array', () => {
    const { clock, client, again, publish } = setUp()
    publish('orders', 'a0', 'b0', 'a1', 'b1')
    const log: string[] = []
    client
      .topic('orders', { onFail: again(Number.POSITIVE_INFINITY, 10) })
      .pipe(
        connect(records =>
          merge(
            records.pipe(
              filter(record => ['a0#1', 'b0#1'].includes(nameOf(record))),
              bufferCount(2),
            ),
            records.pipe(
              filter(record => !['a0#1', 'b0#1'].includes(nameOf(record))),
              map(record => [record]),
            ),
          ),
        ),
        handle(
          records => {
            log.push(records.map(nameOf).join())
            return records[0]!.attempt === 1 ? no() : String(records[0]!.value) === 'b0' ? no() : of(1)
          },
          { order: 'key' },
        ),
      )
      .subscribe()
    client.start()
    clock.runTo(15)
    expect(log).toEqual(['a0#1,b0#1', 'a0#2', 'a1#1', 'b0#2'])
  })

  it('does not delay a close for records behind an array that is behind a failed record', async () => {
    const { clock, client, again, publish } = setUp()
    publish('orders', 'a0', 'a1', 'b1', 'b2')
    client
      .topic('orders', { onFail: again(2, 100_000) })
      .pipe(
        connect(records =>
          merge(
            records.pipe(
              filter(({ value }) => ['a0', 'b2'].includes(String(value))),
              map(record => [record]),
            ),
            records.pipe(
              filter(({ value }) => ['a1', 'b1'].includes(String(value))),
              bufferCount(2),
            ),
          ),
        ),
        handle(() => no(), { order: 'key' }),
      )
      .subscribe()
    client.start()
    clock.runTo(100)
    const closed = client.closeGracefully({ timeout: 60_000 })
    clock.runTo(1000)
    expect(await Promise.race([closed, Promise.resolve('still closing')])).toMatchObject({
      drained: false,
      unsettled: 3,
    })
  })

  it('delays a close for records behind a redelivered record, which can continue', async () => {
    const { clock, client, again, publish } = setUp()
    publish('orders', 'a0', 'a1', 'a2')
    const log: string[] = []
    client
      .topic('orders', { onFail: again(2, 10) })
      .pipe(
        handle(
          record => {
            log.push(nameOf(record))
            return nameOf(record) === 'a0#1' ? no() : timer(20, clock)
          },
          { order: 'key' },
        ),
      )
      .subscribe()
    client.start()
    clock.runTo(15)
    const closed = client.closeGracefully({ timeout: 60_000 })
    clock.runTo(1000)
    expect(await Promise.race([closed, Promise.resolve('still closing')])).toEqual({
      drained: true,
      unsettled: 0,
      left: [],
    })
    expect(log).toEqual(['a0#1', 'a0#2', 'a1#1', 'a2#1'])
  })
})
