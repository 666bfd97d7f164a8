import { lastValueFrom, NEVER } from 'rxjs'
import { describe, expect, it, vi } from 'vitest'
import { errorCode } from '../../../src/protocol/errors'
import { refusing } from '../../fake-broker/asked'
import { brokers, Reading } from '../../fake-broker/reading'
import { Scope } from '../../fake-broker/scope'

type Test = { onTestFinished(end: () => unknown): void }

/** A member that has read `a` of orders-0, and a way to check that it reads again later. */
async function member(test: Test, request: Parameters<typeof Reading.start>[3] = {}, nodes = 1) {
  const kafka = await brokers(test, nodes)
  kafka.create('orders', 0)
  kafka.log('orders').append('a')
  const reading = await Reading.start(test, kafka, ['orders'], request)
  await reading.until(() => reading.has('a'))
  const readsOn = async () => {
    kafka.log('orders').append('b')
    await reading.until(() => reading.has('b'))
  }
  return { kafka, reading, readsOn }
}

const outcome = (commit: Promise<unknown>): Promise<string> =>
  commit.then(
    () => 'committed',
    ({ code }) => code,
  )

describe('a member of a classic group', () => {
  it('joins with the member id that it gets first (MEMBER_ID_REQUIRED)', async test => {
    const { kafka } = await member(test)
    const ids = kafka.asked.filter(({ name }) => name === 'JoinGroup').map(({ request }) => request.memberId)
    expect(ids).toEqual(['', 'member-1'])
  })

  it('revokes, commits and joins again after a heartbeat with REBALANCE_IN_PROGRESS', async test => {
    const { kafka, reading, readsOn } = await member(test)
    const committed: unknown[] = []
    reading.onRevoking = ({ hold }) => {
      hold(NEVER)
      // A commit is accepted while the rebalance is held. The time-out ends the hold.
      void reading.commit('orders-0', 1).then(() => committed.push(kafka.committed.get('orders-0')?.offset))
    }
    kafka.classic.rebalance()
    await reading.until(() => reading.story.length === 3)
    expect(reading.story).toEqual(['assigned', 'revoking', 'assigned'])
    expect(committed).toEqual([1])
    await readsOn()
    expect(reading.records).toEqual(['orders-0@0 a', 'orders-0@1 b'])
    expect(reading.troubles).toEqual([])
  })

  it.each(['UNKNOWN_MEMBER_ID', 'ILLEGAL_GENERATION'] as const)(
    'loses everything at once after a heartbeat with %s, and joins again',
    async name => {
      await using test = new Scope()
      const { kafka, reading, readsOn } = await member(test)
      if (name === 'UNKNOWN_MEMBER_ID') kafka.classic.kick('member-1')
      else kafka.next('Heartbeat', refusing(errorCode[name]))
      await reading.until(() => reading.story.length === 3)
      expect(reading.story).toEqual(['assigned', 'lost', 'assigned'])
      await readsOn()
      const ids = kafka.asked.filter(each => each.name === 'JoinGroup').map(({ request }) => request.memberId)
      // After ILLEGAL_GENERATION the member id is still valid.
      expect(ids[2]).toBe(name === 'UNKNOWN_MEMBER_ID' ? '' : 'member-1')
    },
  )

  it.each(['UNKNOWN_MEMBER_ID', 'ILLEGAL_GENERATION'] as const)(
    'loses everything at once after a commit with %s, and joins again',
    async name => {
      await using test = new Scope()
      const { kafka, reading, readsOn } = await member(test, { heartbeatInterval: 60_000 })
      if (name === 'UNKNOWN_MEMBER_ID') kafka.classic.kick('member-1')
      else kafka.next('OffsetCommit', refusing(errorCode[name]))
      await expect(reading.commit('orders-0', 1)).rejects.toThrow(name)
      await reading.until(() => reading.story.length === 3)
      expect(reading.story).toEqual(['assigned', 'lost', 'assigned'])
      await readsOn()
    },
  )

  it('sends no position of a partition that moved while the commit waited for the rebalance', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0, 0)
    const one = await Reading.start(test, kafka, ['orders'], { rebalanceTimeout: 100 })
    await one.until(() => one.assigned.size === 2)
    const before = [...one.assigned.values()]
    // Both commits come during JoinGroup, too late for the rebalance to wait for them.
    let outcomes: Promise<unknown>[] = []
    kafka.on('JoinGroup', ({ request }) => {
      if (request.memberId !== 'member-1') return undefined
      outcomes = before.map(assignment => outcome(one.commitOf(assignment, 7)))
      return { delay: 100 }
    })
    const other = await Reading.start(test, kafka, ['orders'])
    await Promise.all([one.until(() => one.assigned.size === 1), other.until(() => other.assigned.size === 1)])
    expect(await Promise.all(outcomes)).toEqual(before.map(({ ended }) => (ended ? 'RXMIKA_COMMIT' : 'committed')))
    expect(kafka.committed.size).toBe(1)
  })

  it('keeps its partitions if a commit of the former generation is refused', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    const reading = await Reading.start(test, kafka, ['orders'], { rebalanceTimeout: 100 })
    await reading.until(() => reading.assigned.size === 1)
    // Sent while this member gives its partitions up, and answered when the group has a new generation.
    let late = Promise.resolve('')
    reading.onRevoking = ({ hold }) => {
      hold(NEVER)
      kafka.next('OffsetCommit', { delay: 400, ...refusing(errorCode.ILLEGAL_GENERATION) })
      late = outcome(reading.commit('orders-0', 1))
    }
    kafka.classic.rebalance()
    await reading.until(() => reading.story.filter(type => type === 'assigned').length === 2)
    expect(await late).toBe('RXMIKA_COMMIT')
    await vi.waitUntil(() => kafka.asked.at(-1)?.name === 'Heartbeat')
    expect(reading.story).toEqual(['assigned', 'revoking', 'assigned'])
  })

  it.each([1, 2])('leaves no member behind if it leaves while its join %i is in flight', async join => {
    await using test = new Scope()
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    let joins = 0
    kafka.on('JoinGroup', () => (++joins === join ? { delay: 200 } : undefined))
    const reading = await Reading.start(test, kafka, ['orders'])
    await vi.waitUntil(() => joins === join)
    await lastValueFrom(reading.driver.leave(), { defaultValue: undefined })
    await vi.waitUntil(() => kafka.count('LeaveGroup') > 0)
    expect([kafka.classic.members.size, kafka.classic.promised.size, joins]).toEqual([0, 0, join])
  })

  it('ends if another member has its instanceId (FENCED_INSTANCE_ID)', async test => {
    const { kafka, reading } = await member(test, { instanceId: 'one' })
    const other = await Reading.start(test, kafka, ['orders'], { instanceId: 'one' })
    await reading.until(() => reading.error !== undefined)
    expect(reading.error).toMatchObject({ code: 'RXMIKA_CONFIGURATION' })
    expect(String(reading.error)).toContain("instanceId 'one'")
    await other.until(() => other.has('a'))
  })

  it.each(['JoinGroup', 'SyncGroup', 'Heartbeat'])(
    'finds its coordinator again if %s reports that it moved',
    async name => {
      await using test = new Scope()
      const kafka = await brokers(test, 2)
      kafka.create('orders', 0)
      kafka.log('orders').append('a')
      // From the first answer on, another broker coordinates the group.
      let moved = false
      kafka.on(name, () => {
        if (moved) return undefined
        moved = true
        kafka.coordinator = 1
        return refusing(errorCode.NOT_COORDINATOR)
      })
      const reading = await Reading.start(test, kafka, ['orders'])
      await reading.until(() => reading.has('a'))
      await vi.waitUntil(() => kafka.asked.some(each => each.node === 1 && each.name === 'Heartbeat'))
      await reading.commit('orders-0', 1)
      expect(kafka.committed.get('orders-0')?.offset).toBe(1)
      expect(reading.troubles).toEqual([])
    },
  )

  it('finds its coordinator again after the brokers did not name one', async test => {
    const { kafka, reading } = await member(test, { metadataMaxAge: 50 }, 2)
    kafka.log('orders').leader = 1
    const before = kafka.count('Metadata')
    // The broker is away, and another one coordinates the group. No request was in flight when it went away.
    kafka.on('Metadata', () => ({
      change: answer => ({
        ...answer,
        brokers: answer.brokers.filter(({ nodeId }: { nodeId: number }) => nodeId !== 0),
      }),
    }))
    await vi.waitUntil(() => kafka.count('Metadata') > before + 1)
    kafka.coordinator = 1
    await vi.waitUntil(() => kafka.asked.some(each => each.node === 1 && each.name === 'Heartbeat'))
    await reading.commit('orders-0', 1)
    expect(kafka.committed.get('orders-0')?.offset).toBe(1)
  })

  it.each(['JoinGroup', 'SyncGroup', 'FindCoordinator', 'OffsetFetch', 'ListOffsets'])(
    'joins even if the connection is cut in the middle of %s, before or after the broker acted',
    async name => {
      await using test = new Scope()
      const kafka = await brokers(test)
      kafka.create('orders', 0)
      kafka.log('orders').append('a')
      let cuts = 0
      kafka.on(name, () => {
        if (++cuts === 1) return { ending: 'cut' }
        // The broker processes the request, and the answer is lost.
        if (cuts === 2) setTimeout(() => kafka.brokers[0]!.cut(), 20)
        return cuts === 2 ? { delay: 1_000 } : undefined
      })
      const reading = await Reading.start(test, kafka, ['orders'])
      await reading.until(() => reading.has('a'))
      expect(cuts).toBeGreaterThan(2)
      expect(reading.records).toEqual(['orders-0@0 a'])
      expect(reading.error).toBeUndefined()
    },
  )

  it.each([
    ['GROUP_AUTHORIZATION_FAILED', 'RXMIKA_FETCH', 'READ'],
    ['INVALID_GROUP_ID', 'RXMIKA_CONFIGURATION', 'billing'],
    ['INVALID_SESSION_TIMEOUT', 'RXMIKA_CONFIGURATION', 'sessionTimeout'],
  ] as const)('ends if the group refuses it with %s', async (name, code, says) => {
    await using test = new Scope()
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    kafka.on('JoinGroup', () => refusing(errorCode[name]))
    const reading = await Reading.start(test, kafka, ['orders'])
    await reading.until(() => reading.error !== undefined)
    expect(reading.error).toMatchObject({ code })
    expect(String(reading.error)).toContain(says)
  })

  it('reports within 5 s, with the reason, that its group refuses it, and joins when the group accepts it', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    kafka.log('orders').append('a')
    const heal = kafka.on('JoinGroup', () => refusing(errorCode.GROUP_MAX_SIZE_REACHED))
    const began = performance.now()
    const reading = await Reading.start(test, kafka, ['orders'])
    await reading.until(() => reading.troubles.length > 0)
    expect(performance.now() - began).toBeLessThan(5_000)
    expect(reading.troubles[0]!.message).toContain('GROUP_MAX_SIZE_REACHED (81)')
    heal()
    await reading.until(() => reading.has('a'))
    expect(reading.troubles).toHaveLength(1)
  }, 15_000)

  it('shares a topic with other members, each partition read by one at a time', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0, 0, 0, 0)
    const one = await Reading.start(test, kafka, ['orders'])
    await one.until(() => one.assigned.size === 4)
    const other = await Reading.start(test, kafka, ['orders'])
    await Promise.all([one.until(() => one.assigned.size === 2), other.until(() => other.assigned.size === 2)])
    expect([...one.assigned.keys(), ...other.assigned.keys()].sort()).toEqual(
      [0, 1, 2, 3].map(partition => `orders-${partition}`),
    )
    for (const partition of [0, 1, 2, 3]) kafka.log('orders', partition).append(`${partition}`)
    await Promise.all([one.until(() => one.records.length === 2), other.until(() => other.records.length === 2)])
    expect(new Set([...one.records, ...other.records]).size).toBe(4)
  })

  it('assigns, as the leader, partitions added to a topic that only another member reads', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    kafka.create('payments', 0)
    const leader = await Reading.start(test, kafka, ['orders'], { metadataMaxAge: 100 })
    await leader.until(() => leader.assigned.size === 1)
    const other = await Reading.start(test, kafka, ['payments'])
    await other.until(() => other.assigned.size === 1)
    kafka.topics.get('payments')!.addPartition(0).append('first')
    await other.until(() => other.has('first'))
    expect(other.records).toEqual(['payments-1@0 first'])
    expect([...leader.assigned.keys()]).toEqual(['orders-0'])
  })
})
