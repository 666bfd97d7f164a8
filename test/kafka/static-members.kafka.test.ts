import { tap } from 'rxjs'
import { ConfigurationError, ConnectionError } from 'rxmika'
import { afterAll, beforeAll, expect } from 'vitest'
import { Collected } from '../contract/collected'
import { kafkaBackend } from '../contract/kafka-backend'
import { numbered, type Run, scenarios, type World } from '../contract/world'
import { ClientProcess } from './client-process'
import { describeOwnKafka } from './describe-kafka'
import { type KafkaServer, startKafka } from './kafka-server'

/** Set at the brokers for the consumer protocol, and at the members for the classic one. */
const sessionTimeout = 6_000

describeOwnKafka('static members', () => {
  let server: KafkaServer
  beforeAll(async () => {
    server = await startKafka({
      config: {
        'group.consumer.min.session.timeout.ms': sessionTimeout,
        'group.consumer.session.timeout.ms': sessionTimeout,
      },
    })
  })
  afterAll(() => server?.stop())

  for (const groupProtocol of ['classic', 'consumer'] as const) {
    const backend = kafkaBackend(() => server.brokers, { groupProtocol })
    const scenario = scenarios(backend)
    beforeAll(() => backend.open())
    afterAll(() => backend.close())

    const held = ({ events }: Run): number[] => {
      const partitions = new Set<number>()
      for (const event of events.values) {
        if (event.type === 'assigned') partitions.add(event.partition)
        if (event.type === 'revoked' || event.type === 'lost') partitions.delete(event.partition)
      }
      return [...partitions].sort()
    }
    const member = (world: World, topic: string, instanceId: string) => {
      const run = world.client({ group: world.name('group'), instanceId, sessionTimeout })
      const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
      run.client.start()
      return { run, seen }
    }
    const has = (run: Run, count: number) => run.events.until(() => held(run).length === count)
    const rebalances = ({ events }: Run) =>
      events.values.filter(({ type }) => type === 'assigned' || type === 'revoked' || type === 'lost').length

    scenario(
      `get their partitions again when they are back, without a rebalance of other members (${groupProtocol})`,
      async world => {
        const topic = await world.topic('orders', 4)
        const one = member(world, topic, 'one')
        const two = member(world, topic, 'two')
        await Promise.all([has(one.run, 2), has(two.run, 2)])
        const [before, rebalanced] = [held(one.run), rebalances(two.run)]
        await one.run.client.closeGracefully()
        const back = member(world, topic, 'one')
        await has(back.run, 2)
        expect(held(back.run)).toEqual(before)
        await backend.publish(
          topic,
          [0, 1, 2, 3].flatMap(partition => numbered(0, 1, partition)),
        )
        await Promise.all([back.seen.count(2), two.seen.count(2)])
        expect(rebalances(two.run)).toBe(rebalanced)
      },
    )

    scenario(
      `get their partitions again after a kill, once the session is over at the latest (${groupProtocol})`,
      async world => {
        const topic = await world.topic('orders')
        await backend.publish(topic, numbered(0, 1))
        const killed = new ClientProcess({
          ...{ topic, acks: 'all' },
          options: {
            brokers: server.brokers,
            group: world.name('group'),
            instanceId: 'one',
            groupProtocol,
            sessionTimeout,
          },
        })
        await killed.committed(0, 1)
        killed.signal('SIGKILL')
        await killed.exited
        const began = performance.now()
        const back = member(world, topic, 'one')
        back.run.expected = [ConnectionError]
        await has(back.run, 1)
        // The broker checks sessions by a timer, and this member tries at least every 2 s.
        expect(performance.now() - began).toBeLessThan(sessionTimeout + 4_000)
        const reports = back.run.errors.values.map(({ message }) => message)
        // With the classic protocol the new member replaces the former one at once.
        expect(reports).toEqual(groupProtocol === 'classic' ? [] : [expect.stringContaining("instanceId 'one'")])
        await backend.publish(topic, numbered(1, 2))
        await back.seen.count(1)
        expect(back.seen.values.map(({ offset }) => offset)).toEqual([1n])
      },
    )

    scenario(
      `with the same name exclude each other, and the refused one reports that (${groupProtocol})`,
      async world => {
        const topic = await world.topic('orders')
        const first = member(world, topic, 'one')
        await has(first.run, 1)
        const second = member(world, topic, 'one')
        const [stays, refused] = groupProtocol === 'classic' ? [second, first] : [first, second]
        refused.run.expected = [groupProtocol === 'classic' ? ConfigurationError : ConnectionError]
        const [error] = await refused.run.errors.count(1)
        expect(error!.message).toContain("instanceId 'one'")
        await has(stays.run, 1)
        await backend.publish(topic, numbered(0, 1))
        await stays.seen.count(1)
        if (groupProtocol === 'classic') {
          expect(await first.run.client.closed).toMatchObject({ error: { code: 'RXMIKA_CONFIGURATION' } })
        } else {
          // It waits until the place is free.
          await first.run.client.closeGracefully()
          await has(second.run, 1)
        }
      },
    )
  }
})
