import { setTimeout as sleep } from 'node:timers/promises'
import { Kafka, logLevel } from 'kafkajs'
import { tap } from 'rxjs'
import { type ClientEvent, CommitError, handle } from 'rxmika'
import { afterAll, beforeAll, expect } from 'vitest'
import { Collected } from '../contract/collected'
import { kafkaBackend } from '../contract/kafka-backend'
import { numbered, type Run, scenarios, type World } from '../contract/world'
import { describeKafka, kafkaBrokers } from './describe-kafka'
import { JavaMember } from './java-member'

type Lost = Extract<ClientEvent, { type: 'lost' }>

/** With the consumer protocol, a new owner gets its partitions with the answer to its next heartbeat. */
const partitions = 6
const all = Array.from({ length: partitions }, (_, partition) => partition)

describeKafka('groups whose members use different protocols', () => {
  const backend = kafkaBackend(() => kafkaBrokers)
  const scenario = scenarios(backend)
  beforeAll(() => backend.open())
  afterAll(() => backend.close())

  const held = ({ events }: Run): Set<number> => {
    const partitions = new Set<number>()
    for (const event of events.values) {
      if (event.type === 'assigned') partitions.add(event.partition)
      if (event.type === 'revoked' || event.type === 'lost') partitions.delete(event.partition)
    }
    return partitions
  }

  /** A member of this library, and its settlements. */
  const member = (
    world: World,
    group: string,
    topic: string,
    groupProtocol: 'classic' | 'consumer',
    settled: string[],
  ) => {
    const run = world.client({ group, groupProtocol })
    const outcomes = new Collected(
      run.client.topic(topic).pipe(
        handle(() => sleep(1), { order: 'key', concurrency: 16 }),
        tap(({ record, status }) => status === 'acked' && settled.push(`${record.partition}@${record.offset}`)),
      ),
    )
    run.client.start()
    return { run, outcomes }
  }

  const publish = (topic: string, from: number, to: number) =>
    backend.publish(
      topic,
      all.flatMap(partition => numbered(from, to, partition).map(record => ({ ...record, key: `key-${partition}` }))),
    )

  const everything = (to: number) =>
    all.flatMap(partition => numbered(0, to).map(({ value }) => `${partition}@${value}`))

  for (const [from, to] of [
    ['classic', 'consumer'],
    ['consumer', 'classic'],
  ] as const) {
    scenario(
      `change from ${from} to ${to} member by member, and settle each record once, or twice if its partition was lost`,
      async world => {
        const group = world.name('group')
        const topic = await world.topic('orders', partitions)
        const settled: string[] = []
        let written = 0
        let publishing = true
        const load = (async () => {
          while (publishing) {
            const before = written
            written += 2
            await publish(topic, before, written)
            await sleep(20)
          }
        })()

        const old = [member(world, group, topic, from, settled), member(world, group, topic, from, settled)]
        await Promise.all(old.map(({ outcomes }) => outcomes.count(10)))
        const fresh: ReturnType<typeof member>[] = []
        for (const leaving of old) {
          const next = member(world, group, topic, to, settled)
          if (to === 'classic') next.run.expected = [CommitError]
          fresh.push(next)
          await next.outcomes.count(10)
          expect(await leaving.run.client.closeGracefully()).toEqual({ drained: true, unsettled: 0, left: [] })
        }
        publishing = false
        await load
        const isAll = () => new Set(settled).size >= written * partitions
        await Promise.race(fresh.map(({ outcomes }) => outcomes.until(isAll)))
        expect([...new Set(settled)].sort()).toEqual(everything(written).sort())
        const twice = settled.filter((place, at) => settled.indexOf(place) < at)
        // When the last member of the consumer protocol leaves, the broker makes the group a classic one. It may then refuse the
        // commits of a member that has not joined since. What that member had settled is delivered again.
        const lost = fresh.flatMap(({ run }) =>
          run.events.values.filter(({ type }) => type === 'lost'),
        ) as readonly Lost[]
        const isExplained = (place: string) =>
          lost.some(({ partition, offset }) => {
            const [of, at] = place.split('@').map(Number)
            return of === partition && BigInt(at!) >= offset
          })
        expect(twice.filter(place => to === 'consumer' || !isExplained(place))).toEqual([])
      },
    )
  }

  scenario('contain plain kafkajs consumers and members of the consumer protocol', async world => {
    const group = world.name('group')
    const topic = await world.topic('orders', partitions)
    const settled: string[] = []
    const rxmikaMember = member(world, group, topic, 'consumer', settled)
    await rxmikaMember.run.events.until(() => held(rxmikaMember.run).size === partitions)
    const kafkajsMember = new Kafka({ brokers: kafkaBrokers, logLevel: logLevel.NOTHING }).consumer({
      ...{ groupId: group, heartbeatInterval: 200, maxWaitTimeInMs: 100 },
    })
    await kafkajsMember.connect()
    try {
      await kafkajsMember.subscribe({ topic, fromBeginning: true })
      let onSettled = () => {}
      await kafkajsMember.run({
        autoCommitThreshold: 1,
        eachMessage: async ({ partition, message }) => {
          settled.push(`${partition}@${message.offset}`)
          onSettled()
        },
      })
      await rxmikaMember.run.events.until(() => held(rxmikaMember.run).size === partitions / 2)
      await publish(topic, 0, 5)
      const isDone = () => settled.length >= 5 * partitions
      await Promise.race([
        rxmikaMember.outcomes.until(isDone),
        new Promise<void>(resolve => {
          onSettled = () => isDone() && resolve()
          onSettled()
        }),
      ])
    } finally {
      await kafkajsMember.disconnect()
    }
    await rxmikaMember.run.events.until(() => held(rxmikaMember.run).size === partitions)
    await publish(topic, 5, 6)
    await rxmikaMember.outcomes.until(() => settled.length >= 6 * partitions)
    expect([...settled].sort()).toEqual(everything(6).sort())
  })

  for (const [java, protocol] of [
    ['classic', 'classic'],
    ['classic', 'consumer'],
    ['consumer', 'classic'],
    ['consumer', 'consumer'],
  ] as const) {
    scenario(`contain Kafka's own consumer (${java}) and a member of this library (${protocol})`, async world => {
      const group = world.name('group')
      const topic = await world.topic('orders', partitions)
      const settled: string[] = []
      const rxmikaMember = member(world, group, topic, protocol, settled)
      await rxmikaMember.run.events.until(() => held(rxmikaMember.run).size === partitions)
      const javaMember = await JavaMember.start({ brokers: kafkaBrokers, group, topic, protocol: java })
      try {
        await javaMember.lines.until(() => javaMember.owned.size === partitions / 2)
        await rxmikaMember.run.events.until(() => held(rxmikaMember.run).size === partitions / 2)
        await publish(topic, 0, 5)
        await Promise.all([
          javaMember.lines.until(() => javaMember.read.length >= (5 * partitions) / 2),
          rxmikaMember.outcomes.until(() => settled.length >= (5 * partitions) / 2),
        ])
      } finally {
        await javaMember.end()
      }
      // Reading continues at the position that the other member committed.
      await rxmikaMember.run.events.until(() => held(rxmikaMember.run).size === partitions)
      await publish(topic, 5, 6)
      await rxmikaMember.outcomes.until(() => settled.length + javaMember.read.length >= 6 * partitions)
      expect([...settled, ...javaMember.read].sort()).toEqual(everything(6).sort())
    })
  }
})
