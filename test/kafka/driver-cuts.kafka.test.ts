import { pino } from 'pino'
import { CommitError, type Driver, FetchError, type GroupProtocol, type ProduceResult } from 'rxmika'
import { expect } from 'vitest'
import { kafkaDriver } from '../../src/drivers/kafka/index'
import { consumerGroupHeartbeat } from '../../src/protocol/messages/consumer-group-heartbeat'
import { syncGroup } from '../../src/protocol/messages/sync-group'
import { done, Member } from '../contract/driver-member'
import { numbered, texts, type World } from '../contract/world'
import { produced } from '../produced'
import { api, type Interference, withUnknownServerError } from './broker-proxy'
import { describeOwnKafka } from './describe-kafka'
import { groupProtocols } from './group-protocols'
import { ownKafka } from './own-kafka'

describeOwnKafka('a driver whose connections are cut', () => {
  const kafka = ownKafka({ proxied: true })
  const { backend, scenario } = kafka

  async function connected(world: World): Promise<Driver> {
    const driver = kafkaDriver({ brokers: kafka.server.brokers })
    world.drivers.push(driver)
    await done(driver.connect({ clientId: 'cut', logger: pino({ level: 'silent' }) }))
    return driver
  }

  async function joined(world: World, topic: string, groupProtocol: GroupProtocol = 'classic'): Promise<Member> {
    const request = { group: world.name('group'), topics: [topic], groupProtocol }
    const member = new Member(await connected(world), request)
    await member.seen('assigned')
    return member
  }

  const types = (member: Member) => member.events.values.map(({ type }) => type)

  for (const at of ['request', 'answer', 'mid-size', 'mid-answer'] as const) {
    scenario(`continues, with each record once, when a fetch is cut (${at})`, async world => {
      const topic = await world.topic('orders')
      const member = await joined(world, topic)
      const cut = kafka.proxy.interfere({
        api: api.fetch,
        at,
        when: frame => at === 'request' || frame.length > 10_000,
      })
      const values = numbered(0, 50).map(({ value }) => ({ value: value.padStart(1_000, '.') }))
      await backend.publish(topic, values)
      await cut
      await member.read(50)
      expect(texts(member.reads)).toEqual(values.map(({ value }) => value))
      // It came back at once: no outage.
      expect(types(member).filter(type => type !== 'batch')).toEqual(['assigned'])
    })

    for (const [name, key] of [
      ['question for its versions', api.apiVersions],
      ['question for topics', api.metadata],
    ] as const) {
      scenario(`connects although the first ${name} is cut (${at})`, async world => {
        const topic = await world.topic('orders')
        const cut = kafka.proxy.interfere({ api: key, at })
        const driver = await connected(world)
        await cut
        expect(await done(driver.topics([topic]))).toEqual(new Map([[topic, 1]]))
      })
    }

    for (const groupProtocol of groupProtocols) {
      scenario(`rejects a commit that is cut, and confirms the next one (${at}, ${groupProtocol})`, async world => {
        const topic = await world.topic('orders')
        await backend.publish(topic, numbered(0, 3))
        const member = await joined(world, topic, groupProtocol)
        await member.read(3)
        const [assignment] = [...member.owned.values()]
        const cut = kafka.proxy.interfere({ api: api.offsetCommit, at })
        const error = await member.commit(assignment!, 2).then(
          () => undefined,
          (error: unknown) => error,
        )
        await cut
        expect(error).toBeInstanceOf(CommitError)
        expect(error).toMatchObject({ retriable: true })
        while (
          !(await member.commit(assignment!, 3).then(
            () => true,
            () => false,
          ))
        ) {}
        expect(await backend.committed(world.name('group'), topic, 0)).toBe(3n)
        await backend.publish(topic, numbered(3, 4))
        await member.read(4)
        expect(texts(member.reads)).toEqual(['0', '1', '2', '3'])
      })
    }

    scenario(`writes records once when a produce is cut (${at})`, async world => {
      const topic = await world.topic('orders', 2)
      const driver = await connected(world)
      await done(produced(driver, [{ topic, value: 'first', partition: 0 }]))
      const cut = kafka.proxy.interfere({ api: api.produce, at })
      const records = [...numbered(0, 10), ...numbered(10, 20, 1)].map(record => ({ topic, ...record }))
      const results = await done(produced(driver, records))
      await cut
      expect(results).toEqual(records.map((_, at) => placeOf(topic, at < 10 ? [0, at + 1] : [1, at - 10])))
      expect(texts(await backend.records(topic))).toEqual(['first', ...texts(await valuesOf(records))])
      await done(produced(driver, [{ topic, value: 'last', partition: 1 }]))
      expect(texts(await backend.records(topic)).at(-1)).toBe('last')
    })

    scenario(`writes to a topic although its first metadata request for it is cut (${at})`, async world => {
      const topic = await world.topic('orders')
      const driver = await connected(world)
      const cut = kafka.proxy.interfere({ api: api.metadata, at })
      const [result] = (await done(produced(driver, [{ topic, value: 'first' }]))) as readonly ProduceResult[]
      await cut
      expect(result).toEqual(placeOf(topic, [0, 0]))
    })

    for (const [name, key, groupProtocol] of [
      ['join', api.joinGroup, 'classic'],
      ['sync', api.syncGroup, 'classic'],
      ['heartbeat that joins', api.consumerGroupHeartbeat, 'consumer'],
    ] as const) {
      scenario(`joins long before a session is over when a ${name} is cut (${at})`, async world => {
        const topic = await world.topic('orders')
        await backend.publish(topic, numbered(0, 1))
        // The second of a new member's two JoinGroup requests: from then on the group waits for the member.
        const cut = kafka.proxy.interfere({ api: key, at, when: memberIsNamed(key, at) })
        const since = Date.now()
        const member = await joined(world, topic, groupProtocol)
        await cut
        await member.read(1)
        expect(Date.now() - since).toBeLessThan(5_000)
        expect(types(member).filter(type => type !== 'batch')).toEqual(['assigned'])
      })
    }
  }

  for (const groupProtocol of groupProtocols) {
    scenario(`joins again when the group answers with an error (${groupProtocol})`, async world => {
      const topic = await world.topic('orders', 2)
      await backend.publish(topic, numbered(0, 2))
      const group = world.name('group')
      const asked = groupProtocol === 'classic' ? syncGroup : consumerGroupHeartbeat
      const request = { group, topics: [topic], groupProtocol }
      const since = Date.now()
      const spoilt = kafka.proxy.interfere({ api: asked.key, at: withUnknownServerError(asked) })
      const member = new Member(await connected(world), request)
      await spoilt
      await member.read(2)
      expect(types(member).filter(type => type !== 'batch')).toEqual(['assigned'])
      await member.commit(member.owned.get(`${topic}/0`)!, 1)

      // The same for a member of an existing generation, whichever of the two members is affected.
      const spoiltAgain = kafka.proxy.interfere({ api: asked.key, at: withUnknownServerError(asked) })
      const other = new Member(await connected(world), request)
      await spoiltAgain
      const shared = () => member.owned.size === 1 && other.owned.size === 1
      await Promise.race([member, other].map(each => each.events.until(shared)))
      // The group does not wait for the former member id.
      expect(Date.now() - since).toBeLessThan(5_000)
    })
  }

  scenario('reports corrupted bytes, and reads the records again', async world => {
    const topic = await world.topic('orders', 2)
    const member = await joined(world, topic)
    const [at, when] = [withAnother('spoilt'), (frame: Buffer) => frame.includes('spoilt')]
    const spoilt = kafka.proxy.interfere({ api: api.fetch, at, when })
    await backend.publish(topic, [{ value: 'spoilt', partition: 0 }])
    await spoilt
    await member.seen('trouble')
    // Only its own partition waits.
    await backend.publish(topic, [{ value: 'other', partition: 1 }])
    await member.read(2)
    expect(texts(member.reads)).toEqual(['other', 'spoilt'])
    const [trouble] = member.events.values.flatMap(event => (event.type === 'trouble' ? [event.error] : []))
    expect(trouble).toBeInstanceOf(FetchError)
    expect(trouble).toMatchObject({ topic, partition: 0, offset: 0n })
    expect(types(member).filter(type => type !== 'batch')).toEqual(['assigned', 'trouble'])
  })

  scenario('writes records again that an answer to a produce omits', async world => {
    const topic = await world.topic('orders', 2)
    const driver = await connected(world)
    const attempts: number[] = []
    kafka.proxy.fate = ({ partition }) => {
      attempts.push(partition)
      const isFirst = attempts.filter(each => each === 1).length === 1
      return { append: true, ...(partition === 1 && isFirst && { answer: 'left-out' }) }
    }
    try {
      const records = [...numbered(0, 3), ...numbered(3, 6, 1)].map(record => ({ topic, ...record }))
      const results = (await done(produced(driver, records))) as readonly ProduceResult[]
      expect(results).toEqual(records.map((_, at) => placeOf(topic, at < 3 ? [0, at] : [1, at - 3])))
    } finally {
      kafka.proxy.fate = undefined
    }
    // The broker had appended the batch, and recognizes its sequence number.
    expect(attempts.filter(each => each === 1)).toHaveLength(2)
    expect(texts(await backend.records(topic))).toEqual(['0', '1', '2', '3', '4', '5'])
  })

  scenario('reports the outcome of unanswered produce requests when it closes', async world => {
    const topic = await world.topic('orders')
    const driver = await connected(world)
    await done(produced(driver, [{ topic, value: 'first' }]))
    const swallowed = kafka.proxy.interfere({ api: api.produce, at: 'silence' })
    const sent = done(produced(driver, [{ topic, value: 'in flight' }]))
    const queued = done(produced(driver, [{ topic, value: 'behind it' }]))
    await swallowed
    const since = Date.now()
    await done(driver.close())
    for (const results of [await sent, await queued] as (readonly ProduceResult[])[]) {
      expect(results).toHaveLength(1)
      expect(results[0]).toMatchObject({ ok: false, error: { code: 'RXMIKA_PUBLISH' } })
    }
    expect(Date.now() - since).toBeLessThan(5_000)
  })

  scenario('closes while all connections are silent', async world => {
    const topic = await world.topic('orders')
    const member = await joined(world, topic)
    await kafka.server.pause(1)
    const since = Date.now()
    try {
      await done(member.driver.close())
    } finally {
      kafka.server.resume(1)
    }
    expect(Date.now() - since).toBeLessThan(5_000)
    expect(member.events.end).toEqual({})
  })
})

const placeOf = (topic: string, [partition, offset]: readonly [number, number]) => ({
  ok: true,
  topic,
  partition,
  offset: BigInt(offset),
})

const valuesOf = async (records: readonly { value: string }[]) =>
  records.map(({ value }) => ({ value: Buffer.from(value) }))

/** The request of a member that has its id already, and the answer to that. */
function memberIsNamed(key: number, at: Interference['at']): Interference['when'] {
  if (key !== api.joinGroup) return undefined
  // A request has the member id after the group. An answer that refuses because of a missing id is short.
  return frame => (at === 'request' ? frame.includes('cut-') : frame.length > 200)
}

/** Changes one byte of this value in a Fetch response. */
function withAnother(value: string): (answer: Buffer) => Buffer {
  return answer => {
    const spoilt = Buffer.from(answer)
    spoilt.write('?', spoilt.indexOf(value))
    return spoilt
  }
}
