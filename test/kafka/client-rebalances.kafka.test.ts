import { setTimeout as sleep } from 'node:timers/promises'
import { Kafka, logLevel } from 'kafkajs'
import { Observable, Subject, tap } from 'rxjs'
import { type ClientOptions, type ConsumeRecord, handle } from 'rxmika'
import { afterAll, beforeAll, expect } from 'vitest'
import { Collected } from '../contract/collected'
import { kafkaBackend } from '../contract/kafka-backend'
import { numbered, type Run, scenarios } from '../contract/world'
import { describeKafka, kafkaBrokers } from './describe-kafka'

/** Shorter than the handlers and rebalances of these tests. Brokers do not allow a shorter one. */
const shortSession = { sessionTimeout: 6_000, heartbeatInterval: 200 }

describeKafka('clients of one group on Kafka', () => {
  const backend = kafkaBackend(() => kafkaBrokers)
  const scenario = scenarios(backend)
  beforeAll(() => backend.open())
  afterAll(() => backend.close())

  const placeOf = ({ partition, offset }: ConsumeRecord) => `${partition}@${offset}`
  const held = ({ events }: Run, topic: string): Set<number> => {
    const partitions = new Set<number>()
    for (const event of events.values) {
      if (event.type === 'assigned' && event.topic === topic) partitions.add(event.partition)
      if ((event.type === 'revoked' || event.type === 'lost') && event.topic === topic) {
        partitions.delete(event.partition)
      }
    }
    return partitions
  }
  /** Resolves when the members have this many partitions each. */
  const shared = (runs: readonly Run[], topic: string, counts: readonly number[]) =>
    Promise.race(
      runs.map(run =>
        run.events.until(() => {
          const sizes = runs.map(each => held(each, topic).size).sort((one, other) => one - other)
          return String(sizes) === String(counts)
        }),
      ),
    )

  scenario(
    'loses nothing, redelivers no settled record, and keeps the order of keys while members join and leave',
    async world => {
      const group = world.name('group')
      const [topic, retryTopic] = await Promise.all([world.topic('orders', 6), world.topic('retries', 2)])
      const keys = 24
      const begun = new Map<string, ConsumeRecord>()
      /** By key: the records in progress, and those that are done, in order. */
      const working = new Map<string, string>()
      const done = new Map<string, number[]>()
      const settled: string[] = []
      const wrong: string[] = []

      const member = (options: ClientOptions = {}) => {
        const run = world.client({ group, retryTopic, ...options })
        const outcomes = new Collected(
          run.client.topic(topic, { retries: 1 }).pipe(
            handle(
              async record => {
                const key = String(record.key)
                if (record.attempt === 1 && working.has(key))
                  wrong.push(`${placeOf(record)} beside ${working.get(key)}`)
                if (record.attempt === 1 && begun.has(placeOf(record))) wrong.push(`${placeOf(record)} again`)
                begun.set(placeOf(record), record)
                if (record.attempt === 1) working.set(key, placeOf(record))
                await sleep(Number(record.offset) % 7)
                if (record.attempt > 1) return
                working.delete(key)
                done.set(key, [...(done.get(key) ?? []), Number(record.offset)])
                if (Number(record.offset) % 50 === 7) throw new Error('declined once')
              },
              { order: 'key', concurrency: 32 },
            ),
            tap(({ record, status }) => {
              settled.push(`${placeOf(record)} ${record.attempt}`)
              if (status === 'failed' && record.attempt > 1) wrong.push(`${placeOf(record)} failed again`)
            }),
          ),
        )
        return { run, outcomes }
      }

      let written = 0
      let publishing = true
      const load = (async () => {
        while (publishing) {
          const from = written
          written += 5
          const records = Array.from({ length: 6 }, (_, partition) =>
            numbered(from, written, partition).map(({ value }) => ({
              ...{ value, partition, key: `key-${partition}-${Number(value) % (keys / 6)}` },
            })),
          )
          await backend.publish(topic, records.flat())
          await sleep(5)
        }
      })()

      // Two members at a time. One joins, then the older one leaves, and so on, while records arrive and some fail.
      let staying = member()
      staying.run.client.start()
      await staying.outcomes.count(50)
      for (let round = 0; round < 4; round++) {
        const joining = member()
        joining.run.client.start()
        await shared([staying.run, joining.run], topic, [3, 3])
        await joining.outcomes.count(50)
        expect(await staying.run.client.closeGracefully()).toEqual({ drained: true, unsettled: 0, left: [] })
        await shared([joining.run], topic, [6])
        staying = joining
      }
      publishing = false
      await load
      await Promise.all(Array.from({ length: 6 }, (_, at) => staying.run.committed(topic, at, written)))
      await staying.run.client.closeGracefully()

      const failed = Array.from({ length: written }, (_, at) => at).filter(at => at % 50 === 7)
      const all = Array.from({ length: 6 }, (_, partition) => [
        ...Array.from({ length: written }, (_, at) => `${partition}@${at} 1`),
        ...failed.map(at => `${partition}@${at} 2`),
      ]).flat()
      const firsts = (list: readonly string[]) => list.filter(settlement => settlement.endsWith(' 1')).sort()
      expect(firsts(settled)).toEqual(firsts(all))
      expect(new Set(settled).size).toBe(settled.length)
      expect(wrong).toEqual([])
      for (const offsets of done.values()) expect(offsets).toEqual([...offsets].sort((one, other) => one - other))
      for (let partition = 0; partition < 6; partition++) {
        expect(await backend.committed(group, topic, partition)).toBe(BigInt(written))
      }
    },
  )

  scenario(
    'moves four of twelve partitions to a third member, and keeps the records of the other partitions',
    async world => {
      const group = world.name('group')
      const topic = await world.topic('orders', 12)
      const twelve = Array.from({ length: 12 }, (_, partition) => partition)
      await backend.publish(
        topic,
        twelve.flatMap(partition => numbered(0, 1, partition)),
      )
      const member = () => {
        const run = world.client({ group, rebalanceTimeout: 300, ...shortSession })
        return { run, seen: new Collected(run.client.topic(topic)) }
      }
      const two = [member(), member()]
      for (const { run } of two) run.client.start()
      await shared(
        two.map(({ run }) => run),
        topic,
        [6, 6],
      )
      // Each record is delivered by the owner of its partition, however the two shared the partitions when they joined.
      await Promise.race(
        two.map(({ seen }) =>
          seen.until(() => new Set(two.flatMap(each => each.seen.values.map(placeOf))).size === 12),
        ),
      )

      const third = member()
      third.run.client.start()
      const three = [...two, third]
      await shared(
        three.map(({ run }) => run),
        topic,
        [4, 4, 4],
      )
      const revoked = two.flatMap(({ run }) => run.events.values.filter(({ type }) => type === 'revoked'))
      // Rebalances among the first two members do not count.
      const moved = held(third.run, topic)
      expect(moved.size).toBe(4)
      expect(revoked.length).toBeGreaterThanOrEqual(4)
      await third.seen.count(4)
      for (const { run, seen } of two) {
        const owned = held(run, topic)
        expect([...owned].some(partition => moved.has(partition))).toBe(false)
        for (const partition of owned) {
          const records = seen.values.filter(record => record.partition === partition)
          // Delivered once, still assigned here, and the settlement counts.
          expect(records).toHaveLength(1)
          expect(records[0]!.signal.aborted).toBe(false)
          expect(records[0]!.ack()).toBe(true)
          await run.committed(topic, partition, 1)
        }
      }
    },
  )

  scenario('stays in its group while a handler takes longer than a session, and commits it then', async world => {
    const group = world.name('group')
    const topic = await world.topic('orders')
    await backend.publish(topic, numbered(0, 3))
    const run = world.client({ group, ...shortSession })
    const begun: string[] = []
    run.client
      .topic(topic)
      .pipe(
        handle(async ({ value }) => {
          begun.push(String(value))
          if (String(value) === '0') await sleep(shortSession.sessionTimeout * 1.5)
        }),
      )
      .subscribe()
    run.client.start()
    await run.committed(topic, 0, 3)
    expect(begun).toEqual(['0', '1', '2'])
    expect(run.events.values.filter(({ type }) => type === 'assigned')).toHaveLength(1)
    expect(run.events.values.filter(({ type }) => ['revoked', 'lost'].includes(type))).toEqual([])
  })

  scenario('stays in its group while a rebalance waits longer than a session for a handler', async world => {
    const group = world.name('group')
    const topic = await world.topic('orders', 2)
    await backend.publish(topic, [...numbered(0, 1), ...numbered(0, 1, 1)])
    const options = { group, rebalanceTimeout: 30_000, ...shortSession }
    const run = world.client(options)
    const ended: string[] = []
    const slow = new Collected(
      run.client.topic(topic).pipe(
        handle(
          async record => {
            await sleep(shortSession.sessionTimeout * 1.5)
            ended.push(placeOf(record))
          },
          { order: 'none', concurrency: 2 },
        ),
      ),
    )
    const begun = run.event('assigned')
    run.client.start()
    await begun
    const other = world.client(options)
    const theirs = new Collected(other.client.topic(topic).pipe(tap(record => record.ack())))
    other.client.start()
    await shared([run, other], topic, [1, 1])
    // No partition moved before the work on it was done, and no work was done twice.
    expect(ended.sort()).toEqual(['0@0', '1@0'])
    expect(slow.values.map(({ status }) => status)).toEqual(['acked', 'acked'])
    expect(run.events.values.some(({ type }) => type === 'lost')).toBe(false)
    await backend.publish(topic, [...numbered(1, 2), ...numbered(1, 2, 1)])
    await theirs.count(1)
    expect(theirs.values.map(({ offset }) => offset)).toEqual([1n])
  })

  scenario(
    'cancels running handlers when handle is unsubscribed in a rebalance, and redelivers their records to the next owner',
    async world => {
      const group = world.name('group')
      const topic = await world.topic('orders', 2)
      await backend.publish(topic, [...numbered(0, 1), ...numbered(0, 1, 1)])
      const run = world.client({ group, rebalanceTimeout: 1_000 })
      let cancelled = 0
      const begun = new Subject<string>()
      const calls = new Collected(begun)
      const neverEnding = (record: ConsumeRecord) =>
        new Observable<never>(() => {
          begun.next(placeOf(record))
          return () => cancelled++
        })
      const subscription = run.client
        .topic(topic)
        .pipe(handle(neverEnding, { order: 'none', concurrency: 2 }))
        .subscribe()
      const other = world.client({ group })
      const theirs = new Collected(other.client.topic(topic).pipe(tap(record => record.ack())))
      run.client.start()
      await calls.count(2)
      other.client.start()
      await backend.rebalancing(group)
      subscription.unsubscribe()
      expect(cancelled).toBe(2)
      await shared([run, other], topic, [1, 1])
      await theirs.count(1)
      // Nothing was settled. The other member has the partition that moved, and the one that stayed waits for a subscriber.
      expect(run.client.stalls()).toMatchObject([{ topic, offset: 0n, why: 'no-subscriber' }])
    },
  )

  scenario('shares a group with a plain kafkajs member, and redelivers nothing that was settled', async world => {
    const group = world.name('group')
    const topic = await world.topic('orders', 4)
    const four = [0, 1, 2, 3]
    const settled: string[] = []
    const run = world.client({ group })
    const delivered = new Collected(
      run.client.topic(topic).pipe(
        tap(record => {
          if (record.ack()) settled.push(placeOf(record))
        }),
      ),
    )
    run.client.start()
    await shared([run], topic, [4])
    await backend.publish(
      topic,
      four.flatMap(partition => numbered(0, 5, partition)),
    )
    await delivered.count(20)

    const kafkajsMember = new Kafka({ brokers: kafkaBrokers, logLevel: logLevel.NOTHING }).consumer({
      ...{ groupId: group, heartbeatInterval: 200, maxWaitTimeInMs: 100 },
    })
    let onSettled = () => {}
    await kafkajsMember.connect()
    try {
      await kafkajsMember.subscribe({ topic, fromBeginning: true })
      await kafkajsMember.run({
        autoCommitThreshold: 1,
        eachMessage: async ({ partition, message }) => {
          settled.push(`${partition}@${message.offset}`)
          onSettled()
        },
      })
      await shared([run], topic, [2])
      await backend.publish(
        topic,
        four.flatMap(partition => numbered(5, 10, partition)),
      )
      await Promise.race([
        new Promise<void>(resolve => {
          onSettled = () => settled.length >= 40 && resolve()
          onSettled()
        }),
        delivered.until(() => settled.length >= 40),
      ])
    } finally {
      await kafkajsMember.disconnect()
    }
    await shared([run], topic, [4])
    await backend.publish(
      topic,
      four.flatMap(partition => numbered(10, 11, partition)),
    )
    await delivered.until(() => settled.length >= 44)
    expect([...settled].sort()).toEqual(four.flatMap(p => numbered(0, 11).map(({ value }) => `${p}@${value}`)).sort())
  })
})
