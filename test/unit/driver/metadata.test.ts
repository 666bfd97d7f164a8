import { lastValueFrom } from 'rxjs'
import { createClient } from 'rxmika'
import { describe, expect, it, vi } from 'vitest'
import { errorCode } from '../../../src/protocol/errors'
import { type Asked, refusing } from '../../fake-broker/asked'
import type { FakeKafka } from '../../fake-broker/fake-kafka'
import { brokers, Reading } from '../../fake-broker/reading'
import { Scope } from '../../fake-broker/scope'

const protocols = ['classic', 'consumer', undefined] as const
const inGroup = (groupProtocol: (typeof protocols)[number]) =>
  groupProtocol === undefined ? { group: undefined } : { groupProtocol }

const isLook = ({ name, request }: Asked) => name === 'Metadata' && request.topics?.length > 0

/** Resolves when `count` more requests for topics have come. */
async function looks(kafka: FakeKafka, more: number): Promise<void> {
  const count = () => kafka.asked.filter(isLook).length
  const before = count()
  await vi.waitUntil(() => count() >= before + more, 5_000)
}

describe.concurrent('metadata', () => {
  for (const groupProtocol of protocols) {
    const how = groupProtocol ?? 'without a group'

    it(`of a broker that does not know added partitions removes none (${how})`, async () => {
      await using test = new Scope()
      const kafka = await brokers(test)
      const topic = kafka.create('orders', 0)
      const before = kafka.view
      const request = { startFrom: 'latest', metadataMaxAge: 50, ...inGroup(groupProtocol) } as const
      const reading = await Reading.start(test, kafka, ['orders'], request)
      await reading.until(() => reading.assigned.size === 1)
      topic.addPartition(0).append('0')
      await reading.until(() => reading.has('0'))
      kafka.shows(0, before)
      await looks(kafka, 3)
      kafka.log('orders', 1).append('1')
      await reading.until(() => reading.has('1'))
      kafka.shows(0, undefined)
      await looks(kafka, 3)
      kafka.log('orders', 1).append('2')
      await reading.until(() => reading.has('2'))
      expect(reading.records).toEqual(['orders-1@0 0', 'orders-1@1 1', 'orders-1@2 2'])
      expect(reading.story).not.toContain('lost')
    })

    it(`of a broker that does not know that a topic was created again is recognised as stale (${how})`, async () => {
      await using test = new Scope()
      const kafka = await brokers(test)
      kafka.create('orders', 0)
      kafka.log('orders').append('old')
      const before = kafka.view
      const request = { metadataMaxAge: 50, ...inGroup(groupProtocol) }
      const reading = await Reading.start(test, kafka, ['orders'], request)
      await reading.until(() => reading.has('old'))
      kafka.create('orders', 0)
      kafka.log('orders').append('0')
      await reading.until(() => reading.has('0'))
      const told = reading.troubles.length
      kafka.shows(0, before)
      await looks(kafka, 3)
      kafka.shows(0, undefined)
      kafka.log('orders').append('1')
      await reading.until(() => reading.has('1'))
      expect(reading.records).toEqual(['orders-0@0 old', 'orders-0@0 0', 'orders-0@1 1'])
      expect(reading.troubles.slice(told)).toEqual([])
    })

    it(`is requested again for topics that are added while a request is in flight (${how})`, async () => {
      await using test = new Scope()
      const kafka = await brokers(test)
      kafka.create('orders', 0)
      kafka.create('refunds', 0)
      kafka.log('refunds').append('first')
      // So long that nothing else requests metadata within the test.
      const request = { metadataMaxAge: 300_000, ...inGroup(groupProtocol) }
      const reading = await Reading.start(test, kafka, ['orders'], request)
      await reading.until(() => reading.assigned.size === 1)
      let answer = () => {}
      const until = new Promise<void>(resolve => {
        answer = resolve
      })
      kafka.next('Metadata', { until })
      // The log moved, so the client requests its leader.
      kafka.next('Fetch', { change: answer => notLed(answer) })
      await looks(kafka, 1)
      reading.driver.subscribe(['orders', 'refunds'])
      answer()
      await reading.until(() => reading.has('first'))
    })
  }

  it('of a broker that is behind moves no key to another partition, and refuses no existing one', async () => {
    await using test = new Scope()
    const kafka = await brokers(test)
    const topic = kafka.create('orders', 0)
    const before = kafka.view
    topic.addPartition(0)
    topic.addPartition(0)
    const client = createClient({ brokers: kafka.addresses, env: {}, logger: false })
    test.onTestFinished(() => client.close())
    client.start()
    const keys = Array.from({ length: 9 }, (_, at) => `key ${at}`)
    const publishAll = async () => {
      const written = keys.map(key => lastValueFrom(client.publish({ topic: 'orders', key, value: key })))
      return (await Promise.all(written)).flat().map(({ partition }) => partition)
    }
    const places = await publishAll()
    expect(new Set(places).size).toBe(3)
    kafka.shows(0, before)
    // Their leaders are requested again.
    kafka.next('Produce', refusing(errorCode.NOT_LEADER_OR_FOLLOWER))
    const since = kafka.asked.filter(isLook).length
    await publishAll()
    await lastValueFrom(client.publish({ topic: 'orders', partition: 2, value: 'two' }))
    expect(kafka.asked.filter(isLook).length).toBeGreaterThan(since)
    expect(await publishAll()).toEqual(places)
  })

  it('of a broker that does not know a partition is requested again before records for it are refused', async () => {
    await using test = new Scope()
    const kafka = await brokers(test)
    const topic = kafka.create('orders', 0)
    const client = createClient({ brokers: kafka.addresses, env: {}, logger: false })
    test.onTestFinished(() => client.close())
    client.start()
    const publish = (partition: number, value: string) =>
      lastValueFrom(client.publish({ topic: 'orders', partition, value }))
    await publish(0, 'zero')
    kafka.shows(0, kafka.view)
    topic.addPartition(0)
    const written = [publish(1, 'a'), publish(1, 'b')]
    const none = publish(2, 'c')
    const refused = expect(none).rejects.toThrow('partition orders-2 does not exist (topic has 2 partitions)')
    await looks(kafka, 2)
    kafka.shows(0, undefined)
    const found = await Promise.all([...written, publish(1, 'd')])
    expect(found.flat().map(({ offset }) => offset)).toEqual([0n, 1n, 2n])
    await refused
  })

  it('is requested again soon if the first request fails', async () => {
    await using test = new Scope()
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    kafka.log('orders').append('first')
    kafka.on('Metadata', ({ request }) =>
      request.topics?.length && kafka.asked.filter(isLook).length <= 2 ? { ending: 'cut' } : undefined,
    )
    const reading = await Reading.start(test, kafka, ['orders'], { group: undefined, metadataMaxAge: 300_000 })
    await reading.until(() => reading.has('first'))
  })

  it('is refreshed in time, however often topics are added', async () => {
    await using test = new Scope()
    const kafka = await brokers(test)
    const topic = kafka.create('orders', 0)
    kafka.create('refunds', 0)
    const reading = await Reading.start(test, kafka, ['orders'], { group: undefined, metadataMaxAge: 400 })
    await reading.until(() => reading.assigned.size === 1)
    topic.addPartition(0).append('first')
    let isRead = false
    const read = reading
      .until(() => reading.has('first'))
      .then(() => {
        isRead = true
      })
    // Like a page that shows the lag of a group.
    while (!isRead) await lastValueFrom(reading.driver.endOffsets('refunds'))
    await read
  })

  it('of a forbidden topic does not delay other topics that are looked up at the same time', async () => {
    await using test = new Scope()
    const kafka = await brokers(test)
    for (const topic of ['orders', 'refunds', 'secrets']) {
      kafka.create(topic, 0)
      kafka.log(topic).append(topic)
    }
    const reading = await Reading.start(test, kafka, ['orders'], { group: undefined, metadataMaxAge: 300_000 })
    await reading.until(() => reading.has('orders'))
    kafka.topics.get('secrets')!.unreadable = true
    kafka.on('ListOffsets', () => ({
      change: answer => ({
        ...answer,
        topics: answer.topics.map((each: { name: string; partitions: object[] }) =>
          each.name === 'secrets' ? { ...each, partitions: each.partitions.map(forbidden) } : each,
        ),
      }),
    }))
    reading.driver.subscribe(['orders', 'refunds', 'secrets'])
    await reading.until(() => reading.has('refunds'))
  })
})

describe.concurrent('a member of a classic group', () => {
  it('joins again if topics change while it joins', async () => {
    await using test = new Scope()
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    kafka.create('refunds', 0)
    kafka.log('refunds').append('first')
    let answer = () => {}
    const until = new Promise<void>(resolve => {
      answer = resolve
    })
    kafka.next('SyncGroup', { until })
    const reading = await Reading.start(test, kafka, ['orders'])
    await vi.waitUntil(() => kafka.count('SyncGroup') > 0, 5_000)
    reading.driver.subscribe(['orders', 'refunds'])
    answer()
    await reading.until(() => reading.has('first'))
  })

  it('assigns, as the leader, partitions that are added while it joins', async () => {
    await using test = new Scope()
    const kafka = await brokers(test)
    const topic = kafka.create('orders', 0)
    let answer = () => {}
    const until = new Promise<void>(resolve => {
      answer = resolve
    })
    kafka.next('SyncGroup', { until })
    // From now on only the records that the leader missed show that the partition exists.
    const reading = await Reading.start(test, kafka, ['orders'], { metadataMaxAge: 300_000 })
    await vi.waitUntil(() => kafka.count('SyncGroup') > 0, 5_000)
    topic.addPartition(0).append('first')
    await lastValueFrom(reading.driver.endOffsets('orders'))
    answer()
    await reading.until(() => reading.has('first'))
  })
})

const forbidden = (partition: object) => ({ ...partition, errorCode: errorCode.TOPIC_AUTHORIZATION_FAILED })

function notLed(answer: { responses: { partitions: object[] }[] }) {
  return {
    ...answer,
    responses: answer.responses.map(each => ({
      ...each,
      partitions: each.partitions.map(one => ({ ...one, errorCode: errorCode.NOT_LEADER_OR_FOLLOWER })),
    })),
  } as never
}
