import { randomUUID } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { concatMap, delay, of, take, tap, toArray } from 'rxjs'
import { ClientClosedError, ConfigurationError, FetchError, type ReadOptions, type ReadRecord } from 'rxmika'
import { describe, expect } from 'vitest'
import type { Backend } from '../backend'
import { Collected } from '../collected'
import { numbered, scenarios, texts, type World } from '../world'

/** `client.read`. */
export function reading(backend: Backend): void {
  const scenario = scenarios(backend)

  async function all(world: World, topic: string, options?: ReadOptions): Promise<readonly ReadRecord[]> {
    const read = new Collected(world.client().client.read(topic, options))
    expect(await read.ended()).toEqual({})
    return read.values
  }

  const places = (records: readonly ReadRecord[]) =>
    records.map(({ partition, offset }) => `${partition}@${offset}`).sort()

  describe('read', () => {
    scenario('emits every record that was there, in the order of its partition, and completes', async world => {
      const topic = await world.topic('orders', 3)
      await backend.publish(topic, [...numbered(0, 500), ...numbered(500, 900, 2)])
      const read = new Collected(world.client().client.read(topic))
      expect(await read.ended()).toEqual({})
      const of = (partition: number) => read.values.filter(record => record.partition === partition)
      expect(texts(of(0))).toEqual(numbered(0, 500).map(({ value }) => value))
      expect(texts(of(2))).toEqual(numbered(500, 900).map(({ value }) => value))
      expect(read.values).toHaveLength(900)
      expect(of(0).map(({ offset }) => offset)).toEqual(Array.from({ length: 500 }, (_, at) => BigInt(at)))
    })

    scenario('completes at once for an empty topic and for an empty range', async world => {
      const topic = await world.topic('orders', 2)
      expect(await all(world, topic)).toEqual([])
      await backend.publish(topic, numbered(0, 3))
      expect(await all(world, topic, { from: 'latest' })).toEqual([])
      expect(await all(world, topic, { partitions: [] })).toEqual([])
      expect(await all(world, topic, { partitions: [1] })).toEqual([])
      expect(await all(world, topic, { from: new Map() })).toEqual([])
      expect(await all(world, topic, { from: new Map([[0, 3n]]) })).toEqual([])
    })

    scenario("ends at the topic's end at subscription, whatever is written later", async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 3))
      const { client } = world.client()
      const read = new Collected(
        client
          .read(topic)
          .pipe(
            concatMap((record, at) =>
              at === 0 ? backend.publish(topic, numbered(3, 9)).then(() => record) : of(record),
            ),
          ),
      )
      expect(await read.ended()).toEqual({})
      expect(texts(read.values)).toEqual(['0', '1', '2'])
      // Cold: each subscription is a read of its own.
      expect(await all(world, topic)).toHaveLength(9)
    })

    scenario('reads only the given partitions, from the given offsets', async world => {
      const topic = await world.topic('orders', 3)
      await backend.publish(topic, [...numbered(0, 4), ...numbered(0, 4, 1), ...numbered(0, 4, 2)])
      expect(places(await all(world, topic, { partitions: [2, 0, 2] }))).toEqual(
        [0, 1, 2, 3].flatMap(offset => [`0@${offset}`, `2@${offset}`]).sort(),
      )
      const from = new Map([
        [0, 3n],
        [1, 0n],
      ])
      expect(places(await all(world, topic, { from }))).toEqual(['0@3', '1@0', '1@1', '1@2', '1@3'])
      expect(places(await all(world, topic, { from, partitions: [0, 2] }))).toEqual(['0@3'])
    })

    scenario('reads from one time to another, exclusive of the end', async world => {
      const topic = await world.topic('orders', 2)
      const old = 1_600_000_000_000
      const at = (timestamp: number, partition: number) => ({ value: String(timestamp), timestamp, partition })
      await backend.publish(
        topic,
        [10, 20, 30, 40].map(ms => at(old + ms, 0)),
      )
      await backend.publish(topic, [at(old + 15, 1)])
      const between = (from: number | undefined, until: number | undefined) =>
        all(world, topic, {
          ...(from !== undefined && { from: new Date(old + from) }),
          ...(until !== undefined && { until: new Date(old + until) }),
        })
      const ms = (records: readonly ReadRecord[]) =>
        records.map(({ timestamp }) => timestamp - old).sort((a, b) => a - b)
      expect(ms(await between(15, 40))).toEqual([15, 20, 30])
      expect(ms(await between(11, 30))).toEqual([15, 20])
      expect(ms(await between(undefined, 20))).toEqual([10, 15])
      // No record is that late: the end is that of the log.
      expect(ms(await between(40, 1_000))).toEqual([40])
      expect(ms(await between(41, undefined))).toEqual([])
      expect(ms(await between(30, 20))).toEqual([])
      expect(ms(await between(undefined, -old - 5_000))).toEqual([])
    })

    scenario("continues with until: 'forever' until it is unsubscribed", async world => {
      const topic = await world.topic('orders', 2)
      await backend.publish(topic, numbered(0, 2))
      const read = new Collected(world.client().client.read(topic, { until: 'forever' }))
      await read.count(2)
      await backend.publish(topic, [...numbered(2, 3, 1), ...numbered(3, 4)])
      await read.count(4)
      expect(texts(read.values).sort()).toEqual(['0', '1', '2', '3'])
      expect(read.end).toBeUndefined()
      read.unsubscribe()
    })

    scenario('does not affect the group: it commits nothing, joins nothing and takes no partition', async world => {
      const topic = await world.topic('orders', 2)
      const group = world.name('group')
      await backend.publish(topic, [...numbered(0, 3), ...numbered(3, 6, 1)])
      const run = world.client({ group })
      const consumed = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
      await run.start()
      const read = new Collected(run.client.read(topic))
      await read.ended()
      expect(texts(read.values).sort()).toEqual(['0', '1', '2', '3', '4', '5'])
      await consumed.count(6)
      await Promise.all([run.committed(topic, 0, 3), run.committed(topic, 1, 3)])
      expect(run.events.values.filter(({ type }) => type === 'revoked')).toEqual([])

      const clientId = world.name('reader')
      const alone = new Collected(world.client({ clientId, group: world.name('unused') }).client.read(topic))
      await alone.ended()
      const groups = await backend.groups()
      expect(groups).not.toContain(world.name('unused'))
      expect(groups.filter(name => name.includes(clientId))).toEqual([])
    })

    scenario('has all headers of a record, including this library’s own, and no methods to settle', async world => {
      const group = world.name('group')
      const [topic, dlqTopic] = [await world.topic('orders'), await world.topic('dlq')]
      await backend.publish(topic, [{ key: 'k', value: 'v', headers: { trace: 't' } }])
      const run = world.client({ group, dlqTopic })
      run.client.topic(topic, { dlq: true }).subscribe(record => record.fail(new Error('no stock')))
      run.client.start()
      await run.committed(topic, 0, 1)
      const [letter] = await all(world, dlqTopic)
      expect(String(letter!.header('trace'))).toBe('t')
      expect(String(letter!.header(`mika_err_${group}_msg`))).toBe('no stock')
      expect(letter!.headers[`mika_err_${group}_org_topic`]).toEqual(Buffer.from(topic))
      expect(letter!.headerPairs[0]).toEqual(['trace', Buffer.from('t')])
      expect([letter!.topic, letter!.partition, letter!.offset, String(letter!.key)]).toEqual([dlqTopic, 0, 0n, 'k'])
      for (const member of ['ack', 'fail', 'signal', 'settled']) expect(member in letter!).toBe(false)
      expect(JSON.parse(JSON.stringify(letter))).toMatchObject({ topic: dlqTopic, offset: '0', key: 'k', value: 'v' })
    })

    scenario('appends the suffix to the topic, and shows its name without it', async world => {
      const suffix = `-${randomUUID().slice(0, 8)}`
      await backend.createTopic(`orders${suffix}`, 1)
      await backend.publish(`orders${suffix}`, numbered(0, 1))
      const read = new Collected(world.client({ suffix }).client.read('orders'))
      await read.ended()
      expect(read.values.map(({ topic }) => topic)).toEqual(['orders'])
    })

    scenario('can be unsubscribed at any time and read again', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 2_000))
      const { client } = world.client()
      const early = client.read(topic).subscribe()
      early.unsubscribe()
      for (const count of [1, 3, 600]) {
        const some = new Collected(client.read(topic).pipe(take(count), toArray()))
        await some.ended()
        expect(texts(some.values[0]!)).toEqual(numbered(0, count).map(({ value }) => value))
      }
      const within = new Collected(client.read(topic).pipe(take(5), delay(1)))
      within.unsubscribe()
      expect(await all(world, topic)).toHaveLength(2_000)
    })

    scenario('ends with a ClientClosedError when the client closes, and errors with one after that', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 2))
      const { client } = world.client()
      const read = new Collected(client.read(topic, { until: 'forever' }))
      await read.count(2)
      const closed = client.closeGracefully()
      expect((await read.ended()).error).toBeInstanceOf(ClientClosedError)
      await closed
      expect((await new Collected(client.read(topic)).ended()).error).toBeInstanceOf(ClientClosedError)
    })

    scenario('says that a topic or a partition does not exist', async world => {
      const topic = await world.topic('orders', 2)
      const { client } = world.client()
      const error = async (name: string, options?: ReadOptions) => {
        const { error } = await new Collected(client.read(name, options)).ended()
        expect(error).toBeInstanceOf(ConfigurationError)
        return String(error)
      }
      const missing = `partition ${topic}-7 does not exist (the topic has 2 partitions)`
      await Promise.all([
        expect(error(world.name('none'))).resolves.toContain(`topic '${world.name('none')}' does not exist`),
        expect(error(topic, { partitions: [0, 7] })).resolves.toContain(missing),
        expect(error(topic, { from: new Map([[7, 0n]]) })).resolves.toContain(missing),
      ])
      // Reading a topic does not create it.
      expect(await error(world.name('none'))).toContain('does not exist')
    })

    scenario('errors with the name of a topic that is deleted while it is read', async world => {
      const topic = await world.topic('orders', 2)
      await backend.publish(topic, numbered(0, 2))
      const run = world.client({ metadataMaxAge: 200 })
      const read = new Collected(run.client.read(topic, { until: 'forever' }))
      await read.count(2)
      await backend.deleteTopic(topic)
      const { error } = await read.ended()
      expect(error).toBeInstanceOf(FetchError)
      expect(error).toMatchObject({ topic })
      expect((error as Error).message).toContain(`topic '${topic}' was deleted`)
    })

    scenario('refuses invalid options, and names them', async world => {
      const { client } = world.client()
      const wrong = (options: unknown) => () => client.read('orders', options as ReadOptions)
      expect(wrong({ form: 'earliest' })).toThrow("read: unknown option 'form'; did you mean 'from'?")
      expect(wrong({ from: 'newest' })).toThrow("read: from must be 'earliest', 'latest', a valid Date or a Map")
      expect(wrong({ from: new Date(Number.NaN) })).toThrow('(got Invalid Date)')
      expect(wrong({ from: { 0: 1n } })).toThrow('read: from must be')
      expect(wrong({ from: new Map([[0, 5]]) })).toThrow('read: the offset of partition 0 in from must be a bigint')
      expect(wrong({ from: new Map([[0, -1n]]) })).toThrow('must be a bigint ≥ 0 (got -1n)')
      expect(wrong({ from: new Map([[-1, 0n]]) })).toThrow('read: a partition in from must be an integer ≥ 0 (got -1)')
      expect(wrong({ partitions: 3 })).toThrow('read: partitions must be an array of partition numbers')
      expect(wrong({ partitions: [0, 1.5] })).toThrow('(got 1.5)')
      expect(wrong({ until: 'end' })).toThrow("read: until must be 'caught-up', 'forever' or a valid Date")
      expect(() => client.read('')).toThrow(ConfigurationError)
      expect(() => client.read(undefined as never)).toThrow('read: topic must be a non-empty string')
    })

    scenario('reports a position beyond the end of the log, and continues at the end', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 2))
      const run = world.client()
      run.expected = [FetchError]
      const read = new Collected(run.client.read(topic, { from: new Map([[0, 9n]]), until: 'forever' }))
      const [error] = await run.errors.count(1)
      expect(error).toMatchObject({ code: 'RXMIKA_FETCH', topic, partition: 0, offset: 9n })
      expect(error!.message).toContain(`${topic}-0@9 is beyond the end of the log; reading goes on at 2`)
      await backend.publish(topic, numbered(2, 4))
      await read.count(2)
      expect(texts(read.values)).toEqual(['2', '3'])
      read.unsubscribe()
    })

    scenario('is an async iterable that ends with the read', async world => {
      const topic = await world.topic('orders', 2)
      await backend.publish(topic, [...numbered(0, 700), ...numbered(700, 800, 1)])
      const { client } = world.client()
      const seen: ReadRecord[] = []
      for await (const record of client.read(topic)) seen.push(record)
      expect(seen).toHaveLength(800)
      expect(texts(seen.filter(({ partition }) => partition === 0))).toEqual(numbered(0, 700).map(({ value }) => value))

      let left = 0
      for await (const record of client.read(topic, { until: 'forever' }))
        if (record.offset >= 2n && ++left === 3) break
      expect(left).toBe(3)

      const loop = client.read(topic, { from: 'latest', until: 'forever' })[Symbol.asyncIterator]()
      const waiting = loop.next()
      await setImmediate()
      await loop.return?.()
      expect(await waiting).toEqual({ done: true, value: undefined })
      expect(await loop.next()).toEqual({ done: true, value: undefined })

      const cut = client.read(topic, { from: 'latest', until: 'forever' })[Symbol.asyncIterator]()
      const refused = cut.next()
      await setImmediate()
      await Promise.all([client.close(), expect(refused).rejects.toBeInstanceOf(ClientClosedError)])
      expect(await cut.next()).toEqual({ done: true, value: undefined })
    })
  })
}
