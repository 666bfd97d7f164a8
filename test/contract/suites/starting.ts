import { tap } from 'rxjs'
import {
  ConfigurationError,
  DlqNotConfiguredError,
  TopicAlreadyRegisteredError,
  TopicAlreadySubscribedError,
  TopicNotRegisteredError,
} from 'rxmika'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import type { Backend } from '../backend'
import { Collected } from '../collected'
import { numbered, scenarios, texts } from '../world'

export function starting(backend: Backend): void {
  const scenario = scenarios(backend)

  describe('registering and starting', () => {
    scenario('refuses to register a topic twice', async world => {
      const { client } = world.client()
      client.topic('orders')
      expect(() => client.topic('orders')).toThrow(TopicAlreadyRegisteredError)
      expect(() => client.topic('orders')).toThrow("topic 'orders' is registered already")
    })

    scenario('refuses a second subscriber, and continues with the first', async world => {
      const topic = await world.topic('orders')
      const run = world.client({ group: world.name('group') })
      const orders = run.client.topic(topic)
      const first = new Collected(orders.pipe(tap(record => record.ack())))
      const second = new Collected(orders)
      expect((await second.ended()).error).toBeInstanceOf(TopicAlreadySubscribedError)
      run.client.start()
      await backend.publish(topic, numbered(0, 2))
      await run.committed(topic, 0, 2)
      expect(texts(first)).toEqual(['0', '1'])
    })

    scenario('refuses topics that are not registered, and a replay without a DLQ topic', async world => {
      const { client } = world.client()
      expect(() => client.pause('orders')).toThrow(TopicNotRegisteredError)
      expect(() => client.resume('orders')).toThrow("topic 'orders' is not registered")
      expect(() => client.replayDlq()).toThrow(DlqNotConfiguredError)
    })

    scenario("refuses startFrom: 'committed' without a group", async world => {
      const { client } = world.client({ startFrom: 'committed' })
      client.topic('orders')
      expect(() => client.start()).toThrow("startFrom 'committed' needs a group")
      expect(client.currentState).toBe('idle')
    })

    scenario('starts once, however often start() is called', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 2))
      const run = world.client({ group: world.name('group') })
      const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
      run.client.start()
      run.client.start()
      await run.committed(topic, 0, 2)
      run.client.start()
      expect(texts(seen)).toEqual(['0', '1'])
      expect(run.events.values.filter(event => event.type === 'state').map(({ state }) => state)).toEqual([
        'starting',
        'running',
      ])
    })

    scenario('appends the suffix to the group and to every topic, and reports names without it', async world => {
      const suffix = `-${world.name('test')}`
      const [topic, retryTopic, dlqTopic] = ['orders', 'retries', 'dlq'].map(name => world.name(name)) as [
        string,
        string,
        string,
      ]
      await Promise.all([topic, retryTopic, dlqTopic].map(name => backend.createTopic(name + suffix, 1)))
      await backend.publish(topic + suffix, numbered(0, 2))
      const run = world.client({ group: 'billing', retryTopic, dlqTopic, suffix })
      const seen = new Collected(
        run.client
          .topic(topic, { retries: 1, dlq: true })
          .pipe(tap(record => (record.source.kind === 'dlq' ? record.ack() : record.fail('no')))),
      )
      run.client.start()
      await Promise.all([run.committed(topic, 0, 2), run.committed(retryTopic, 0, 2)])
      expect(new Set(seen.values.map(record => record.topic))).toEqual(new Set([topic]))
      expect(new Set(seen.values.map(({ source }) => source.topic))).toEqual(new Set([topic, retryTopic]))
      expect(await backend.committed(`billing${suffix}`, topic + suffix, 0)).toBe(2n)
      expect(await backend.committed(`billing${suffix}`, retryTopic + suffix, 0)).toBe(2n)
      const [dead] = await backend.records(dlqTopic + suffix)
      expect(Object.fromEntries(dead!.headers)).toMatchObject({
        [`mika_err_billing${suffix}_org_topic`]: Buffer.from(topic + suffix),
      })
      const places = run.events.values.flatMap(event => ('topic' in event ? event.topic : []))
      expect(new Set(places)).toEqual(new Set([topic, retryTopic, dlqTopic]))

      const published = new Collected(run.client.publish({ topic, value: '2' }))
      await published.ended()
      expect(published.values).toEqual([[{ topic, partition: 0, offset: 2n }]])
      await run.committed(topic, 0, 3)
      const refused = new Collected(run.client.publish({ topic, partition: 7, value: 'v' }, { timeout: 1_000 }))
      expect((await refused.ended()).error).toMatchObject({ name: 'PublishError', topic })
    })
  })

  describe('where reading starts', () => {
    scenario("starts at the first record by default, and for 'earliest'", async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 3))
      for (const startFrom of [undefined, 'earliest'] as const) {
        const run = world.client({ group: world.name(`group-${startFrom}`), startFrom })
        const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
        run.client.start()
        await run.committed(topic, 0, 3)
        expect(texts(seen)).toEqual(['0', '1', '2'])
      }
    })

    scenario("starts at the end for 'latest', and commits that position", async world => {
      const group = world.name('group')
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 3))
      const first = world.client({ group, startFrom: 'latest' })
      first.client.topic(topic).subscribe()
      await first.start()
      await first.client.close()
      expect(await backend.committed(group, topic, 0)).toBe(3n)

      // Records published while no client reads are after that end.
      await backend.publish(topic, numbered(3, 5))
      const second = world.client({ group, startFrom: 'latest' })
      const seen = new Collected(second.client.topic(topic).pipe(tap(record => record.ack())))
      second.client.start()
      await second.committed(topic, 0, 5)
      expect(texts(seen)).toEqual(['3', '4'])
    })

    scenario('starts at the first record not older than a date', async world => {
      const topic = await world.topic('orders', 2)
      const at = (timestamp: number, partition: number) => ({ value: String(timestamp), timestamp, partition })
      const old = 1_600_000_000_000
      await backend.publish(topic, [at(old, 0), at(old + 10, 0), at(old + 20, 0), at(old, 1)])
      const run = world.client({ group: world.name('group'), startFrom: new Date(old + 5) })
      const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
      await run.start()
      await run.committed(topic, 0, 3)
      await backend.publish(topic, [at(old + 30, 1)])
      await run.committed(topic, 1, 2)
      const values = texts(seen).map(Number)
      expect(values).toEqual([old + 10, old + 20, old + 30])
    })

    scenario("continues at the group's position, whatever startFrom is", async world => {
      const group = world.name('group')
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 4))
      const first = world.client({ group })
      first.client.topic(topic).subscribe(record => Number(record.value) < 2 && record.ack())
      first.client.start()
      await first.committed(topic, 0, 2)
      await first.client.close()
      for (const startFrom of ['committed', 'latest', new Date()] as const) {
        const run = world.client({ group, startFrom })
        const seen = new Collected(run.client.topic(topic))
        run.client.start()
        await seen.count(2)
        expect(texts(seen)).toEqual(['2', '3'])
        await run.client.close()
      }
    })

    scenario("closes with a ConfigurationError for 'committed' if the group has committed nothing", async world => {
      const topic = await world.topic('orders')
      const run = world.client({ group: world.name('group'), startFrom: 'committed' })
      run.expected = [ConfigurationError]
      const orders = new Collected(run.client.topic(topic))
      run.client.start()
      const { error } = await orders.ended()
      expect(error).toBeInstanceOf(ConfigurationError)
      expect(String(error)).toContain(topic)
      await run.client.closed
      expect(run.errors.values.at(-1)).toBe(error)
    })
  })

  describe('without a group', () => {
    scenario('reads every partition, commits nothing and leaves no group behind', async world => {
      const topic = await world.topic('orders', 3)
      await backend.publish(topic, [...numbered(0, 2), ...numbered(2, 4, 1), ...numbered(4, 6, 2)])
      const clientId = world.name('client')
      const runs = [world.client({ clientId }), world.client({ clientId })]
      const seen = runs.map(({ client }) => new Collected(client.topic(topic).pipe(tap(record => record.ack()))))
      for (const { client } of runs) client.start()
      for (const one of seen) {
        await one.count(6)
        expect(texts(one).sort()).toEqual(['0', '1', '2', '3', '4', '5'])
      }
      await backend.publish(topic, numbered(6, 7, 1))
      for (const one of seen) await one.count(7)
      for (const { client } of runs)
        expect(await client.closeGracefully()).toEqual({ drained: true, unsettled: 0, left: [] })
      for (const { events } of runs) expect(events.values.filter(({ type }) => type === 'committed')).toEqual([])
      expect((await backend.groups()).filter(group => group.includes(clientId))).toEqual([])
    })

    scenario('reads from startFrom at each start', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 2))
      for (const round of [0, 1]) {
        const run = world.client()
        const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
        run.client.start()
        await seen.count(2)
        expect([round, ...texts(seen)]).toEqual([round, '0', '1'])
        await run.client.close()
      }
      const run = world.client({ startFrom: 'latest' })
      const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
      await run.start()
      await backend.publish(topic, numbered(2, 3))
      await seen.count(1)
      expect(texts(seen)).toEqual(['2'])
    })
  })
}

/** On a broker that creates no topics. */
export function missingTopics(backend: Backend): void {
  const scenario = scenarios(backend)

  describe('where brokers do not create topics', () => {
    beforeAll(() => backend.open())
    afterAll(() => backend.close())

    scenario('closes with a ConfigurationError that names a topic which does not exist', async world => {
      const topic = await world.topic('orders')
      const run = world.client({ group: world.name('group') })
      run.expected = [ConfigurationError]
      const orders = new Collected(run.client.topic(topic))
      const missing = new Collected(run.client.topic(world.name('missing')))
      const errors = new Collected(run.client.start())
      const { error } = await missing.ended()
      expect(error).toBeInstanceOf(ConfigurationError)
      expect(String(error)).toContain(`'${world.name('missing')}'`)
      expect(String(error)).not.toContain(`'${topic}'`)
      expect(await orders.ended()).toEqual({ error })
      expect(await errors.ended()).toEqual({})
      expect(errors.values).toEqual([error])
      expect(run.client.currentState).toBe('closed')
    })

    scenario('checks the retry and the DLQ topic at the start too', async world => {
      const topic = await world.topic('orders')
      const retryTopic = world.name('missing')
      const run = world.client({ group: world.name('group'), retryTopic })
      run.expected = [ConfigurationError]
      run.client.topic(topic, { retries: 1 }).subscribe({ error: () => {} })
      run.client.start()
      await run.client.closed
      expect(String(run.errors.values.at(-1))).toContain(`'${retryTopic}'`)
    })
  })
}
