import { AsyncLocalStorage } from 'node:async_hooks'
import { tracingChannel } from 'node:diagnostics_channel'
import { setTimeout as pause } from 'node:timers/promises'
import { filter, firstValueFrom, map, mergeMap, Subject, take, tap, timer } from 'rxjs'
import { BatchFailure, type Client, type ConsumeRecord, createClient, handle, keep, type PublishRecord } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  commitChannel,
  processChannel,
  publishChannel,
  rebalanceChannel,
  receiveChannel,
  settleChannel,
} from '../../../src/channels'

const events = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'] as const
/** Fields that any of the messages may have. */
type Message = Record<string, unknown> & {
  record: ConsumeRecord
  records: PublishRecord[]
  copyOf: ConsumeRecord
  within?: (work: () => unknown) => unknown
}
type Told = { readonly on: string; readonly message: Message }

const listening: (() => void)[] = []
let client: Client | undefined

/** Everything that a channel publishes. */
function listenTo(name: string): Told[] {
  const told: Told[] = []
  for (const on of events) {
    const channel = tracingChannel(name)[on]
    const listener = (message: unknown) => void told.push({ on, message: message as Message })
    channel.subscribe(listener)
    listening.push(() => channel.unsubscribe(listener))
  }
  return told
}

function bind<T>(name: string, storage: AsyncLocalStorage<T>, store: (message: Message) => T): void {
  const { start } = tracingChannel(name)
  start.bindStore(storage as never, store as never)
  listening.push(() => start.unbindStore(storage as never))
}

/** A client on a broker that has a record of each value on `orders-0`. */
function clientWith(values: readonly (string | null)[], options: Partial<Parameters<typeof createClient>[0]> = {}) {
  const broker = memoryBroker({ partitions: 1 })
  broker.publish(
    'orders',
    values.map((value, at) => ({ key: `k${at}`, value })),
  )
  client = createClient({
    ...{ driver: broker.driver(), logger: false, group: 'billing', clientId: 'c1', commitInterval: 1 },
    ...{ retryTopic: 'retries', dlqTopic: 'dead' },
    ...options,
  })
  return { broker, client }
}

const on = (told: readonly Told[]) => told.map(({ on }) => on)
const committed = (of: Client, offset: bigint, topic = 'orders') =>
  firstValueFrom(of.events.pipe(filter(e => e.type === 'committed' && e.topic === topic && e.offset === offset)))

beforeEach(() => {
  client = undefined
})
afterEach(async () => {
  for (const stop of listening.splice(0)) stop()
  await client?.close()
})

describe('rxmika:process', () => {
  it('runs a handler and everything that it awaits within the store of start, and nothing else', async () => {
    const storage = new AsyncLocalStorage<string>()
    const { client } = clientWith(['a', 'b', 'c'])
    bind('rxmika:process', storage, message => String(message.record.value))
    const seen: unknown[] = []
    const outside: unknown[] = []
    client
      .topic('orders')
      .pipe(
        tap(() => outside.push(storage.getStore())),
        handle(async record => {
          const first = storage.getStore()
          await pause(1)
          seen.push([String(record.value), first, storage.getStore()])
        }),
        tap(() => outside.push(storage.getStore())),
      )
      .subscribe()
    const done = committed(client, 3n)
    client.start()
    await done
    expect(seen).toEqual([
      ['a', 'a', 'a'],
      ['b', 'b', 'b'],
      ['c', 'c', 'c'],
    ])
    expect(new Set(outside)).toEqual(new Set([undefined]))
  })

  it('runs an Observable that a handler returns within it', async () => {
    const storage = new AsyncLocalStorage<string>()
    const { client } = clientWith(['a', 'b'])
    bind('rxmika:process', storage, message => String(message.record.value))
    const seen: unknown[] = []
    client
      .topic('orders')
      .pipe(
        handle(record => timer(1).pipe(tap(() => seen.push([String(record.value), storage.getStore()]))), {
          order: 'none',
        }),
      )
      .subscribe()
    const done = committed(client, 2n)
    client.start()
    await done
    expect(seen.sort()).toEqual([
      ['a', 'a'],
      ['b', 'b'],
    ])
  })

  it('reports each call once, with one message: client, records, and outcome', async () => {
    const told = listenTo('rxmika:process')
    const { client } = clientWith(['a', 'b'])
    client
      .topic('orders', { dlq: true })
      .pipe(
        handle(record => {
          if (String(record.value) === 'b') throw new RangeError('no b')
          return 'done'
        }),
      )
      .subscribe()
    const done = committed(client, 2n)
    client.start()
    await done
    expect(on(told)).toEqual([
      ...['start', 'end', 'asyncStart', 'asyncEnd'],
      ...['start', 'end', 'error', 'asyncStart', 'asyncEnd'],
    ])
    const [first, second] = [told[0]!.message, told[4]!.message]
    expect(told.slice(0, 4).every(({ message }) => message === first)).toBe(true)
    expect(told.slice(4).every(({ message }) => message === second)).toBe(true)
    expect(first).toMatchObject({ client, clientId: 'c1', group: 'billing', batch: false, result: 'done' })
    expect(first.client).toBe(client)
    expect(String(first.record.value)).toBe('a')
    expect(first.records).toEqual([first.record])
    expect(second).toMatchObject({ error: expect.any(RangeError) })
    expect(second.result).toBeUndefined()
  })

  it('reports all records of a batch, and each of a batch that is handled one by one', async () => {
    const told = listenTo('rxmika:process')
    const { client } = clientWith(['a', 'b', 'c'])
    const batch = new Subject<void>()
    const records: ConsumeRecord[] = []
    client
      .topic('orders', { dlq: true })
      .pipe(
        tap(record => records.push(record)),
        filter(() => records.length === 3),
        map(() => records),
        handle(
          all => {
            if (all.length > 1) throw new Error('as a whole')
            if (String(all[0]!.value) === 'b') throw BatchFailure.of([all[0]!, 'bad'])
          },
          { order: 'none', onBatchFailure: 'one-by-one' },
        ),
      )
      .subscribe()
    const done = committed(client, 3n)
    client.start()
    await done
    batch.complete()
    const starts = told.filter(({ on }) => on === 'start').map(({ message }) => message.records.length)
    expect(starts).toEqual([3, 1, 1, 1])
    expect(on(told).filter(each => each === 'asyncEnd')).toHaveLength(4)
    expect(on(told).filter(each => each === 'error')).toHaveLength(2)
  })

  it('ends as cancelled once when the pipeline is unsubscribed', async () => {
    const told = listenTo('rxmika:process')
    const { client } = clientWith(['a', 'b'])
    let finish!: () => void
    const late = new Promise<void>(resolve => {
      finish = resolve
    })
    const began = new Subject<void>()
    const pipeline = client
      .topic('orders')
      .pipe(
        handle(
          record => {
            began.next()
            return String(record.value) === 'a' ? late : new Subject()
          },
          { order: 'none' },
        ),
      )
      .subscribe()
    const both = firstValueFrom(
      began.pipe(
        take(2),
        filter((_, at) => at === 1),
      ),
    )
    client.start()
    await both
    pipeline.unsubscribe()
    finish()
    await late
    await pause(1)
    const ends = told.filter(({ on }) => on === 'asyncEnd').map(({ message }) => message)
    expect(ends).toHaveLength(2)
    expect(ends.every(({ cancelled }) => cancelled === true)).toBe(true)
    expect(on(told)).not.toContain('error')
  })

  it('fails once by the time-out of a call', async () => {
    const told = listenTo('rxmika:process')
    const { client } = clientWith(['a'])
    let finish!: () => void
    const late = new Promise<void>(resolve => {
      finish = resolve
    })
    client
      .topic('orders', { dlq: true })
      .pipe(handle(() => late, { timeout: 5 }))
      .subscribe()
    const done = committed(client, 1n)
    client.start()
    await done
    finish()
    await pause(1)
    expect(on(told)).toEqual(['start', 'end', 'error', 'asyncStart', 'asyncEnd'])
    expect(told.at(-1)!.message.error).toMatchObject({ code: 'RXMIKA_HANDLER_TIMEOUT' })
  })

  it('calls the handler through `within`, once, and without it if it fails', async () => {
    const { client } = clientWith(['a', 'b', 'c'])
    const storage = new AsyncLocalStorage<string>()
    const { start } = tracingChannel('rxmika:process')
    const listener = (raw: unknown) => {
      const message = raw as Message
      const value = String(message.record.value)
      message.within = (work: () => unknown) => {
        if (value === 'b') throw new Error('broken instrumentation')
        const result = storage.run(value, work)
        if (value === 'c') throw new Error('broken after the call')
        return result
      }
    }
    start.subscribe(listener)
    listening.push(() => start.unsubscribe(listener))
    const seen: unknown[] = []
    client
      .topic('orders', { dlq: true })
      .pipe(handle(record => void seen.push([String(record.value), storage.getStore()])))
      .subscribe()
    const done = committed(client, 3n)
    client.start()
    await done
    expect(seen).toEqual([
      ['a', 'a'],
      ['b', undefined],
      ['c', 'c'],
    ])
  })
})

describe('rxmika:receive and rxmika:settle', () => {
  it('cover a pipeline without handle: what it begins is within the store of receive', async () => {
    const storage = new AsyncLocalStorage<string>()
    const received = listenTo('rxmika:receive')
    const settled = listenTo('rxmika:settle')
    const { client } = clientWith(['a', 'b'])
    bind('rxmika:receive', storage, message => String(message.record.value))
    const seen: unknown[] = []
    client
      .topic('orders', { dlq: true })
      .pipe(
        mergeMap(async record => {
          await pause(1)
          seen.push([String(record.value), storage.getStore()])
          if (String(record.value) === 'a') record.ack()
          else record.fail('why')
        }),
      )
      .subscribe()
    const done = committed(client, 2n)
    client.start()
    await done
    expect(seen).toEqual([
      ['a', 'a'],
      ['b', 'b'],
    ])
    expect(on(received)).toEqual(['start', 'end', 'start', 'end'])
    expect(on(settled)).toEqual(['start', 'end', 'start', 'end'])
    expect(settled.map(({ message: { how, reason } }) => [how, reason])).toEqual([
      ['ack', undefined],
      ['ack', undefined],
      ['fail', 'why'],
      ['fail', 'why'],
    ])
    expect(settled[0]!.message).toMatchObject({ clientId: 'c1', group: 'billing' })
    expect(settled[0]!.message.client).toBe(client)
  })

  it('report no settlement that does not count, and no record that is not delivered', async () => {
    const received = listenTo('rxmika:receive')
    const settled = listenTo('rxmika:settle')
    const { client, broker } = clientWith(['a', 'b'])
    broker.publish('retries', [{ value: 'of another group', headers: { mika_err_other_org_topic: 'orders' } }])
    client
      .topic('orders')
      .pipe(keep(record => String(record.value) === 'a'))
      .subscribe(record => {
        expect([record.ack(), record.ack(), record.fail('late')]).toEqual([true, false, false])
      })
    const done = Promise.all([committed(client, 2n), committed(client, 1n, 'retries')])
    client.start()
    await done
    expect(on(settled)).toEqual(['start', 'end', 'start', 'end'])
    expect(on(received)).toEqual(['start', 'end', 'start', 'end'])
  })

  it('reach a later subscriber, even for records that were delivered before', async () => {
    const { client } = clientWith(['a'])
    const record = firstValueFrom(client.topic('orders'))
    client.topic('other').subscribe()
    client.start()
    const delivered = await record
    // firstValueFrom has unsubscribed, so the record waits for the next subscriber. It can still be settled by hand.
    const settled = listenTo('rxmika:settle')
    delivered.ack()
    expect(on(settled)).toEqual(['start', 'end'])
  })
})

describe('rxmika:publish', () => {
  it('reports a call when it is subscribed to and when the broker has acknowledged it', async () => {
    const told = listenTo('rxmika:publish')
    const { client, broker } = clientWith([], { suffix: '-test' })
    const call = client.publish([
      { topic: 'a', value: '1' },
      { topic: 'b', value: '2' },
    ])
    expect(told).toEqual([])
    const places = await firstValueFrom(call)
    expect(on(told)).toEqual(['start', 'end', 'asyncStart', 'asyncEnd'])
    expect(told[0]!.message).toMatchObject({
      ...{ clientId: 'c1', topics: ['a', 'b'], copyOf: undefined, result: places },
      records: [{ topic: 'a' }, { topic: 'b' }],
    })
    expect(broker.records('a-test')).toHaveLength(1)
  })

  it('accepts additional headers from a subscriber, and nothing else', async () => {
    const { start } = tracingChannel('rxmika:publish')
    const listener = (raw: unknown) => {
      const message = raw as Message
      message.records = message.records.map(record => ({
        ...record,
        ...{ topic: 'elsewhere', value: 'changed', headers: { ...record.headers, traceparent: 't' } },
      }))
    }
    start.subscribe(listener)
    listening.push(() => start.unsubscribe(listener))
    const { client, broker } = clientWith([])
    await firstValueFrom(client.publish({ topic: 'a', value: '1', headers: { own: 'x' } }))
    expect(broker.records('elsewhere')).toEqual([])
    const [record] = broker.records('a')
    expect(String(record!.value)).toBe('1')
    expect(Object.keys(record!.headers as object)).toEqual(['own', 'traceparent'])
  })

  it('fails with the error of the call, or is cancelled with it', async () => {
    const told = listenTo('rxmika:publish')
    const { client, broker } = clientWith([])
    broker.disconnect()
    const refused = firstValueFrom(client.publish({ topic: 'a', value: '1' }, { timeout: 5 }))
    await expect(refused).rejects.toMatchObject({ code: 'RXMIKA_PUBLISH' })
    client.publish({ topic: 'a', value: '2' }).subscribe().unsubscribe()
    expect(on(told)).toEqual([
      ...['start', 'end', 'error', 'asyncStart', 'asyncEnd'],
      ...['start', 'end', 'asyncStart', 'asyncEnd'],
    ])
    expect(told[2]!.message.error).toMatchObject({ code: 'RXMIKA_PUBLISH' })
    expect(told.at(-1)!.message).toMatchObject({ cancelled: true })
  })

  it('reports copies too: their topic, their record, and their place', async () => {
    const told = listenTo('rxmika:publish')
    const { client } = clientWith(['a'])
    client
      .topic('orders', { retries: 1, dlq: true })
      .pipe(handle(() => Promise.reject(new Error('no'))))
      .subscribe()
    const done = committed(client, 1n, 'retries')
    client.start()
    await done
    const ends = told.filter(({ on }) => on === 'asyncEnd').map(({ message }) => message)
    expect(ends.map(({ topics, records, result }) => ({ topics, records, result }))).toEqual([
      { topics: ['retries'], records: [], result: [{ topic: 'retries', partition: 0, offset: 0n }] },
      { topics: ['dead'], records: [], result: [{ topic: 'dead', partition: 0, offset: 0n }] },
    ])
    expect(ends.map(({ copyOf }) => [copyOf.topic, copyOf.attempt, copyOf.source.topic])).toEqual([
      ['orders', 1, 'orders'],
      ['orders', 2, 'retries'],
    ])
  })
})

describe('rxmika:commit and rxmika:rebalance', () => {
  it('report each request, even a refused one', async () => {
    const told = listenTo('rxmika:commit')
    const { client, broker } = clientWith(['a'])
    const { CommitError } = await import('rxmika')
    broker.failNext('commit', new CommitError('later', { retriable: true }))
    client.topic('orders').subscribe(record => record.ack())
    const done = committed(client, 1n)
    client.start()
    await done
    expect(on(told)).toEqual([
      ...['start', 'end', 'error', 'asyncStart', 'asyncEnd'],
      ...['start', 'end', 'asyncStart', 'asyncEnd'],
    ])
    expect(told[0]!.message.positions).toEqual([{ topic: 'orders', partition: 0, offset: 1n }])
    expect(told[2]!.message.error).toMatchObject({ code: 'RXMIKA_COMMIT' })
  })

  it('report revoked, added and retained partitions, from the beginning to the end of a rebalance', async () => {
    const told = listenTo('rxmika:rebalance')
    const { client, broker } = clientWith(['a'])
    client.topic('orders').subscribe(record => record.ack())
    const done = committed(client, 1n)
    client.start()
    await done
    expect(on(told)).toEqual(['start', 'end', 'asyncStart', 'asyncEnd'])
    const place = { topic: 'orders', partition: 0 }
    expect(told[0]!.message).toMatchObject({ revoking: [], lost: [], added: expect.arrayContaining([place]) })
    told.length = 0
    const lost = firstValueFrom(client.events.pipe(filter(e => e.type === 'assigned')))
    broker.lose('billing', 'orders', 0)
    await lost
    expect(on(told)).toEqual(['start', 'end', 'asyncStart', 'asyncEnd'])
    expect(told[0]!.message).toMatchObject({ lost: [place], added: expect.arrayContaining([place]) })
  })
})

describe('channels without a subscriber', () => {
  const all = [receiveChannel, processChannel, settleChannel, publishChannel, commitChannel, rebalanceChannel]

  /** For each channel: how often `hasSubscribers` is read, and how much is published without a subscriber. */
  function watched() {
    const asked = new Map<object, number>(all.map(channel => [channel, 0]))
    let published = 0
    for (const channel of all) {
      Object.defineProperty(channel, 'hasSubscribers', {
        configurable: true,
        get() {
          asked.set(channel, asked.get(channel)! + 1)
          return false
        },
      })
      for (const on of events) {
        channel[on].publish = () => void published++
        channel[on].runStores = () => void published++ as never
        listening.push(() => {
          // Deletes only own properties: a channel gets other methods when it has a subscriber.
          Reflect.deleteProperty(channel[on], 'publish')
          Reflect.deleteProperty(channel[on], 'runStores')
        })
      }
      listening.push(() => Reflect.deleteProperty(channel, 'hasSubscribers'))
    }
    return { asked, published: () => published }
  }

  it('are checked once for many deliveries, and no message is created', async () => {
    const { asked, published } = watched()
    const { client } = clientWith(Array.from({ length: 1_000 }, (_, at) => String(at)))
    client
      .topic('orders')
      .pipe(handle(() => {}, { order: 'none' }))
      .subscribe()
    const done = committed(client, 1_000n)
    client.start()
    await done
    await firstValueFrom(client.publish({ topic: 'out', value: 'x' }))
    expect(published()).toBe(0)
    expect(asked.get(receiveChannel)).toBeLessThan(50)
    // For each call and each settlement the channel is checked, which takes some nanoseconds.
    expect(asked.get(processChannel)).toBe(1_000)
    expect(asked.get(settleChannel)).toBe(1_000)
    expect(asked.get(publishChannel)).toBe(1)
  })
})
