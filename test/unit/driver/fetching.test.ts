import { describe, expect, it, vi } from 'vitest'
import { Assignment } from '../../../src/drivers/kafka/fetching/assignment'
import { FetchSize } from '../../../src/drivers/kafka/fetching/fetch-size'
import { errorCode, kafkaErrors } from '../../../src/protocol/errors'
import { refusing } from '../../fake-broker/asked'
import { brokers, Reading } from '../../fake-broker/reading'
import { Scope } from '../../fake-broker/scope'

const upTo = (count: number) => Array.from({ length: count }, (_, at) => `${at}`)

/** Codes of a broker that is not the leader, or not ready to be it (KIP-207). The partition is requested again soon. */
const soon = kafkaErrors.filter(error => error.has('staleMetadata') || error.name === 'OFFSET_NOT_AVAILABLE')
const handled = new Set([errorCode.NONE, errorCode.OFFSET_OUT_OF_RANGE, errorCode.TOPIC_AUTHORIZATION_FAILED])
const notAuthorized = kafkaErrors.filter(error => error.has('notAuthorized'))
const others = kafkaErrors.filter(
  error => !handled.has(error.code) && !soon.includes(error) && !notAuthorized.includes(error),
)

describe.concurrent('a fetch that the broker refuses', () => {
  it.each(soon.map(({ name, code }) => ({ name, code })))(
    'is sent again soon, with newer metadata and without a report, after $name',
    async ({ code }) => {
      await using test = new Scope()
      const kafka = await brokers(test)
      kafka.create('orders', 0)
      kafka.log('orders').append('a')
      kafka.next('Fetch', refusing(code))
      const reading = await Reading.start(test, kafka, ['orders'])
      const before = kafka.count('Metadata')
      await reading.until(() => reading.has('a'))
      expect(kafka.count('Metadata')).toBeGreaterThan(before)
      expect(reading.troubles).toEqual([])
    },
  )

  it.each([...others.map(({ name, code }) => ({ name, code })), { name: 'UNKNOWN_CODE', code: 999 }])(
    'is reported once, with place and code, and delays no other partition, after $name',
    async ({ name, code }) => {
      await using test = new Scope()
      const kafka = await brokers(test)
      kafka.create('orders', 0, 0)
      kafka.log('orders').append('refused')
      kafka.log('orders', 1).append('beside')
      kafka.on('Fetch', () => ({
        change: answer => ({
          ...answer,
          responses: answer.responses.map((topic: { partitions: { partitionIndex: number }[] }) => ({
            ...topic,
            partitions: topic.partitions.map(each =>
              each.partitionIndex === 0 ? { ...each, errorCode: code, records: Buffer.alloc(0) } : each,
            ),
          })),
        }),
      }))
      const reading = await Reading.start(test, kafka, ['orders'])
      await reading.until(() => reading.has('beside') && reading.troubles.length > 0)
      expect(reading.troubles.map(({ message }) => message)).toEqual([
        `orders-0@0 cannot be read: the broker answers ${name} (${code}); it is tried again`,
      ])
      expect(reading.error).toBeUndefined()
    },
  )

  it.each(notAuthorized.map(({ name, code }) => ({ name, code })))(
    'ends reading with the name of the topic if the right is missing from the start, after $name',
    async ({ code }) => {
      await using test = new Scope()
      const kafka = await brokers(test)
      kafka.create('orders', 0)
      kafka.on('Fetch', () => refusing(code))
      const reading = await Reading.start(test, kafka, ['orders'])
      await reading.until(() => reading.error !== undefined)
      expect(reading.error).toMatchObject({ code: 'RXMIKA_FETCH', topic: 'orders' })
      expect(String(reading.error)).toMatch(/'orders'.*READ/)
    },
  )
})

describe('a driver that reads', () => {
  it('continues if the delay of a partition ends between two reads of the clock', async test => {
    const held = vi.spyOn(Assignment.prototype, 'heldFor', 'get').mockReturnValue(0)
    test.onTestFinished(() => held.mockRestore())
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    kafka.log('orders').append('a')
    kafka.on('Fetch', () => {
      if (kafka.count('Fetch') > 1) return undefined
      // The hold is 40 ms when the fetcher checks it, and over when the fetcher reads how long it lasts.
      held.mockReturnValueOnce(40)
      return refusing(errorCode.UNKNOWN_SERVER_ERROR)
    })
    const reading = await Reading.start(test, kafka, ['orders'], { metadataMaxAge: 3_600_000 })
    await reading.until(() => reading.has('a'))
  })

  /** Four such records do not fit into one answer, which has at most 1 MiB of a partition. */
  const large = (value: string) => `${'x'.repeat(300_000)} ${value}`
  const offsetsAsked = (kafka: Awaited<ReturnType<typeof brokers>>): number[] =>
    kafka.asked.filter(({ name }) => name === 'Fetch').map(({ request }) => request.topics[0].partitions[0].fetchOffset)

  it('delivers each record once and in order, and fetches none twice', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    for (const value of upTo(12)) kafka.log('orders').append(large(value))
    const reading = await Reading.start(test, kafka, ['orders'])
    await reading.until(() => reading.records.length === 12)
    expect(reading.records.map(record => record.split(' ').at(-1))).toEqual(upTo(12))
    const offsets = offsetsAsked(kafka).filter(offset => offset < 12)
    expect(new Set(offsets).size).toBe(offsets.length)
  })

  it('requests the next records before it delivers the fetched ones', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    for (const value of upTo(12)) kafka.log('orders').append(large(value))
    const reading = await Reading.start(test, kafka, ['orders'])
    // If the next request were sent only after the first delivery, it would not be sent at all.
    reading.onBatch = () => reading.driver.pause([...reading.assigned.values()])
    await vi.waitUntil(() => offsetsAsked(kafka).some(offset => offset > 0))
    reading.onBatch = () => {}
    reading.driver.resume([...reading.assigned.values()])
    await reading.until(() => reading.records.length === 12)
    expect(reading.records.map(record => record.split(' ').at(-1))).toEqual(upTo(12))
  })

  const sharesAsked = (kafka: Awaited<ReturnType<typeof brokers>>): number[] =>
    kafka.asked
      .filter(({ name }) => name === 'Fetch')
      .map(({ request }) => request.topics[0].partitions[0].partitionMaxBytes)

  it('requests little of a partition at first, for a quick start, and soon its share', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    for (const value of upTo(12)) kafka.log('orders').append(large(value))
    const reading = await Reading.start(test, kafka, ['orders'])
    await reading.until(() => reading.records.length === 12)
    expect(sharesAsked(kafka).slice(0, 3)).toEqual([64 * 1024, 256 * 1024, 1024 * 1024])
  })

  it('requests less of a partition whose records have waited long, and more again when they do not wait', async test => {
    // Each pause of the first twelve batches counts as ten seconds.
    const { resume } = FetchSize.prototype
    const longer = vi.spyOn(FetchSize.prototype, 'resume').mockImplementation(function (this: FetchSize, now) {
      resume.call(this, now + 10_000)
    })
    test.onTestFinished(() => longer.mockRestore())
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    for (const value of upTo(60)) kafka.log('orders').append(large(value))
    const reading = await Reading.start(test, kafka, ['orders'])
    let slow = 12
    reading.onBatch = () => {
      if (slow-- <= 0) return
      const all = [...reading.assigned.values()]
      reading.driver.pause(all)
      reading.driver.resume(all)
    }
    await reading.until(() => reading.records.length === 60)
    const asked = sharesAsked(kafka)
    expect(asked.slice(0, 2)).toEqual([64 * 1024, 256 * 1024])
    expect(asked.slice(4, 10)).toEqual(Array(6).fill(64 * 1024))
    expect(asked.at(-1)).toBe(1024 * 1024)
    expect(reading.records.map(record => record.split(' ').at(-1))).toEqual(upTo(60))
  })

  it('does not deliver an answer for a partition that was paused meanwhile, and fetches it again', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0, 0)
    for (const value of upTo(5)) kafka.log('orders').append(value)
    const reading = await Reading.start(test, kafka, ['orders'])
    await reading.until(() => reading.records.length === 5)
    reading.driver.pause([reading.assigned.get('orders-0')!])
    kafka.log('orders', 1).append('other')
    await reading.until(() => reading.has('other'))
    kafka.log('orders').append('late')
    kafka.log('orders', 1).append('another')
    await reading.until(() => reading.has('another'))
    reading.driver.resume([reading.assigned.get('orders-0')!])
    await reading.until(() => reading.has('late'))
    expect(reading.records.filter(record => record.startsWith('orders-0'))).toEqual([
      ...upTo(5).map(value => `orders-0@${value} ${value}`),
      'orders-0@5 late',
    ])
  })

  it('reads a topic that was created again from its beginning, and reports it', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    kafka.log('orders').append('a', 'b', 'c')
    const reading = await Reading.start(test, kafka, ['orders'], { startFrom: 'latest', metadataMaxAge: 100 })
    kafka.log('orders').append('d')
    await reading.until(() => reading.assigned.size > 0)
    kafka.log('orders').append('e')
    await reading.until(() => reading.has('e'))
    kafka.create('orders', 0)
    kafka.log('orders').append('new')
    await reading.until(() => reading.has('new'))
    expect(reading.records.at(-1)).toBe('orders-0@0 new')
    expect(reading.troubles.map(({ message }) => message)).toEqual([
      "topic 'orders' was deleted and made again: orders-0 is read from its beginning instead of from 5",
    ])
    expect(reading.story).toContain('lost')
  })

  it('moves a position to the offset where its log diverges from the one that was read, and reports it', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    for (const value of ['a', 'b', 'c', 'd']) kafka.log('orders').append(value)
    const reading = await Reading.start(test, kafka, ['orders'])
    await reading.until(() => reading.has('d'))
    await reading.commitOf(reading.assigned.get('orders-0')!, 4)
    kafka.log('orders').cutOff(2)
    for (const value of ['C', 'D', 'E']) kafka.log('orders').append(value)
    await reading.until(() => reading.has('E'))
    expect(reading.records.slice(4)).toEqual(['orders-0@2 C', 'orders-0@3 D', 'orders-0@4 E'])
    expect(reading.troubles.map(({ message }) => message)).toEqual([
      'the position orders-0@4 is beyond the offset where the log diverges from the one that was read; reading goes on at 2',
    ])
  })

  it('detects by the committed epoch a log that was truncated while it was not read', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    for (const value of ['a', 'b', 'c', 'd']) kafka.log('orders').append(value)
    kafka.committed.set('orders-0', { offset: 4, leaderEpoch: 0, metadata: '' })
    kafka.log('orders').cutOff(2)
    for (const value of ['C', 'D', 'E']) kafka.log('orders').append(value)
    const reading = await Reading.start(test, kafka, ['orders'])
    await reading.until(() => reading.has('E'))
    expect(reading.records).toEqual(['orders-0@2 C', 'orders-0@3 D', 'orders-0@4 E'])
    expect(reading.troubles).toHaveLength(1)
  })

  it('moves a position that retention has deleted to the log start, and reports both offsets', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    for (const value of ['a', 'b', 'c', 'd']) kafka.log('orders').append(value)
    kafka.committed.set('orders-0', { offset: 1, leaderEpoch: -1, metadata: '' })
    kafka.log('orders').deleteBefore(3)
    const reading = await Reading.start(test, kafka, ['orders'])
    await reading.until(() => reading.has('d'))
    expect(reading.records).toEqual(['orders-0@3 d'])
    expect(reading.troubles.map(({ message }) => message)).toEqual([expect.stringMatching(/orders-0@1.*goes on at 3/)])
  })

  it('reads partitions that were added later from their beginning, even with startFrom latest, and commits the position', async test => {
    const kafka = await brokers(test)
    kafka.create('orders', 0)
    kafka.log('orders').append('before')
    const reading = await Reading.start(test, kafka, ['orders'], { startFrom: 'latest', metadataMaxAge: 100 })
    await reading.until(() => reading.assigned.size === 1)
    expect(kafka.committed.get('orders-0')?.offset).toBe(1)
    kafka.topics.get('orders')!.addPartition(0).append('first')
    await reading.until(() => reading.has('first'))
    expect(reading.records).toEqual(['orders-1@0 first'])
    expect(kafka.committed.get('orders-1')?.offset).toBe(0)
  })

  it('follows a leader that moves', async test => {
    const kafka = await brokers(test, 2)
    kafka.create('orders', 0)
    kafka.log('orders').append('a')
    const reading = await Reading.start(test, kafka, ['orders'])
    await reading.until(() => reading.has('a'))
    kafka.log('orders').leader = 1
    kafka.log('orders').newEpoch()
    kafka.log('orders').append('b')
    await reading.until(() => reading.has('b'))
    expect(reading.records).toEqual(['orders-0@0 a', 'orders-0@1 b'])
    expect(reading.troubles).toEqual([])
  })
})

describe('one topic does not stop another', () => {
  const ways = [
    { title: 'is deleted', breaks: (kafka: Awaited<ReturnType<typeof brokers>>) => void kafka.topics.delete('broken') },
    {
      title: 'has no leader',
      breaks: (kafka: Awaited<ReturnType<typeof brokers>>) => {
        kafka.log('broken').leader = -1
      },
    },
    {
      title: 'is forbidden',
      breaks: (kafka: Awaited<ReturnType<typeof brokers>>) => {
        kafka.topics.get('broken')!.forbidden = true
      },
    },
  ]

  it.each(ways)('if it $title from the start', async ({ breaks }) => {
    await using test = new Scope()
    const kafka = await brokers(test)
    kafka.create('broken', 0)
    kafka.create('orders', 0)
    kafka.log('orders').append('a')
    breaks(kafka)
    const reading = await Reading.start(test, kafka, ['broken', 'orders'])
    await reading.until(() => reading.has('a'))
    kafka.log('orders').append('b')
    await reading.until(() => reading.has('b'))
    expect(reading.error).toBeUndefined()
  })

  it.each(ways)(
    'if it $title while it is read, also for another member, for which this one is the leader',
    async ({ breaks }) => {
      await using test = new Scope()
      const kafka = await brokers(test)
      kafka.create('broken', 0)
      kafka.create('orders', 0, 0)
      kafka.log('orders').append('a')
      const reading = await Reading.start(test, kafka, ['broken', 'orders'])
      await reading.until(() => reading.has('a'))
      breaks(kafka)
      const other = await Reading.start(test, kafka, ['broken', 'orders'])
      await other.until(() => other.assigned.size > 0)
      for (const partition of [0, 1]) kafka.log('orders', partition).append(`after ${partition}`)
      const both = () => [...reading.records, ...other.records]
      const all = () => ['0', '1'].every(value => both().some(record => record.endsWith(`after ${value}`)))
      await Promise.race([reading.until(all), other.until(all)])
      expect([reading.error, other.error]).toEqual([undefined, undefined])
    },
  )
})
