import { pino } from 'pino'
import { Subject } from 'rxjs'
import { ConfigurationError, type Driver, type RecordBatch } from 'rxmika'
import { describe, expect } from 'vitest'
import { produced } from '../../produced'
import type { Backend } from '../backend'
import { done, Member, placeName } from '../driver-member'
import { numbered, scenarios, texts, type World } from '../world'

export function driverPort(backend: Backend): void {
  const scenario = scenarios(backend)

  async function connected(world: World): Promise<Driver> {
    const driver = backend.driver()
    world.drivers.push(driver)
    await done(driver.connect({ clientId: 'contract', logger: pino({ level: 'silent' }) }))
    return driver
  }

  describe('the driver', () => {
    scenario('knows the partitions of topics and their ends', async world => {
      const topic = await world.topic('orders', 3)
      await backend.publish(topic, numbered(0, 4, 1))
      const driver = await connected(world)
      expect(await done(driver.topics([topic]))).toEqual(new Map([[topic, 3]]))
      expect(await done(driver.endOffsets(topic))).toEqual(
        new Map([
          [0, 0],
          [1, 4],
          [2, 0],
        ]),
      )
    })

    scenario('assigns every partition once, paused, and delivers records in order once resumed', async world => {
      const topic = await world.topic('orders', 2)
      await backend.publish(topic, [...numbered(0, 3), ...numbered(10, 12, 1)])
      const member = new Member(
        await connected(world),
        { group: world.name('group'), topics: [topic] },
        { paused: true },
      )
      const [assigned] = await member.seen('assigned')
      expect(assigned).toMatchObject({ retained: [], added: { length: 2 } })
      for (const assignment of member.owned.values()) {
        expect(assignment).toMatchObject({ topic, position: 0, metadata: '', ended: false })
      }
      expect(member.reads).toEqual([])
      member.driver.resume([member.owned.get(`${topic}/1`)!])
      await member.read(2)
      expect(texts(member.reads)).toEqual(['10', '11'])
      member.driver.resume([member.owned.get(`${topic}/0`)!])
      await member.read(5)
      expect(texts(member.reads)).toEqual(['10', '11', '0', '1', '2'])
      expect(member.reads.map(({ offset }) => offset)).toEqual([0, 1, 0, 1, 2])
    })

    scenario('delivers the remaining records after a pause and a resume, each once', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 3))
      const member = new Member(await connected(world), { group: world.name('group'), topics: [topic] })
      await member.read(3)
      const [assignment] = [...member.owned.values()]
      member.driver.pause([assignment!])
      await backend.publish(topic, numbered(3, 6))
      member.driver.resume([assignment!])
      await member.read(6)
      expect(texts(member.reads)).toEqual(['0', '1', '2', '3', '4', '5'])
    })

    scenario('gives the keys, values and headers of a record unchanged, and of its copy', async world => {
      const topic = await world.topic('orders')
      const driver = await connected(world)
      const headers = [
        ['b', Buffer.from([0xff])],
        ['a', null],
        ['b', Buffer.alloc(0)],
        ['__proto__', Buffer.from('p')],
      ] as const
      const results = await done(
        produced(driver, [
          { topic, key: null, value: null, headers, timestamp: 1_600_000_000_000 },
          { topic, key: Buffer.alloc(0), value: Buffer.from([0, 0xff]), partition: 0 },
          { topic, value: 'v', partition: 9 },
        ]),
      )
      const [first, second, third] = results as unknown[]
      expect([first, second]).toEqual([
        { ok: true, topic, partition: 0, offset: 0n },
        { ok: true, topic, partition: 0, offset: 1n },
      ])
      expect(third).toMatchObject({ ok: false, error: { code: 'RXMIKA_PUBLISH', retriable: false } })

      const member = new Member(driver, { topics: [topic] })
      const [one, two] = await member.read(2)
      for (const { batch, index } of [one!, { batch: one!.batch.copy(one!.index), index: 0 }]) {
        expect([batch.key(index), batch.value(index), batch.headers(index)]).toEqual([null, null, headers])
        expect(batch.timestamp(index)).toBe(1_600_000_000_000)
        expect(batch.offset(index)).toBe(0)
      }
      expect([two!.batch.key(two!.index), two!.value]).toEqual([Buffer.alloc(0), Buffer.from([0, 0xff])])
      expect(two!.batch.headers(two!.index)).toEqual([])
      expect(two!.batch.lastOffset).toBe(1)
    })

    scenario('reads a record again while it delivers others', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 5))
      const member = new Member(await connected(world), { group: world.name('group'), topics: [topic] })
      await member.read(5)
      const [assignment] = [...member.owned.values()]
      const batch = (await done(member.driver.readAt(assignment!, 3))) as RecordBatch
      const at = Array.from({ length: batch.count }, (_, index) => batch.offset(index)).indexOf(3)
      expect(String(batch.value(at))).toBe('3')
      expect(member.reads).toHaveLength(5)
    })

    scenario('continues at the committed position, and keeps the committed metadata', async world => {
      const group = world.name('group')
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 4))
      const first = new Member(await connected(world), { group, topics: [topic] })
      await first.read(4)
      const [assignment] = [...first.owned.values()]
      await first.commit(assignment!, 2, 'beside it')
      expect(await backend.committed(group, topic, 0)).toBe(2n)
      await done(first.driver.leave())
      expect(assignment!.ended).toBe(true)
      expect(first.events.end).toEqual({})
      expect(first.events.values.at(-1)).toMatchObject({ type: 'revoked', assignments: [assignment] })
      // A commit of an ended assignment is not sent.
      await first.commit(assignment!, 3).catch(() => {})
      expect(await backend.committed(group, topic, 0)).toBe(2n)

      const second = new Member(await connected(world), { group, topics: [topic], startFrom: 'latest' })
      await second.read(2)
      expect([...second.owned.values()][0]).toMatchObject({ position: 2, metadata: 'beside it' })
      expect(texts(second.reads)).toEqual(['2', '3'])
    })

    scenario('lets members delay a rebalance, and commit before their partitions are revoked', async world => {
      const group = world.name('group')
      const topic = await world.topic('orders', 2)
      await backend.publish(topic, [...numbered(0, 1), ...numbered(0, 1, 1)])
      const letGo = new Subject<never>()
      const one = new Member(await connected(world), { group, topics: [topic] }, { hold: letGo })
      await one.read(2)
      const before = new Map(one.owned)
      const two = new Member(await connected(world), { group, topics: [topic] })
      await one.seen('revoking')
      expect(two.owned.size).toBe(0)
      await Promise.all([...before.values()].map(assignment => one.commit(assignment, 1)))
      letGo.complete()
      await Promise.all([one.seen('assigned', 2), two.events.until(() => two.owned.size > 0)])
      expect([one.owned.size, two.owned.size]).toEqual([1, 1])
      const [kept] = [...one.owned.values()]
      const [given] = [...two.owned.values()]
      expect(before.get(placeName(kept!))).toBe(kept)
      expect(kept!.ended).toBe(false)
      expect(given!.position).toBe(1)
      expect(before.get(placeName(given!))!.ended).toBe(true)
      expect(one.events.values.filter(({ type }) => type === 'assigned' || type === 'revoked')).toMatchObject([
        { type: 'assigned' },
        { type: 'revoked', assignments: [before.get(placeName(given!))] },
        { type: 'assigned', added: [], retained: [kept] },
      ])
      await backend.publish(topic, [...numbered(1, 2), ...numbered(1, 2, 1)])
      await Promise.all([one.read(3), two.read(1)])
      expect(texts(two.reads)).toEqual(['1'])
    })

    scenario('starts at startFrom if the group has committed nothing', async world => {
      const topic = await world.topic('orders')
      const old = 1_600_000_000_000
      const at = (offset: number) => ({ value: String(offset), timestamp: old + offset * 10 })
      await backend.publish(topic, [at(0), at(1), at(2)])
      for (const [startFrom, position] of [
        ['earliest', 0],
        ['latest', 3],
        [new Date(old + 5), 1],
        [new Date(old + 10), 1],
        [new Date(old + 21), 3],
      ] as const) {
        for (const group of [undefined, world.name(`group-${Number(startFrom) || startFrom}`)]) {
          const member = new Member(await connected(world), { group, topics: [topic], startFrom })
          await member.seen('assigned')
          expect([startFrom, [...member.owned.values()][0]!.position]).toEqual([startFrom, position])
          await done(member.driver.leave())
        }
      }
    })

    scenario("errors for 'committed' if the group has committed nothing", async world => {
      const topic = await world.topic('orders')
      const member = new Member(await connected(world), {
        group: world.name('group'),
        topics: [topic],
        startFrom: 'committed',
      })
      const { error } = await member.events.ended()
      expect(error).toBeInstanceOf(ConfigurationError)
    })

    scenario('commits nothing without a group', async world => {
      const topic = await world.topic('orders')
      const member = new Member(await connected(world), { topics: [topic] })
      await member.seen('assigned')
      const [assignment] = [...member.owned.values()]
      await expect(member.commit(assignment!, 0)).rejects.toMatchObject({ code: 'RXMIKA_COMMIT', retriable: false })
    })

    scenario('leaves and closes without a group and repeatedly, and does nothing after that', async world => {
      const topic = await world.topic('orders')
      const never = backend.driver()
      await done(never.leave())
      await done(never.close())
      const driver = await connected(world)
      await done(driver.leave())
      await done(driver.close())
      await done(driver.close())
      const [refused] = (await done(produced(driver, [{ topic, value: 'v' }]))) as unknown[]
      expect(refused).toMatchObject({ ok: false, error: { code: 'RXMIKA_PUBLISH', retriable: false } })
      await expect(done(driver.topics([topic]))).rejects.toThrow('closed')
      expect(await new Member(driver, { topics: [topic] }).events.ended()).toMatchObject({
        error: { code: 'RXMIKA_CONNECTION' },
      })
    })
  })
}
