import { Readable } from 'node:stream'
import { firstValueFrom, tap } from 'rxjs'
import {
  type Client,
  ClientClosedError,
  type ClientOptions,
  type ConsumeRecord,
  createClient,
  DecodeError,
  fixed,
  halt,
  json,
  TopicAlreadySubscribedError,
} from 'rxmika'
import { memoryBroker, runMarbles } from 'rxmika/testing'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

const open: Client[] = []

afterEach(async () => {
  await Promise.all(open.splice(0).map(client => client.close()))
})

function world(options: ClientOptions = {}, partitions = 1) {
  const broker = memoryBroker({ partitions })
  const client = createClient({
    driver: broker.driver(),
    env: {},
    group: 'billing',
    retryTopic: 'retry',
    dlqTopic: 'dlq',
    logger: false,
    commitInterval: 0,
    ...options,
  })
  open.push(client)
  return { broker, client }
}

const numbered = (count: number, partition = 0) =>
  Array.from({ length: count }, (_, at) => ({ value: String(at), partition }))

const text = (record: ConsumeRecord<unknown>) => String(record.value)

/** How many records are in flight, according to the client. */
const inFlight = (client: Client) => client.stalls({ all: true }).filter(({ why }) => why === 'unsettled').length

describe('for await over a topic', () => {
  it('gets records in order, and settles them like any pipeline', async () => {
    const { broker, client } = world()
    broker.publish('orders', numbered(20))
    const records = client.topic('orders')
    client.start()
    const seen: string[] = []
    for await (const record of records) {
      seen.push(text(record))
      expect(record.ack()).toBe(true)
      if (seen.length === 20) break
    }
    expect(seen).toEqual(numbered(20).map(({ value }) => value))
    await client.close()
    expect(broker.committed('billing', 'orders', 0)).toBe(20n)
  })

  it('has one record in flight, however slow its body is and however many records there are', async () => {
    const { broker, client } = world({}, 3)
    for (const partition of [0, 1, 2]) broker.publish('orders', numbered(100, partition))
    const records = client.topic('orders')
    client.start()
    let taken = 0
    for await (const record of records) {
      expect(inFlight(client)).toBe(1)
      // The driver has a turn in which it could deliver more.
      if (taken % 20 === 0) await new Promise(resolve => setImmediate(resolve))
      expect(inFlight(client)).toBe(1)
      record.ack()
      if (++taken === 300) break
    }
    await client.close()
    for (const partition of [0, 1, 2]) expect(broker.committed('billing', 'orders', partition)).toBe(100n)
  })

  it('takes partitions in turn: a full one does not delay the others', async () => {
    const { broker, client } = world({}, 3)
    for (const partition of [0, 1, 2]) broker.publish('orders', numbered(100, partition))
    const records = client.topic('orders')
    client.start()
    const partitions: number[] = []
    for await (const record of records) {
      partitions.push(record.partition)
      record.ack()
      // Fetched records are delivered in later turns.
      await new Promise(resolve => setImmediate(resolve))
      if (partitions.length === 30) break
    }
    for (const partition of [0, 1, 2]) expect(partitions.filter(one => one === partition)).toHaveLength(10)
  })

  it('waits at maxInFlight if its body settles nothing, and continues when a record is settled', async () => {
    const { broker, client } = world()
    broker.publish('orders', numbered(10))
    const iterator = client.topic('orders', { maxInFlight: 3 })[Symbol.asyncIterator]()
    client.start()
    const taken = [await iterator.next(), await iterator.next(), await iterator.next()].map(({ value }) => value!)
    const fourth = iterator.next()
    expect(await Promise.race([fourth, new Promise(resolve => setImmediate(resolve, 'waits'))])).toBe('waits')
    taken[0]!.ack()
    expect(text((await fourth).value!)).toBe('3')
    await iterator.return?.()
  })

  it.each([
    [
      'break',
      async (records: AsyncIterable<ConsumeRecord>) => {
        for await (const _ of records) break
      },
    ],
    [
      'return',
      (records: AsyncIterable<ConsumeRecord>) =>
        (async () => {
          for await (const _ of records) return
        })(),
    ],
    [
      'a throw',
      async (records: AsyncIterable<ConsumeRecord>) => {
        const loop = async () => {
          for await (const _ of records) throw new Error('in the body')
        }
        await expect(loop()).rejects.toThrow('in the body')
      },
    ],
    [
      'return() of the iterator',
      async (records: AsyncIterable<ConsumeRecord>) => {
        const iterator = records[Symbol.asyncIterator]()
        await iterator.next()
        expect(await iterator.return!()).toEqual({ done: true, value: undefined })
        expect(await iterator.next()).toEqual({ done: true, value: undefined })
      },
    ],
    [
      'throw() of the iterator',
      async (records: AsyncIterable<ConsumeRecord>) => {
        const iterator = records[Symbol.asyncIterator]()
        await iterator.next()
        await expect(iterator.throw!(new Error('given'))).rejects.toThrow('given')
        expect(await iterator.next()).toEqual({ done: true, value: undefined })
      },
    ],
  ] as const)('unsubscribes at %s, and its unsettled record is delivered to the next loop', async (_, leave) => {
    const { broker, client } = world()
    broker.publish('orders', numbered(3))
    const records = client.topic('orders')
    client.start()
    await leave(records)
    expect(client.stalls()).toMatchObject([{ offset: 0n, why: 'no-subscriber' }])
    const seen: string[] = []
    for await (const record of records) {
      seen.push(text(record))
      record.ack()
      if (seen.length === 3) break
    }
    expect(seen).toEqual(['0', '1', '2'])
  })

  it('ends a waiting next() by return()', async () => {
    const { broker, client } = world()
    const records = client.topic('orders')
    const iterator = records[Symbol.asyncIterator]()
    client.start()
    const waiting = [iterator.next(), iterator.next()]
    await iterator.return!()
    expect(await Promise.all(waiting)).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined },
    ])
    // The topic has no subscriber now.
    broker.publish('orders', numbered(1))
    expect(text(await firstValueFrom(records))).toBe('0')
  })

  it('subscribes at the first next(), and return() before that ends it without subscribing', async () => {
    const { broker, client } = world()
    broker.publish('orders', numbered(1))
    const records = client.topic('orders')
    const [unused, used] = [records[Symbol.asyncIterator](), records[Symbol.asyncIterator]()]
    client.start()
    expect(text((await used.next()).value!)).toBe('0')
    expect(await unused.return!()).toEqual({ done: true, value: undefined })
    await used.return!()
  })

  it('answers concurrent calls of next() in order', async () => {
    const { broker, client } = world()
    const iterator = client.topic('orders')[Symbol.asyncIterator]()
    client.start()
    const calls = [iterator.next(), iterator.next(), iterator.next()]
    broker.publish('orders', numbered(5))
    expect((await Promise.all(calls)).map(({ value }) => text(value!))).toEqual(['0', '1', '2'])
    expect(inFlight(client)).toBe(3)
    await iterator.return!()
  })

  it('counts as the one subscriber: a second loop is refused while it runs', async () => {
    const { broker, client } = world()
    broker.publish('orders', numbered(2))
    const records = client.topic('orders')
    client.start()
    for await (const record of records) {
      await expect(records[Symbol.asyncIterator]().next()).rejects.toThrow(TopicAlreadySubscribedError)
      record.ack()
      if (record.offset === 1n) break
    }
  })

  it('ends when the client closes, once its body is done, like every later loop', async () => {
    const { broker, client } = world()
    broker.publish('orders', numbered(5))
    const records = client.topic('orders')
    client.start()
    const seen: string[] = []
    for await (const record of records) {
      seen.push(text(record))
      if (seen.length > 1) record.ack()
      else {
        const closed = client.closeGracefully()
        await new Promise(resolve => setImmediate(resolve))
        expect(client.currentState).toBe('draining')
        record.ack()
        expect(await closed).toMatchObject({ drained: true, unsettled: 0 })
      }
    }
    expect(seen).toEqual(['0'])
    expect(broker.committed('billing', 'orders', 0)).toBe(1n)
    for (let loop = 0; loop < 2; loop++) for await (const record of records) seen.push(text(record))
    expect(seen).toEqual(['0'])
  })

  it('throws the error that closes the client: from a waiting next(), or from the next call', async () => {
    const controller = new AbortController()
    const { broker, client } = world({ signal: controller.signal })
    broker.publish('orders', numbered(1))
    const [orders, refunds] = [client.topic('orders'), client.topic('refunds')]
    client.start()
    const [busy, waiting] = [orders[Symbol.asyncIterator](), refunds[Symbol.asyncIterator]()]
    await busy.next()
    const waits = waiting.next()
    controller.abort(new Error('enough'))
    await expect(waits).rejects.toThrow(ClientClosedError)
    expect(await waiting.next()).toEqual({ done: true, value: undefined })
    await client.closed
    await expect(busy.next()).rejects.toMatchObject({ cause: { message: 'enough' } })
    expect(await busy.next()).toEqual({ done: true, value: undefined })
    await expect(orders[Symbol.asyncIterator]().next()).rejects.toThrow(ClientClosedError)
  })

  it('throws the error of a halt', async () => {
    const { broker, client } = world()
    broker.publish('orders', numbered(2))
    const records = client.topic('orders', { onFail: halt(client) })
    client.start()
    const loop = async () => {
      for await (const record of records) record.fail(new Error('no more'))
    }
    await expect(loop()).rejects.toMatchObject({ cause: { message: 'no more' } })
  })

  it('gets decoded values, without undecodable records and tombstones', async () => {
    const { broker, client } = world()
    const values = ['{"id":1}', 'bad', null, '{"id":2}', 'worse', '{"id":3}']
    broker.publish(
      'orders',
      values.map(value => ({ value })),
    )
    const records = client.topic('orders', { decode: json<{ id: number }>(), tombstones: 'ack', dlq: true })
    client.start()
    const ids: number[] = []
    for await (const record of records) {
      ids.push(record.value.id)
      record.ack()
      if (ids.length === 3) break
    }
    expect(ids).toEqual([1, 2, 3])
    await client.closeGracefully()
    expect(broker.records('dlq').map(({ value }) => String(value))).toEqual(['bad', 'worse'])
    expect(broker.committed('billing', 'orders', 0)).toBe(6n)
  })

  it('waits for an async decoder, one record at a time, and retries records that it rejects', async () => {
    const { broker, client } = world()
    broker.publish('orders', numbered(6))
    let decoding = 0
    const records = client.topic('orders', {
      retries: 1,
      decode: async (bytes, { attempt }) => {
        expect(++decoding).toBe(1)
        await new Promise(resolve => setImmediate(resolve))
        decoding--
        if (String(bytes) === '2' && attempt === 1) throw new Error('the registry is down')
        return Number(bytes)
      },
    })
    client.start()
    const seen: number[] = []
    for await (const record of records) {
      seen.push(record.value!)
      record.ack()
      if (seen.length === 6) break
    }
    expect([...seen].sort()).toEqual([0, 1, 2, 3, 4, 5])
  })

  it('releases the record in its decoder when it is left', async () => {
    const { broker, client } = world()
    broker.publish('orders', numbered(1))
    let decoded = () => {}
    const began = new Promise<void>(begin => {
      decoded = begin
    })
    let waits = true
    const records = client.topic('orders', {
      decode: async bytes => {
        decoded()
        if (waits) await new Promise(() => {})
        return String(bytes)
      },
    })
    client.start()
    const iterator = records[Symbol.asyncIterator]()
    const never = iterator.next()
    await began
    await iterator.return!()
    expect(await never).toEqual({ done: true, value: undefined })
    waits = false
    expect((await firstValueFrom(records)).value).toBe('0')
  })

  it('is paused and resumed like any subscriber', async () => {
    const { broker, client } = world()
    broker.publish('orders', numbered(2))
    const iterator = client.topic('orders')[Symbol.asyncIterator]()
    client.start()
    ;(await iterator.next()).value!.ack()
    client.pause('orders')
    const second = iterator.next()
    expect(await Promise.race([second, new Promise(resolve => setImmediate(resolve, 'waits'))])).toBe('waits')
    client.resume('orders')
    expect(text((await second).value!)).toBe('1')
    await iterator.return!()
  })

  it('gets retries, and dead letters of a replay', async () => {
    const { broker, client } = world()
    broker.publish('orders', numbered(1))
    const records = client.topic('orders', { retries: 1, dlq: true, backoff: fixed(1) })
    client.start()
    const seen: string[] = []
    for await (const record of records) {
      seen.push(`${record.source.kind} ${record.attempt}`)
      if (record.source.kind === 'dlq') {
        record.ack()
        break
      }
      record.fail(new Error('no'))
      if (record.attempt === 2) {
        await vi.waitFor(() => expect(broker.records('dlq')).toHaveLength(1))
        client.replayDlq({ until: 'forever' }).subscribe({ error: () => {} })
      }
    }
    expect(seen).toEqual(['topic 1', 'retry 2', 'dlq 2'])
  })

  it('does not delay a rebalance, because records that it has not asked for are not in flight', async () => {
    const { broker, client } = world({}, 2)
    for (const partition of [0, 1]) broker.publish('orders', numbered(5, partition))
    const iterator = client.topic('orders')[Symbol.asyncIterator]()
    client.start()
    const first = (await iterator.next()).value!
    first.ack()
    const revoked = firstValueFrom(client.events.pipe(tap()), { defaultValue: undefined })
    broker.revoke('billing', 'orders', 0)
    await revoked
    const rest: string[] = []
    for (let at = 0; at < 9; at++) {
      const { value } = await iterator.next()
      rest.push(`${value!.partition} ${text(value!)}`)
      value!.ack()
    }
    expect(new Set(rest).size).toBe(9)
    await iterator.return!()
  })

  it("inherits from AsyncIterator, so that the engine's helpers work", async () => {
    const { broker, client } = world()
    broker.publish('orders', numbered(4))
    const records = client.topic('orders')
    client.start()
    const iterator = records[Symbol.asyncIterator]()
    const inherited: Record<string, unknown> = Object.getPrototypeOf(
      Object.getPrototypeOf(async function* () {}.prototype),
    )
    expect(Object.prototype.isPrototypeOf.call(inherited, iterator)).toBe(true)
    // Like an engine that has iterator helpers.
    const before = Object.getOwnPropertyDescriptor(inherited, 'take')
    inherited.take = async function* (this: AsyncIterable<unknown>, limit: number) {
      if (limit > 0)
        for await (const value of this) {
          yield value
          if (--limit === 0) return
        }
    }
    try {
      const seen: string[] = []
      const taken = (iterator as unknown as { take(limit: number): AsyncIterable<ConsumeRecord> }).take(2)
      for await (const record of taken) {
        seen.push(text(record))
        record.ack()
      }
      expect(seen).toEqual(['0', '1'])
    } finally {
      if (before === undefined) delete inherited.take
      else Object.defineProperty(inherited, 'take', before)
    }
    // After `break` the topic can have another subscriber: here Node's streams, which take async iterables.
    const stream = Readable.from(records)
    const seen: string[] = []
    for await (const record of stream) {
      seen.push(text(record))
      record.ack()
      if (seen.length === 2) break
    }
    expect(seen).toEqual(['2', '3'])
  })

  it('is disposed of by `await using`', async () => {
    const { broker, client } = world()
    broker.publish('orders', numbered(1))
    const records = client.topic('orders')
    client.start()
    {
      await using iterator = records[Symbol.asyncIterator]() as AsyncIterableIterator<ConsumeRecord> & AsyncDisposable
      await iterator.next()
    }
    expect(client.stalls()).toMatchObject([{ why: 'no-subscriber' }])
  })

  it('gets no record that fails with a DecodeError, as with the operator', async () => {
    const { broker, client } = world()
    broker.publish('orders', { value: 'bad' })
    const records = client.topic('orders', { decode: json(), onFail: halt(client) })
    client.start()
    await expect(records[Symbol.asyncIterator]().next()).rejects.toMatchObject({ cause: expect.any(DecodeError) })
  })
})

describe('for await in a marble test', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('delivers b only when the body of a has ended', () =>
    runMarbles(
      ({ createClient, records, expectDeliveries, expectCommits }) => {
        const orders = createClient().topic('orders')
        const loop = async () => {
          for await (const record of orders) {
            await new Promise(resolve => setTimeout(resolve, 5))
            record.ack()
          }
        }
        void loop()
        records('orders', '              ab-c----------')
        expectDeliveries('orders').toBe('a----b----c----')
        expectCommits('orders').toBe('   -----1----2----3')
      },
      { advanceTimers: ms => vi.advanceTimersByTimeAsync(ms) },
    ))

  it('releases a partition at once if its body has ended, and commits only acked records', () =>
    runMarbles(
      ({ createClient, records, revoke, expectDeliveries, expectCommits, expectEvents }) => {
        const orders = createClient().topic('orders')
        const loop = async () => {
          for await (const record of orders) {
            await new Promise(resolve => setTimeout(resolve, 4))
            record.ack()
          }
        }
        void loop()
        records('orders', '                                       abc----------')
        revoke('orders', '                                        -----r-------')
        expectDeliveries('orders').toBe('                         a---b---c----')
        expectCommits('orders').toBe('                            ----1---2---3')
        expectEvents({ r: 'revoked', a: 'assigned' }, { topic: 'orders' }).toBe('a-------(ra)-')
      },
      { advanceTimers: ms => vi.advanceTimersByTimeAsync(ms) },
    ))
})
