import { pino } from 'pino'
import { Subject, timer } from 'rxjs'
import type { ConsumeRequest } from 'rxmika'
import { expect } from 'vitest'
import { kafkaDriver } from '../../src/drivers/kafka/index'
import { done, Member } from '../contract/driver-member'
import { numbered, texts, type World } from '../contract/world'
import { api } from './broker-proxy'
import { describeOwnKafka } from './describe-kafka'
import { groupProtocols, shortSessions } from './group-protocols'
import { MemberProcess, type MemberReport } from './member-process'
import { ownKafka } from './own-kafka'

const timeouts = { rebalanceTimeout: 8_000, sessionTimeout: 2_000, heartbeatInterval: 200 }

describeOwnKafka('a driver whose group continues without it', () => {
  const kafka = ownKafka({ proxied: true, config: shortSessions(timeouts) })
  const { backend, scenario } = kafka

  async function joined(
    world: World,
    brokers: readonly string[],
    request: Pick<ConsumeRequest, 'group' | 'topics' | 'groupProtocol'>,
    options?: ConstructorParameters<typeof Member>[2],
  ): Promise<Member> {
    const driver = kafkaDriver({ brokers })
    world.drivers.push(driver)
    await done(driver.connect({ clientId: 'member', logger: pino({ level: 'silent' }) }))
    return new Member(driver, { ...timeouts, ...request }, options)
  }

  for (const groupProtocol of groupProtocols) {
    scenario(
      `commits nothing when it wakes after its session, reports its partitions as lost, and joins again (${groupProtocol})`,
      async world => {
        const group = world.name('group')
        const topic = await world.topic('orders')
        await backend.publish(topic, numbered(0, 10))
        const request: ConsumeRequest = { group, groupProtocol, topics: [topic], startFrom: 'earliest', ...timeouts }
        const process = new MemberProcess({ brokers: kafka.server.internal, request })
        try {
          await process.reports.until(reports => readOffsets(reports).length === 10)
          process.commit({ partition: 0, offset: 2 })
          await process.reports.until(reports => reports.some(({ type }) => type === 'commit'))
          expect(await backend.committed(group, topic, 0)).toBe(2n)

          process.freeze()
          const heir = await joined(world, kafka.server.internal, { group, groupProtocol, topics: [topic] })
          await heir.read(8)
          expect(texts(heir.reads)[0]).toBe('2')
          await heir.commit(heir.owned.get(`${topic}/0`)!, 7)

          // The first thing it does is a commit, while it does not know yet that its session is over.
          process.commit({ partition: 0, offset: 4 })
          process.wake()
          await process.reports.until(reports => reports.some(({ type }) => type === 'lost'))
          await process.reports.until(reports => reports.filter(({ type }) => type === 'commit').length === 2)
          process.commit({ partition: 0, offset: 5 })
          await process.reports.until(reports => reports.filter(({ type }) => type === 'commit').length === 3)
          expect(await backend.committed(group, topic, 0)).toBe(7n)

          const before = process.reports.values.length
          await done(heir.driver.leave())
          await process.reports.until(reports => readOffsets(reports.slice(before)).length === 3)
          expect(readOffsets(process.reports.values.slice(before))).toEqual([7, 8, 9])
          const ends = process.reports.values.filter(({ type }) => type === 'lost' || type === 'revoked')
          expect(ends).toEqual([{ type: 'lost', partitions: [0] }])
        } finally {
          await process.end()
        }
      },
    )
  }

  scenario('learns that its session is over when the brokers are back (consumer)', async world => {
    const group = world.name('group')
    const groupProtocol = 'consumer'
    const topic = await world.topic('orders')
    await backend.publish(topic, numbered(0, 10))
    const member = await joined(world, kafka.server.brokers, { group, groupProtocol, topics: [topic] })
    await member.read(10)
    const held = member.owned.get(`${topic}/0`)!
    await member.commit(held, 2)

    kafka.proxy.close()
    const heir = await joined(world, kafka.server.internal, { group, groupProtocol, topics: [topic] })
    await Promise.all([heir.read(8), member.seen('disconnected')])
    await heir.commit(heir.owned.get(`${topic}/0`)!, 7)
    await kafka.proxy.open()
    await expect(member.commit(held, 4)).rejects.toMatchObject({ code: 'RXMIKA_COMMIT' })
    await member.seen('lost')
    expect(held.ended).toBe(true)
    await member.commit(held, 5)
    expect(await backend.committed(group, topic, 0)).toBe(7n)

    const since = Date.now()
    await done(heir.driver.leave())
    await member.read(13)
    expect(Date.now() - since).toBeLessThan(5_000)
    expect(member.reads.slice(10).map(({ offset }) => offset)).toEqual([7, 8, 9])
    const events = member.events.values.map(({ type }) => type).filter(type => type !== 'batch' && type !== 'revoking')
    expect(events.slice(0, 4)).toEqual(['assigned', 'disconnected', 'reconnected', 'lost'])
    expect(new Set(events.slice(4))).toEqual(new Set(['assigned']))
  })

  scenario('does not begin a partition that another member may own since its position was looked up', async world => {
    const group = world.name('group')
    const topic = await world.topic('orders')
    await backend.publish(topic, numbered(0, 10))
    // Frozen when the answer has arrived, until its session is over.
    const frozen = kafka.proxy.interfere({
      api: api.offsetFetch,
      at: answer => {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1.5 * timeouts.sessionTimeout)
        return answer
      },
    })
    const member = await joined(world, kafka.server.brokers, { group, topics: [topic] })
    await frozen
    await member.read(10)
    await member.commit(member.owned.get(`${topic}/0`)!, 10)
    expect(member.events.values.map(({ type }) => type).filter(type => type !== 'batch')).toEqual(['assigned'])
  })

  scenario('stays in its group while a rebalance is held for longer than a session', async world => {
    const group = world.name('group')
    const topic = await world.topic('orders', 2)
    await backend.publish(topic, [...numbered(0, 3), ...numbered(0, 3, 1)])
    const letGo = new Subject<never>()
    const member = await joined(world, kafka.server.internal, { group, topics: [topic] }, { hold: letGo })
    await member.read(6)
    const held = [...member.owned.values()]
    const other = await joined(world, kafka.server.internal, { group, topics: [topic] })
    await member.seen('revoking')
    // A session without heartbeats has ended by then.
    await done(timer(2.5 * timeouts.sessionTimeout))
    await Promise.all(held.map(assignment => member.commit(assignment, 3)))
    expect(other.owned.size).toBe(0)
    letGo.complete()
    await Promise.all([member.seen('assigned', 2), other.seen('assigned')])
    expect([member.owned.size, other.owned.size]).toEqual([1, 1])
    const [assignment] = [...other.owned.values()]
    expect(assignment!.position).toBe(3)
    expect(member.events.values.map(({ type }) => type).filter(type => type !== 'batch')).toEqual([
      'assigned',
      'revoking',
      'revoked',
      'assigned',
    ])
    await backend.publish(topic, [...numbered(3, 4), ...numbered(3, 4, 1)])
    await Promise.all([member.read(7), other.read(1)])
  })
})

function readOffsets(reports: readonly MemberReport[]): number[] {
  return reports.flatMap(report => (report.type === 'read' ? [report.offset] : []))
}
