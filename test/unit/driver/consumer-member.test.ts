import { lastValueFrom, Subject } from 'rxjs'
import { describe, expect, it, vi } from 'vitest'
import { errorCode } from '../../../src/protocol/errors'
import { refusing } from '../../fake-broker/asked'
import { brokers, Reading } from '../../fake-broker/reading'
import { Scope } from '../../fake-broker/scope'

type Test = { onTestFinished(end: () => unknown): void }

async function member(test: Test, request: Parameters<typeof Reading.start>[3] = {}) {
  const kafka = await brokers(test)
  const orders = kafka.create('orders', 0, 0)
  kafka.log('orders').append('a')
  const reading = await Reading.start(test, kafka, ['orders'], { groupProtocol: 'consumer', ...request })
  await reading.until(() => reading.has('a') && reading.assigned.size === 2)
  const [memberId] = kafka.consumer.members.keys()
  return { kafka, reading, memberId: memberId!, place: (partition: number) => `${orders.id}/${partition}` }
}

describe('a member of a consumer group', () => {
  it.each(['FENCED_MEMBER_EPOCH', 'UNKNOWN_MEMBER_ID'] as const)(
    'loses everything at once after %s, and joins again with its own id',
    async name => {
      await using test = new Scope()
      const { kafka, reading, memberId } = await member(test)
      kafka.next('ConsumerGroupHeartbeat', refusing(errorCode[name]))
      await reading.until(() => reading.story.includes('lost') && reading.assigned.size === 2)
      const joins = kafka.asked.filter(each => each.name === 'ConsumerGroupHeartbeat' && each.request.memberEpoch === 0)
      expect(joins.map(({ request }) => request.memberId)).toEqual([memberId, memberId])
      // A joining member has no partitions.
      expect(joins.map(({ request }) => request.topicPartitions)).toEqual([[], []])
      kafka.log('orders').append('b')
      await reading.until(() => reading.has('b'))
      expect(reading.troubles).toEqual([])
    },
  )

  it.each([
    // Brokers from 4.0 to 4.2 accept only the member's epoch, whatever the partition.
    { fencing: 'by member', kafka: '4.0', sent: 2 },
    // From 4.3 on (KIP-1251) they accept any epoch since the member got the partition.
    { fencing: 'by partition', kafka: '4.3', sent: 1 },
  ] as const)('commits across an epoch that rises meanwhile, as Kafka $kafka fences it', async ({ fencing, sent }) => {
    await using test = new Scope()
    const { kafka, reading, memberId, place } = await member(test)
    kafka.consumer.fencing = fencing
    const { epoch: before } = kafka.consumer.members.get(memberId)!
    // The epoch has risen, and the member does not know it yet.
    kafka.consumer.change(memberId, [place(0), place(1)])
    kafka.consumer.members.get(memberId)!.epoch = kafka.consumer.epoch
    kafka.on('ConsumerGroupHeartbeat', ({ request }) =>
      request.memberEpoch === before
        ? { change: answer => ({ ...answer, errorCode: 0, memberEpoch: before + 1 }) }
        : undefined,
    )
    const earlier = kafka.count('OffsetCommit')
    await reading.commit('orders-0', 1)
    expect(kafka.committed.get('orders-0')?.offset).toBe(1)
    const epochs = kafka.asked
      .filter(({ name }) => name === 'OffsetCommit')
      .slice(earlier)
      .map(({ request }) => request.generationIdOrMemberEpoch)
    expect(new Set(epochs).size).toBe(sent)
    expect(epochs.at(-1)).toBe(before + sent - 1)
    expect(reading.story).not.toContain('lost')
  })

  it('retries with growing delays while an epoch stays stale', async test => {
    const { kafka, reading } = await member(test, { heartbeatInterval: 20 })
    const times: number[] = []
    const heal = kafka.on('OffsetCommit', () => {
      times.push(performance.now())
      return refusing(errorCode.STALE_MEMBER_EPOCH)
    })
    const commit = reading.commit('orders-0', 1)
    await vi.waitUntil(() => times.length >= 5, { timeout: 10_000 })
    heal()
    await commit
    // The second attempt is immediate. The others come after 100, 200 and 400 ms, or half of that.
    expect(times[4]! - times[0]!).toBeGreaterThan(340)
  })

  it('sends no position of a partition that was revoked while the commit waited for the new epoch', async test => {
    const { kafka, reading, memberId, place } = await member(test, { heartbeatInterval: 60_000 })
    const given = reading.assigned.get('orders-1')!
    const kept = reading.assigned.get('orders-0')!
    kafka.next('OffsetCommit', refusing(errorCode.STALE_MEMBER_EPOCH), 4)
    kafka.consumer.change(memberId, [place(0)])
    const outcomes = [given, kept].map(assignment =>
      reading.commitOf(assignment, 1).then(
        () => 'committed',
        ({ code }) => code,
      ),
    )
    // Each is refused twice. The heartbeat after the first refusal has the member's new target. The member may commit until it
    // has reported that it gave the partition up.
    expect(await Promise.all(outcomes)).toEqual(['RXMIKA_COMMIT', 'committed'])
    const sent = kafka.asked
      .filter(({ name }) => name === 'OffsetCommit')
      .slice(4)
      .flatMap(({ request }) =>
        request.topics.flatMap((topic: { partitions: { partitionIndex: number }[] }) => topic.partitions),
      )
    expect(sent.map(({ partitionIndex }) => partitionIndex)).toEqual([0])
    expect(reading.story).not.toContain('lost')
  })

  it('keeps its new assignment if a commit from before the loss is refused', async test => {
    const { kafka, reading } = await member(test, { heartbeatInterval: 100 })
    kafka.next('OffsetCommit', { delay: 500, ...refusing(errorCode.UNKNOWN_MEMBER_ID) })
    const late = reading.commit('orders-0', 1).catch(({ code }) => code)
    kafka.next('ConsumerGroupHeartbeat', refusing(errorCode.FENCED_MEMBER_EPOCH))
    await reading.until(() => reading.story.includes('lost') && reading.assigned.size === 2)
    expect(await late).toBe('RXMIKA_COMMIT')
    const heartbeats = kafka.count('ConsumerGroupHeartbeat')
    await vi.waitUntil(() => kafka.count('ConsumerGroupHeartbeat') > heartbeats + 1)
    const joins = kafka.asked.filter(({ request }) => request.memberEpoch === 0)
    expect(joins).toHaveLength(2)
    expect(reading.story.filter(type => type === 'lost')).toHaveLength(1)
  })

  it('does not take a stale epoch in OffsetFetch for a missing position, and asks again with its new epoch', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    kafka.log('orders').append('a')
    kafka.log('orders').append('b')
    kafka.committed.set('orders-0', { offset: 1, leaderEpoch: -1, metadata: '' })
    kafka.next('OffsetFetch', refusing(errorCode.STALE_MEMBER_EPOCH), 2)
    const reading = await Reading.start(test, kafka, ['orders'], { groupProtocol: 'consumer' })
    await reading.until(() => reading.records.length > 0)
    expect(reading.records).toEqual(['orders-0@1 b'])
    expect(kafka.count('OffsetFetch')).toBe(3)
    expect(reading.troubles).toEqual([])
  })

  /** A member whose coordinator does not know the topic `dlq` yet. It sends heartbeats only to report something, or on request. */
  async function early(test: Test) {
    const kafka = await brokers(test)
    let interval = 60_000
    kafka.on('ConsumerGroupHeartbeat', () => ({ change: answer => ({ ...answer, heartbeatIntervalMs: interval }) }))
    kafka.create('orders', 0)
    kafka.create('dlq', 0, 0)
    kafka.consumer.unheard.add('dlq')
    const topics = ['orders', 'dlq']
    const reading = await Reading.start(test, kafka, topics, { groupProtocol: 'consumer', heartbeatInterval: 60_000 })
    await reading.until(() => reading.assigned.size > 0)
    expect(reading.awaited).toEqual([['dlq']])
    const heartbeat = (every = interval) => {
      interval = every
      reading.driver.subscribe(topics)
    }
    return { kafka, reading, heartbeat }
  }

  it('awaits partitions of topics unknown to its coordinator until answers have not changed for 5 s', async test => {
    const { kafka, reading, heartbeat } = await early(test)
    heartbeat(10)
    await reading.until(() => reading.awaited.length === 2)
    expect(reading.awaited).toEqual([['dlq'], []])
    expect([...reading.assigned.keys()]).toEqual(['orders-0'])

    kafka.consumer.unheard.clear()
    await reading.until(() => reading.assigned.size === 3)
    expect(reading.troubles).toEqual([])
  })

  it('awaits partitions of a topic until it has some of them', async test => {
    const { kafka, reading, heartbeat } = await early(test)
    kafka.consumer.unheard.clear()
    heartbeat()
    await reading.until(() => reading.awaited.length === 2)
    expect(reading.awaited).toEqual([['dlq'], []])
    expect([...reading.assigned.keys()].sort()).toEqual(['dlq-0', 'dlq-1', 'orders-0'])
    expect(reading.story.slice(-2)).toEqual(['assigned', 'awaited'])
  })

  it('is no longer a member once it has left, although its join was still in flight', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    const epochs: number[] = []
    const acts = kafka.consumer.heartbeat.bind(kafka.consumer)
    kafka.consumer.heartbeat = request => {
      epochs.push(request.memberEpoch)
      return acts(request)
    }
    kafka.next('ConsumerGroupHeartbeat', { late: 200 })
    const reading = await Reading.start(test, kafka, ['orders'], { groupProtocol: 'consumer' })
    await vi.waitUntil(() => kafka.count('ConsumerGroupHeartbeat') === 1)
    await lastValueFrom(reading.driver.leave(), { defaultValue: undefined })
    await vi.waitUntil(() => epochs.length === 2)
    expect(epochs).toEqual([0, -1])
    expect(kafka.consumer.members.size).toBe(0)
  })

  it('reports its assignment once for each target, in whatever order partitions are listed', async test => {
    const { kafka, reading } = await member(test)
    const said = () => kafka.asked.filter(({ request }) => (request.topicPartitions?.length ?? 0) > 0).length
    await vi.waitUntil(() => said() > 0)
    const before = said()
    const orders = kafka.topics.get('orders')!
    for (const partitions of [
      [1, 0],
      [0, 1],
    ]) {
      const heartbeats = kafka.count('ConsumerGroupHeartbeat')
      const assignment = { topicPartitions: [{ topicId: orders.id, partitions }] }
      kafka.next('ConsumerGroupHeartbeat', { change: answer => ({ ...answer, assignment }) })
      await vi.waitUntil(() => kafka.count('ConsumerGroupHeartbeat') > heartbeats + 1)
    }
    expect(said()).toBe(before)
    expect(reading.assigned.size).toBe(2)
  })

  it('sends heartbeats every heartbeatInterval, or more often if the broker asks for that', async test => {
    const { kafka } = await member(test, { heartbeatInterval: 20 })
    // The fake coordinator says 100 ms.
    const before = kafka.count('ConsumerGroupHeartbeat')
    const began = performance.now()
    await vi.waitUntil(() => kafka.count('ConsumerGroupHeartbeat') >= before + 10, { interval: 5 })
    expect(performance.now() - began).toBeLessThan(10 * 100)
  })

  it('tries to get its instanceId until it is free, and reports once that it is not', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    kafka.log('orders').append('a')
    // Longer than the limit for a group that refuses a member for another reason.
    kafka.next('ConsumerGroupHeartbeat', refusing(errorCode.UNRELEASED_INSTANCE_ID), 6)
    const request = { groupProtocol: 'consumer', instanceId: 'one' } as const
    const reading = await Reading.start(test, kafka, ['orders'], request)
    await reading.until(() => reading.has('a'))
    expect(reading.troubles.map(({ message }) => message)).toEqual([expect.stringContaining("instanceId 'one'")])
    expect(reading.error).toBeUndefined()
  })

  it('begins a topic with an unknown id only after looking it up', async test => {
    const { kafka, reading, memberId, place } = await member(test)
    const orders = kafka.topics.get('orders')!
    // The topic was created again. The coordinator knows it before this member does, and before the broker that it asks does.
    const again = kafka.create('orders', 0, 0)
    kafka.topics.set('orders', orders)
    const asked = kafka.count('Metadata')
    kafka.consumer.change(memberId, [place(0), `${again.id}/1`])
    await vi.waitUntil(() => kafka.count('Metadata') > asked)
    await reading.until(() => reading.assigned.size === 1)
    kafka.topics.set('orders', again)
    again.logs[1]!.append('new')
    kafka.consumer.change(memberId, [`${again.id}/0`, `${again.id}/1`])
    await reading.until(() => reading.has('new'))
  })

  it('keeps its partitions if a broker does not know the topic for a moment', async test => {
    const { kafka, reading } = await member(test)
    // Like a broker that has just started, and whose metadata is not up to date.
    kafka.next('Metadata', {
      change: answer => ({
        ...answer,
        topics: answer.topics.map(({ name }: { name: string }) => {
          return { errorCode: errorCode.UNKNOWN_TOPIC_OR_PARTITION, name, partitions: [] }
        }),
      }),
    })
    const asked = kafka.count('Metadata')
    kafka.next('Fetch', refusing(errorCode.NOT_LEADER_OR_FOLLOWER))
    await vi.waitUntil(() => kafka.count('Metadata') > asked + 1, 5_000)
    kafka.log('orders').append('b')
    await reading.until(() => reading.has('b'))
    expect(reading.story).toEqual(['assigned'])
  })

  it.each(['OK', 'UNKNOWN_MEMBER_ID'] as const)(
    'joins again once if it was lost by a commit while a heartbeat was in flight, which is answered %s later',
    async name => {
      await using test = new Scope()
      const { kafka, reading } = await member(test)
      kafka.next('ConsumerGroupHeartbeat', { delay: 300, ...(name !== 'OK' && refusing(errorCode[name])) })
      const beats = kafka.count('ConsumerGroupHeartbeat')
      await vi.waitUntil(() => kafka.count('ConsumerGroupHeartbeat') > beats)
      kafka.next('OffsetCommit', refusing(errorCode.UNKNOWN_MEMBER_ID))
      await reading.commit('orders-0', 1).catch(() => {})
      await reading.until(() => reading.story.includes('lost') && reading.assigned.size === 2)
      const after = kafka.asked.filter(each => each.name === 'ConsumerGroupHeartbeat').slice(beats + 1)
      const epochs = after.map(({ request }) => request.memberEpoch as number)
      expect(epochs.indexOf(0)).toBe(0)
      expect(epochs.lastIndexOf(0)).toBe(0)
      expect(reading.story.filter(type => type === 'lost')).toHaveLength(1)
    },
  )

  it('joins again if its group no longer exists (GROUP_ID_NOT_FOUND)', async test => {
    const { kafka, reading } = await member(test)
    // Deleted, or unknown to the coordinator, while this process was suspended for longer than its session.
    kafka.next('ConsumerGroupHeartbeat', refusing(errorCode.GROUP_ID_NOT_FOUND))
    await reading.until(() => reading.story.includes('lost') && reading.assigned.size === 2)
    kafka.log('orders').append('b')
    await reading.until(() => reading.has('b'))
    expect(reading.troubles).toEqual([])
  })

  it('is in doubt after a session without an answered heartbeat, even if commits are answered', async test => {
    const { kafka, reading } = await member(test, { sessionTimeout: 400 })
    let answer = () => {}
    const until = new Promise<void>(resolve => {
      answer = resolve
    })
    kafka.next('ConsumerGroupHeartbeat', { until })
    let committing = true
    const commits = (async () => {
      for (let offset = 1; committing; offset++) await reading.commit('orders-0', offset)
    })()
    await vi.waitUntil(() => reading.driver.doubtful, 5_000)
    expect(kafka.committed.get('orders-0')?.offset).toBeGreaterThan(1)
    committing = false
    answer()
    await commits
  })

  it('revokes partitions and reports that before it begins new ones, while the rest continues', async test => {
    const kafka = await brokers(test)
    const orders = kafka.create('orders', 0, 0, 0)
    const place = (partition: number) => `${orders.id}/${partition}`
    const reading = await Reading.start(test, kafka, ['orders'], {
      groupProtocol: 'consumer',
      rebalanceTimeout: 10_000,
    })
    await reading.until(() => reading.assigned.size === 3)
    const [memberId] = kafka.consumer.members.keys()
    kafka.consumer.change(memberId!, [place(0), place(1)])
    await reading.until(() => reading.assigned.size === 2)

    const release = new Subject<void>()
    const givenUp: string[] = []
    reading.onRevoking = ({ assignments, hold }) => {
      givenUp.push(...assignments.map(({ topic, partition }) => `${topic}-${partition}`))
      hold(release)
    }
    kafka.consumer.change(memberId!, [place(1), place(2)])
    await reading.until(() => givenUp.length > 0)
    expect(givenUp).toEqual(['orders-0'])
    // Retained partitions are read, revoked ones can be committed, and new ones are not taken up yet.
    kafka.log('orders', 1).append('kept')
    await reading.until(() => reading.has('kept'))
    await reading.commit('orders-0', 0)
    expect([...reading.assigned.keys()].sort()).toEqual(['orders-0', 'orders-1'])
    release.complete()
    await reading.until(() => reading.assigned.has('orders-2'))
    expect([...reading.assigned.keys()].sort()).toEqual(['orders-1', 'orders-2'])
    const owned = kafka.asked
      .filter(({ name, request }) => name === 'ConsumerGroupHeartbeat' && request.topicPartitions !== null)
      .map(({ request }) =>
        request.topicPartitions
          .flatMap((each: { partitions: number[] }) => each.partitions)
          .sort()
          .join(),
      )
    expect(owned.at(-1)).toBe('1,2')
    expect(owned.filter(said => said.includes('0') && said.includes('2'))).toEqual(['0,1,2'])
  })

  it('does not begin a partition that is revoked before its position is known', async test => {
    const kafka = await brokers(test)
    const orders = kafka.create('orders', 0, 0)
    const place = (partition: number) => `${orders.id}/${partition}`
    const reading = await Reading.start(test, kafka, ['orders'], {
      groupProtocol: 'consumer',
      rebalanceTimeout: 10_000,
    })
    await reading.until(() => reading.assigned.size === 2)
    const [memberId] = kafka.consumer.members.keys()
    kafka.consumer.change(memberId!, [place(0)])
    await reading.until(() => reading.assigned.size === 1)
    kafka.log('orders', 1).append('not yet')

    let answer = () => {}
    const until = new Promise<void>(resolve => {
      answer = resolve
    })
    kafka.next('OffsetFetch', { until })
    const looked = kafka.count('OffsetFetch')
    kafka.consumer.change(memberId!, [place(0), place(1)])
    await vi.waitUntil(() => kafka.count('OffsetFetch') > looked, 5_000)
    // Both are revoked, and giving up the one that is read takes long.
    const release = new Subject<void>()
    reading.onRevoking = ({ hold }) => hold(release)
    const before = reading.story.length
    kafka.consumer.change(memberId!, [])
    await reading.until(() => reading.story.slice(before).includes('revoking'))
    answer()
    // The result of the look-up is reported within this time.
    const heartbeats = kafka.count('ConsumerGroupHeartbeat')
    await vi.waitUntil(() => kafka.count('ConsumerGroupHeartbeat') > heartbeats + 20, 10_000)
    release.complete()
    await reading.until(() => reading.assigned.size === 0)
    expect(reading.records).toEqual([])
    expect(reading.events.flatMap(event => (event.type === 'assigned' ? event.added : []))).toHaveLength(2)
  })

  it('stays a member for its other topics if it loses the right to one, and reads that again with the right', async test => {
    const kafka = await brokers(test)
    for (const topic of ['orders', 'secrets']) {
      kafka.create(topic, 0)
      kafka.log(topic).append(topic)
    }
    kafka.topics.get('secrets')!.forbidden = true
    const request = { groupProtocol: 'consumer', metadataMaxAge: 100 } as const
    const reading = await Reading.start(test, kafka, ['orders', 'secrets'], request)
    await reading.until(() => reading.has('orders'))
    kafka.topics.get('secrets')!.forbidden = false
    await reading.until(() => reading.has('secrets'))
    kafka.topics.get('secrets')!.forbidden = true
    // The member reports its partitions again, and is still a member.
    kafka.next('ConsumerGroupHeartbeat', { ending: 'cut' })
    kafka.log('orders').append('more')
    await reading.until(() => reading.has('more'))
    const heartbeats = kafka.count('ConsumerGroupHeartbeat')
    await vi.waitUntil(() => kafka.count('ConsumerGroupHeartbeat') > heartbeats + 3, { timeout: 5_000 })
    await reading.commit('orders-0', 2)
    const lost = reading.events.flatMap(event => (event.type === 'lost' ? event.assignments : []))
    expect(lost.map(({ topic }) => topic)).toEqual(['secrets'])
  })

  it('reports an empty assignment if other members have all partitions', async test => {
    const { kafka } = await member(test)
    const [first] = kafka.consumer.members.keys()
    const all = kafka.topics.get('orders')!.logs.map((_, partition) => `${kafka.topics.get('orders')!.id}/${partition}`)
    kafka.consumer.wanted.set(first!, all)
    const other = await Reading.start(test, kafka, ['orders'], { groupProtocol: 'consumer' })
    await other.until(() => other.story.includes('assigned'))
    const [awaited, assigned] = other.events
    expect(awaited).toEqual({ type: 'awaited', topics: new Set(['orders']) })
    expect(assigned).toEqual({ type: 'assigned', added: [], retained: [] })
  })

  it('shares a topic with another member, no partition read by both', async test => {
    const { kafka, reading } = await member(test)
    const other = await Reading.start(test, kafka, ['orders'], { groupProtocol: 'consumer' })
    await Promise.all([reading.until(() => reading.assigned.size === 1), other.until(() => other.assigned.size === 1)])
    expect([...reading.assigned.keys(), ...other.assigned.keys()].sort()).toEqual(['orders-0', 'orders-1'])
    expect(reading.troubles).toEqual([])
    expect(other.troubles).toEqual([])
  })
})
