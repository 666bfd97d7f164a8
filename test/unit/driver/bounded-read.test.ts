import { BehaviorSubject } from 'rxjs'
import { describe, expect, it, vi } from 'vitest'
import { errorCode } from '../../../src/protocol/errors'
import { refusing } from '../../fake-broker/asked'
import { Bounded, connectedDriver } from '../../fake-broker/bounded'
import type { FakeKafka } from '../../fake-broker/fake-kafka'
import { brokers } from '../../fake-broker/reading'

const large = (value: string) => `${'x'.repeat(300_000)} ${value}`
const values = (read: Bounded) => read.records.map(record => record.split(' ').at(-1))
const fetches = (kafka: FakeKafka) => kafka.count('Fetch')

describe('a bounded read on fake brokers', () => {
  it('completes at the end of a log whose last records compaction has removed', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0, 0, 0)
    kafka.log('orders').append('a', 'b')
    kafka.log('orders').gap(5)
    kafka.log('orders', 1).gap(3)
    kafka.log('orders', 2).append('c')
    kafka.log('orders', 2).gap(2)
    kafka.log('orders', 2).append('d')
    const read = new Bounded(await connectedDriver(test, kafka))
    expect(await read.ended).toEqual({})
    expect(read.records.sort()).toEqual(['0@0 a', '0@1 b', '2@0 c', '2@3 d'])
    expect(read.troubles).toEqual([])
  })

  it('does not take an empty answer for a gap while the records may be in tiered storage', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    kafka.log('orders').append('a')
    // The broker's own part of the log begins behind that record, and the remote store is slow.
    const tiered = kafka.on('ListOffsets', ({ request }) =>
      request.topics[0].partitions[0].timestamp === -4n
        ? {
            change: answer => ({
              ...answer,
              topics: [
                { name: 'orders', partitions: [{ partitionIndex: 0, errorCode: 0, offset: 1, leaderEpoch: 0 }] },
              ],
            }),
          }
        : undefined,
    )
    const slow = kafka.on('Fetch', () => ({
      change: answer => ({
        ...answer,
        responses: answer.responses.map((topic: { partitions: object[] }) => ({
          ...topic,
          partitions: topic.partitions.map(each => ({ ...each, records: Buffer.alloc(0) })),
        })),
      }),
    }))
    const read = new Bounded(await connectedDriver(test, kafka))
    await vi.waitUntil(() => kafka.asked.filter(({ name }) => name === 'ListOffsets').length > 2)
    expect(read.end).toBeUndefined()
    slow()
    expect(await read.ended).toEqual({})
    expect(values(read)).toEqual(['a'])
    tiered()
  })

  it('fetches nothing while it is paused, and continues where it was', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    for (let at = 0; at < 12; at++) kafka.log('orders').append(large(`${at}`))
    const paused = new BehaviorSubject(false)
    const driver = await connectedDriver(test, kafka)
    const read = new Bounded(driver, { paused })
    read.onBatch = () => paused.next(true)
    await read.until(() => read.records.length > 0)
    // When another read is done, all answers to earlier requests have arrived.
    expect(await new Bounded(driver).ended).toEqual({})
    const before = fetches(kafka)
    const count = read.records.length
    expect(count).toBeLessThan(8)
    expect(await new Bounded(driver, { from: 'latest' }).ended).toEqual({})
    expect([fetches(kafka), read.records.length]).toEqual([before, count])
    read.onBatch = () => {}
    paused.next(false)
    expect(await read.ended).toEqual({})
    expect(values(read)).toEqual(Array.from({ length: 12 }, (_, at) => `${at}`))
  })

  it('stops fetching and closes its connections when it is unsubscribed, even during an emission', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    for (let at = 0; at < 4; at++) kafka.log('orders').append(large(`${at}`))
    const driver = await connectedDriver(test, kafka)
    const sockets = () => process.getActiveResourcesInfo().filter(name => name === 'TCPSocketWrap').length
    const first = new Bounded(driver)
    await first.ended
    await vi.waitUntil(() => sockets() > 0)
    for (let was = -1; was !== sockets(); await new Promise(resolve => setTimeout(resolve, 20))) was = sockets()
    const before = sockets()
    const read = new Bounded(driver, { until: 'forever' })
    read.onBatch = () => read.subscription.unsubscribe()
    await read.until(() => read.records.length === 1)
    const asked = fetches(kafka)
    await vi.waitUntil(() => sockets() <= before)
    expect(read.records).toHaveLength(1)
    expect(fetches(kafka)).toBeLessThanOrEqual(asked + 1)
    expect(driver.lastFailure).toBeUndefined()
  })

  it('reads the other partitions while one has no leader, and that one once it has', async test => {
    const kafka = await brokers(test, 2)
    kafka.create('orders', 0, -1)
    kafka.log('orders').append('a')
    kafka.log('orders', 1).append('b')
    const read = new Bounded(await connectedDriver(test, kafka))
    await read.until(() => read.troubles.length > 0)
    expect(read.records).toEqual(['0@0 a'])
    expect(read.end).toBeUndefined()
    expect(read.troubles.map(({ message }) => message)).toEqual([
      'the bounds of orders-1 are not known yet: no broker leads orders-1 at present',
    ])
    kafka.log('orders', 1).leader = 1
    expect(await read.ended).toEqual({})
    expect(read.records).toEqual(['0@0 a', '1@0 b'])
  })

  it('waits for a partition that the broker does not know yet, and errors if it stays unknown', async test => {
    const kafka = await brokers(test)
    const topic = kafka.create('orders', 0)
    kafka.shows(0, kafka.view)
    topic.addPartition(0).append('added')
    const driver = await connectedDriver(test, kafka)
    const read = new Bounded(driver, { partitions: [1] })
    const none = new Bounded(driver, { partitions: [0, 7] })
    const asked = kafka.count('Metadata')
    await vi.waitUntil(() => kafka.count('Metadata') > asked + 3)
    kafka.shows(0, undefined)
    expect(await read.ended).toEqual({})
    expect(read.records).toEqual(['1@0 added'])
    const { error } = await none.ended
    expect((error as Error).message).toContain('partition orders-7 does not exist (the topic has 2 partitions)')
  })

  it('follows a leader that moves while it reads', async test => {
    const kafka = await brokers(test, 2)
    kafka.create('orders', 0)
    for (let at = 0; at < 8; at++) kafka.log('orders').append(large(`${at}`))
    const read = new Bounded(await connectedDriver(test, kafka))
    read.onBatch = () => {
      kafka.log('orders').leader = 1
    }
    expect(await read.ended).toEqual({})
    expect(values(read)).toEqual(Array.from({ length: 8 }, (_, at) => `${at}`))
  })

  it('continues at the new start if retention was faster, and completes if that is its end', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    for (let at = 0; at < 12; at++) kafka.log('orders').append(large(`${at}`))
    const driver = await connectedDriver(test, kafka)
    const read = new Bounded(driver)
    read.onBatch = () => kafka.log('orders').deleteBefore(11)
    expect(await read.ended).toEqual({})
    expect(values(read).at(-1)).toBe('11')
    expect(read.records.length).toBeLessThan(12)
    const from = read.records.length - 1
    expect(read.troubles).toMatchObject([{ code: 'RXMIKA_FETCH', topic: 'orders', partition: 0, offset: BigInt(from) }])
    expect(read.troubles[0]!.message).toContain(
      `the position orders-0@${from} is out of range: the records from there on were deleted by retention; reading goes on at 11`,
    )

    const paused = new BehaviorSubject(true)
    const listed = kafka.count('ListOffsets')
    const late = new Bounded(driver, { paused })
    // Its first and last offset.
    await vi.waitUntil(() => kafka.count('ListOffsets') === listed + 2)
    await new Bounded(driver, { from: 'latest' }).ended
    kafka.log('orders').deleteBefore(12)
    paused.next(false)
    expect(await late.ended).toEqual({})
    expect(late.records).toEqual([])
  })

  it('ends at the end of a log that was truncated while it was read', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    for (let at = 0; at < 8; at++) kafka.log('orders').append(large(`${at}`))
    const paused = new BehaviorSubject(false)
    const read = new Bounded(await connectedDriver(test, kafka), { paused })
    read.onBatch = () => paused.next(read.records.length > 2)
    await read.until(() => read.records.length > 2)
    kafka.log('orders').cutOff(2)
    kafka.log('orders').append('again')
    paused.next(false)
    expect(await read.ended).toEqual({})
    expect(read.troubles).toHaveLength(1)
    expect(read.troubles[0]!.message).toContain('the log was cut off before it; reading goes on at')
    expect(values(read).at(-1)).toBe('again')
  })

  it.for([0, 1, 3])('ends at the end of a log that was truncated %i behind the read position', async (behind, test) => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    for (let at = 0; at < 8; at++) kafka.log('orders').append(large(`${at}`))
    const paused = new BehaviorSubject(false)
    const read = new Bounded(await connectedDriver(test, kafka), { paused })
    read.onBatch = () => paused.next(true)
    await read.until(() => read.records.length > 0)
    const position = read.records.length
    read.onBatch = () => {}
    kafka.log('orders').cutOff(position + behind)
    paused.next(false)
    expect(await read.ended).toEqual({})
    expect(values(read)).toEqual(Array.from({ length: position + behind }, (_, at) => `${at}`))
    expect(read.troubles.map(({ message }) => message)).toEqual([
      `the log was cut off at orders-0@${position + behind} while it was read; reading ends there`,
    ])
  })

  it('does not take an outdated end of the log for its end', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    for (let at = 0; at < 3; at++) kafka.log('orders').append(large(`${at}`))
    let early = 2
    // A new leader, or a follower, that does not know yet how far the log is replicated.
    kafka.on('Fetch', ({ request }) => {
      const at = Number(request.topics[0]?.partitions[0]?.fetchOffset ?? 0)
      if (at === 0 || early-- <= 0) return undefined
      return {
        change: answer => ({
          ...answer,
          responses: answer.responses.map((topic: { partitions: object[] }) => ({
            ...topic,
            partitions: topic.partitions.map(each => ({
              ...each,
              ...{ records: Buffer.alloc(0), highWatermark: at, lastStableOffset: at },
            })),
          })),
        }),
      }
    })
    const read = new Bounded(await connectedDriver(test, kafka))
    expect(await read.ended).toEqual({})
    expect(values(read)).toEqual(['0', '1', '2'])
    expect(read.troubles).toEqual([])
    expect(early).toBeLessThanOrEqual(0)
  })

  it('errors with the name of a topic that is deleted, created again, forbidden, or cannot be decoded', async test => {
    const kafka = await brokers(test)
    const driver = await connectedDriver(test, kafka)
    const reads = async (what: () => void) => {
      kafka.create('orders', 0)
      kafka.log('orders').append('a')
      const read = new Bounded(driver, { until: 'forever' })
      await read.until(() => read.records.length > 0)
      what()
      const { error } = await read.ended
      expect(error).toMatchObject({ code: 'RXMIKA_FETCH', topic: 'orders' })
      return String(error)
    }
    expect(await reads(() => kafka.topics.delete('orders'))).toContain("topic 'orders' was deleted while it was read")
    expect(await reads(() => kafka.create('orders', 0))).toContain(
      "topic 'orders' was deleted and made again while it was read",
    )
    expect(
      await reads(() => {
        kafka.topics.get('orders')!.forbidden = true
      }),
    ).toMatch(/may not read topic 'orders'.*READ/)
    kafka.topics.clear()
    const broken = reads(() => {
      kafka.on('Fetch', () => ({
        change: answer => ({
          ...answer,
          responses: answer.responses.map((topic: { partitions: object[] }) => ({
            ...topic,
            partitions: topic.partitions.map(each => ({ ...each, records: Buffer.alloc(100, 2) })),
          })),
        }),
      }))
    })
    expect(await broken).toMatch(/the record batch at orders-0@.* cannot be read/)
  })

  it('continues after an answer that refuses a partition, and reports errors that do not concern leaders', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    kafka.log('orders').append('a')
    kafka.next('Fetch', refusing(errorCode.NOT_LEADER_OR_FOLLOWER))
    const driver = await connectedDriver(test, kafka)
    const read = new Bounded(driver)
    expect(await read.ended).toEqual({})
    expect([values(read), read.troubles]).toEqual([['a'], []])
    kafka.next('Fetch', refusing(errorCode.UNKNOWN_SERVER_ERROR))
    const other = new Bounded(driver)
    expect(await other.ended).toEqual({})
    expect(other.troubles.map(({ message }) => message)).toEqual([
      'orders-0@0 cannot be read: the broker answers UNKNOWN_SERVER_ERROR (-1); it is tried again',
    ])
  })

  it('reads partitions that are added to a topic during a read without end', async test => {
    const kafka = await brokers(test)
    const topic = kafka.create('orders', 0)
    const driver = await connectedDriver(test, kafka)
    const read = new Bounded(driver, { from: 'latest', until: 'forever' })
    kafka.on('Fetch', () => undefined)
    await vi.waitUntil(() => fetches(kafka) > 0)
    topic.addPartition(0).append('new')
    kafka.next('Fetch', refusing(errorCode.NOT_LEADER_OR_FOLLOWER))
    await read.until(() => read.records.length > 0)
    expect(read.records).toEqual(['1@0 new'])
    read.subscription.unsubscribe()
  })

  it('ends when its driver closes', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    const driver = await connectedDriver(test, kafka)
    const read = new Bounded(driver, { until: 'forever' })
    await vi.waitUntil(() => fetches(kafka) > 0)
    driver.close().subscribe()
    expect((await read.ended).error).toMatchObject({ code: 'RXMIKA_CONNECTION' })
  })
})
