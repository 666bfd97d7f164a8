import { pino } from 'pino'
import { tap } from 'rxjs'
import { ConfigurationError, type ConsumeRecord, type Driver, handle } from 'rxmika'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import type { Backend } from '../backend'
import { Collected } from '../collected'
import { done, Member } from '../driver-member'
import { numbered, scenarios, texts, type World } from '../world'

/** A short interval, so that tests can wait for it. */
const metadataMaxAge = 1_000

/** Matches topics of this test only, whose names begin with `base`. */
const patternOf = (world: World, base: string) => new RegExp(`^${base}-.*${world.name('').slice(1)}$`)

const shown = ({ topic, value }: ConsumeRecord) => `${topic} ${value}`

/** Topics that come and go while a client reads, by patterns, arrays and registrations after the start. */
export function manyTopics(backend: Backend): void {
  const scenario = scenarios(backend)

  async function connected(world: World): Promise<Driver> {
    const driver = backend.driver()
    world.drivers.push(driver)
    await done(driver.connect({ clientId: 'contract', logger: pino({ level: 'silent' }) }))
    return driver
  }

  describe('many topics', () => {
    scenario('the driver lists topics, and reports changes', async world => {
      const [a, b] = [await world.topic('a'), world.name('b')]
      const driver = await connected(world)
      // The driver uses the request's interval only from `consume` on, and the default before.
      const member = new Member(driver, { topics: [a], metadataMaxAge })
      await member.seen('assigned')
      const named = new Collected(driver.topicNames([a, b]))
      const all = new Collected(driver.topicNames())
      const mine = (names: readonly string[]) => names.filter(name => name === a || name === b)
      await named.count(1)
      await all.count(1)
      await backend.createTopic(b, 1)
      await named.count(2)
      await all.until(values => values.at(-1)!.includes(b))
      await backend.deleteTopic(a)
      await named.count(3)
      await all.until(values => !values.at(-1)!.includes(a))
      expect(named.values).toEqual([[a], [a, b], [b]])
      expect(all.values.map(mine)).toEqual(expect.arrayContaining([[a], [a, b], [b]]))
      expect(all.values.flat()).not.toContain('__consumer_offsets')
      for (const collected of [named, all]) collected.unsubscribe()
    })

    for (const how of ['in a group', 'without a group']) {
      const groupOf = (world: World) => ({ group: how === 'in a group' ? world.name('group') : undefined })

      scenario(`the driver joins and leaves topics while it consumes, ${how}`, async world => {
        const [a, b] = [await world.topic('a'), await world.topic('b', 2)]
        const member = new Member(await connected(world), { ...groupOf(world), topics: [a], metadataMaxAge })
        await member.events.until(() => member.owned.size === 1)
        const assigned = member.owned.get(`${a}/0`)
        member.driver.subscribe([a, b])
        await member.events.until(() => member.owned.size === 3)
        // Retained partitions have the same assignment, and continue where they were.
        expect(member.owned.get(`${a}/0`)).toBe(assigned)
        await backend.publish(a, [{ value: 'of a', partition: 0 }])
        await backend.publish(b, [{ value: 'of b', partition: 1 }])
        await member.read(2)
        expect(texts(member.reads).sort()).toEqual(['of a', 'of b'])
        member.driver.subscribe([b])
        await member.events.until(() => member.owned.size === 2)
        expect(assigned!.ended).toBe(true)
        await backend.publish(b, [{ value: 'more', partition: 0 }])
        await member.read(3)
      })

      scenario(`the driver reads topics created later from their beginning, ${how}`, async world => {
        const [a, b, c] = [await world.topic('a'), await world.topic('b'), await world.topic('c')]
        for (const topic of [b, c]) await backend.publish(topic, numbered(0, 2))
        const member = new Member(await connected(world), {
          ...groupOf(world),
          ...{ topics: [a], metadataMaxAge, startFrom: 'latest', cameLater: topic => topic === b },
        })
        await member.events.until(() => member.owned.size === 1)
        member.driver.subscribe([a, b, c])
        await member.events.until(() => member.owned.size === 3)
        expect([b, c].map(topic => member.owned.get(`${topic}/0`)!.position)).toEqual([0, 2])
      })
    }

    scenario(`a pattern includes topics created later, each with its own retries and dead letters`, async world => {
      const retryTopic = await world.topic('orders-retry')
      const dlqTopic = await world.topic('orders-dlq')
      const first = await world.topic('orders-a')
      const run = world.client({
        ...{ group: world.name('group'), metadataMaxAge, retryTopic, dlqTopic, startFrom: 'latest' },
      })
      const seen: string[] = []
      const outcomes = new Collected(
        run.client.topic(patternOf(world, 'orders'), { retries: 1, dlq: true }).pipe(
          handle(record => {
            seen.push(`${shown(record)} #${record.attempt}`)
            if (String(record.value) === 'bad') throw new Error('no')
          }),
        ),
      )
      await run.start()
      const created = performance.now()
      const second = await world.topic('orders-b')
      await run.event('assigned', ({ topic }) => topic === second)
      expect(performance.now() - created, 'joined after').toBeLessThan(metadataMaxAge + 5_000)
      await backend.publish(second, [
        { value: 'bad', partition: 0 },
        { value: 'good', partition: 0 },
      ])
      await backend.publish(first, [{ value: 'good', partition: 0 }])
      await outcomes.count(4)
      await run.event('dead-lettered')
      expect(seen.sort()).toEqual(
        [`${second} bad #1`, `${second} bad #2`, `${second} good #1`, `${first} good #1`].sort(),
      )
      const [letter] = await backend.records(dlqTopic)
      const origin = letter!.headers.find(([name]) => name.endsWith('_org_topic'))?.[1]
      expect(String(origin)).toBe(second)
    })

    scenario(`topics can be registered after the start, and are read in addition to the others`, async world => {
      const [a, b, c] = [await world.topic('a'), await world.topic('later-b'), world.name('later-c')]
      const run = world.client({ group: world.name('group'), metadataMaxAge, rebalanceTimeout: 500 })
      const unsettled = new Collected(run.client.topic(a))
      await run.start()
      await backend.publish(a, [{ value: '1', partition: 0 }])
      await unsettled.count(1)
      const later = new Collected(run.client.topic(patternOf(world, 'later')))
      await run.event('assigned', ({ topic }) => topic === b)
      await backend.createTopic(c, 1)
      await run.event('assigned', ({ topic }) => topic === c)
      for (const topic of [a, b, c]) await backend.publish(topic, [{ value: '2', partition: 0 }])
      await later.count(2)
      await unsettled.count(2)
      expect(later.values.map(shown).sort()).toEqual([`${b} 2`, `${c} 2`].sort())
      // The other partition was not revoked, so its record in flight can still be acked.
      expect(unsettled.values[0]!.ack()).toBe(true)
      await run.committed(a, 0, 1)
    })

    scenario('a client without topics begins to read when one is registered', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 3))
      const run = world.client({ group: world.name('group') })
      await run.start()
      const records = new Collected(run.client.topic(topic))
      await records.count(3)
      for (const record of records.values) record.ack()
      await run.committed(topic, 0, 3)
    })
  })
}

/** For brokers that do not create topics. */
export function topicsThatComeAndGo(backend: Backend): void {
  const scenario = scenarios(backend)

  describe('topics that come and go', () => {
    beforeAll(() => backend.open())
    afterAll(() => backend.close())

    scenario(
      'a topic that is registered after the start and does not exist errors only its own stream',
      async world => {
        const topic = await world.topic('orders')
        const missing = world.name('missing')
        const run = world.client({ group: world.name('group') })
        run.expected = [ConfigurationError]
        const orders = new Collected(run.client.topic(topic))
        await run.start()
        const { error } = await new Collected(run.client.topic(missing)).ended()
        expect(error).toBeInstanceOf(ConfigurationError)
        expect(String(error)).toContain(`'${missing}'`)
        await backend.createTopic(missing, 1)
        const again = new Collected(run.client.topic(missing))
        await run.event('assigned', event => event.topic === missing)
        for (const each of [topic, missing]) await backend.publish(each, [{ value: '1', partition: 0 }])
        await orders.count(1)
        await again.count(1)
        expect(run.client.currentState).toBe('running')
      },
    )

    // Other brokers create a deleted topic again when a client requests it.
    scenario(`a deleted topic is removed from its pattern without an error`, async world => {
      const [gone, stays] = [await world.topic('orders-a'), await world.topic('orders-b')]
      const run = world.client({ group: world.name('group'), metadataMaxAge })
      const records = new Collected(run.client.topic(patternOf(world, 'orders')).pipe(tap(record => record.ack())))
      await run.start()
      for (const topic of [gone, stays]) await backend.publish(topic, [{ value: '1', partition: 0 }])
      await records.count(2)
      await run.committed(gone, 0, 1)
      await backend.deleteTopic(gone)
      await run.events.until(events =>
        events.some(event => (event.type === 'revoked' || event.type === 'lost') && event.topic === gone),
      )
      await backend.publish(stays, [{ value: '2', partition: 0 }])
      await records.count(3)
      const third = await world.topic('orders-c')
      await backend.publish(third, [{ value: '3', partition: 0 }])
      await records.count(4)
      expect(records.values.slice(2).map(shown)).toEqual([`${stays} 2`, `${third} 3`])
      await run.committed(third, 0, 1)
    })

    scenario('an array waits for topics that do not exist', async world => {
      const [a, b] = [await world.topic('a'), world.name('b')]
      const run = world.client({ group: world.name('group'), metadataMaxAge })
      // Acked at once, because a rebalance of the classic protocol waits for records in flight.
      const records = new Collected(run.client.topic([a, b]).pipe(tap(record => record.ack())))
      await run.start()
      await backend.publish(a, [{ value: '1', partition: 0 }])
      await records.count(1)
      await backend.createTopic(b, 1)
      await backend.publish(b, [{ value: '2', partition: 0 }])
      await records.count(2)
      expect(records.values.map(shown)).toEqual([`${a} 1`, `${b} 2`])
    })
  })
}
