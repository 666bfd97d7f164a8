import { lastValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'
import type { FakeKafka } from '../../fake-broker/fake-kafka'
import { brokers, Reading } from '../../fake-broker/reading'
import { Scope } from '../../fake-broker/scope'

interface Way {
  readonly title: string
  readonly why: RegExp
  breaks(kafka: FakeKafka): void
  mends(kafka: FakeKafka): void
}

const ways: readonly Way[] = [
  {
    title: 'is deleted',
    why: /topic 'broken' is gone/,
    breaks: kafka => void kafka.topics.delete('broken'),
    mends: kafka => void kafka.create('broken', 0, 0),
  },
  {
    title: 'may not be described any more',
    why: /may not read topic 'broken'.*READ/,
    breaks: kafka => {
      kafka.topics.get('broken')!.forbidden = true
    },
    mends: kafka => {
      kafka.topics.get('broken')!.forbidden = false
    },
  },
  {
    title: 'may be described, but not read any more',
    why: /may not read topic 'broken'.*READ/,
    breaks: kafka => {
      kafka.topics.get('broken')!.unreadable = true
    },
    mends: kafka => {
      kafka.topics.get('broken')!.unreadable = false
    },
  },
]

const unreadable = (reading: Reading) => reading.events.filter(event => event.type === 'unreadable')

/** Appends to both partitions, so that the value is at the end of a log whichever partition is read. */
function append(kafka: FakeKafka, topic: string, value: string): void {
  for (const partition of [0, 1]) kafka.log(topic, partition).append(`${value}${partition}`)
}

describe.concurrent('a topic that cannot be read any more', () => {
  for (const groupProtocol of ['classic', 'consumer', undefined] as const) {
    it.each(ways)(
      `is reported once by its name, delays no other, and is read again, if it $title (${groupProtocol ?? 'no group'})`,
      async ({ why, breaks, mends }) => {
        await using test = new Scope()
        const kafka = await brokers(test)
        for (const topic of ['broken', 'orders']) {
          kafka.create(topic, 0, 0)
          append(kafka, topic, `${topic} first `)
        }
        const group = groupProtocol === undefined ? { group: undefined } : { groupProtocol }
        const request = { ...group, metadataMaxAge: 300 }
        const reading = await Reading.start(test, kafka, ['broken', 'orders'], request)
        await reading.until(() =>
          ['broken', 'orders'].every(topic => reading.has(`${topic} first 0`, `${topic} first 1`)),
        )
        breaks(kafka)
        // Both are in one request. The refusal of one must not affect the other.
        const places = [...reading.assigned.keys()]
        const commits = Promise.allSettled(groupProtocol === undefined ? [] : [reading.commitAll(places, 1)])
        append(kafka, 'orders', 'orders meanwhile ')
        await reading.until(() => reading.has('orders meanwhile 0', 'orders meanwhile 1'))
        await reading.until(() => unreadable(reading).length > 0)
        expect(unreadable(reading)).toMatchObject([
          { topic: 'broken', error: { code: 'RXMIKA_FETCH', topic: 'broken' } },
        ])
        expect(unreadable(reading)[0]!.error.message).toMatch(why)
        await commits
        if (groupProtocol !== undefined) {
          await reading.commitAll(['orders-0', 'orders-1'], 2)
          for (const partition of [0, 1]) expect(kafka.committed.get(`orders-${partition}`)?.offset).toBe(2)
        }

        mends(kafka)
        append(kafka, 'broken', 'broken again ')
        await reading.until(() => reading.has('broken again 0', 'broken again 1'))
        append(kafka, 'orders', 'orders after ')
        await reading.until(() => reading.has('orders after 0', 'orders after 1'))
        expect(unreadable(reading)).toHaveLength(1)
        expect(reading.error).toBeUndefined()
        // No record of the other topic was read twice, and its reading was not interrupted.
        const orders = reading.records.filter(record => record.startsWith('orders'))
        expect(new Set(orders).size).toBe(orders.length)
        expect([...reading.assigned.keys()].sort()).toEqual(['broken-0', 'broken-1', 'orders-0', 'orders-1'])
      },
    )
  }
})

describe.concurrent('a topic that is forbidden from the start', () => {
  for (const groupProtocol of ['classic', 'consumer', undefined] as const) {
    it(`ends reading with an error at the start (${groupProtocol ?? 'no group'})`, async () => {
      await using test = new Scope()
      const kafka = await brokers(test)
      kafka.create('orders', 0)
      kafka.create('broken', 0).unreadable = true
      const group = groupProtocol === undefined ? { group: undefined } : { groupProtocol }
      const reading = await Reading.start(test, kafka, ['orders', 'broken'], group)
      await reading.until(() => reading.error !== undefined)
      expect(reading.error).toMatchObject({ code: 'RXMIKA_FETCH', topic: 'broken' })
      expect(unreadable(reading)).toEqual([])
    })
  }

  it('is reported as an error of that topic if it occurs in a later rebalance', async () => {
    await using test = new Scope()
    const kafka = await brokers(test)
    kafka.create('orders', 0, 0)
    kafka.create('broken', 0, 0)
    const all = ['orders', 'broken']
    const first = await Reading.start(test, kafka, all)
    await first.until(() => first.assigned.size === 4)
    const second = await Reading.start(test, kafka, all)
    await second.until(() => second.assigned.size === 2)
    // Once a member has read, it is not starting any more.
    for (const topic of all) append(kafka, topic, `${topic} first `)
    const isRead = (name: string) => second.records.some(record => record.startsWith(`${name}@`))
    await second.until(() => [...second.assigned.keys()].every(isRead))
    const readers = [first, second].filter(({ assigned }) => assigned.has('broken-0') || assigned.has('broken-1'))
    kafka.topics.get('broken')!.unreadable = true
    for (const topic of all) append(kafka, topic, 'later ')
    await Promise.all(readers.map(each => each.until(() => unreadable(each).length === 1)))
    await lastValueFrom(first.driver.leave(), { defaultValue: undefined })
    await second.until(() => second.has('later 0', 'later 1') && unreadable(second).length > 0)
    await second.until(() => [...second.assigned.keys()].sort().join() === 'orders-0,orders-1')
    expect(second.error).toBeUndefined()
    expect(unreadable(second)).toHaveLength(1)
  })
})

describe.concurrent('a partition without a leader', () => {
  it.each([{ from: 'the first' }, { from: 'while it is read' }])(
    'is reported once by its name, and read when it has one, if it has none from $from on',
    async ({ from }) => {
      await using test = new Scope()
      const kafka = await brokers(test)
      kafka.create('orders', 0, 0)
      append(kafka, 'orders', 'first ')
      if (from === 'the first') kafka.log('orders').leader = -1
      const reading = await Reading.start(test, kafka, ['orders'])
      await reading.until(() => reading.has('first 1'))
      kafka.log('orders').leader = -1
      kafka.next('Fetch', { ending: 'cut' })
      await reading.until(() => reading.troubles.length > 0)
      append(kafka, 'orders', 'meanwhile ')
      await reading.until(() => reading.has('meanwhile 1'))
      kafka.log('orders').leader = 0
      await reading.until(() => reading.has('first 0', 'meanwhile 0'))
      expect(reading.troubles).toMatchObject([{ code: 'RXMIKA_FETCH', topic: 'orders', partition: 0 }])
      expect(reading.troubles[0]!.message).toMatch('orders-0 has no leader')
    },
  )
})
