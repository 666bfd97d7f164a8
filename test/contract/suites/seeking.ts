import { Subject, tap, throwError } from 'rxjs'
import {
  type AssignedPartition,
  type ClientEvent,
  ConfigurationError,
  type ConsumeRecord,
  FetchError,
  type KeptPosition,
  TopicNotRegisteredError,
} from 'rxmika'
import { describe, expect } from 'vitest'
import type { Backend } from '../backend'
import { Collected } from '../collected'
import { numbered, scenarios, texts } from '../world'

type CommittedEvent = Extract<ClientEvent, { type: 'committed' }>

/** `client.seek`, and the option `positions`. */
export function seeking(backend: Backend): void {
  const scenario = scenarios(backend)

  describe('seek', () => {
    scenario('moves the position back, commits it there, and delivers again from it', async world => {
      const topic = await world.topic('orders')
      const group = world.name('group')
      await backend.publish(topic, numbered(0, 10))
      const run = world.client({ group })
      const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
      run.client.start()
      await run.committed(topic, 0, 10)
      expect(await run.client.seek(topic, { offset: 4n })).toEqual([{ topic, partition: 0, offset: 4n }])
      await run.event('moved', event => event.from === 10n && event.offset === 4n)
      await seen.count(16)
      expect(texts(seen).slice(10)).toEqual(['4', '5', '6', '7', '8', '9'])
      const lowered = run.events.values.flatMap(event => (event.type === 'committed' ? [event.offset] : []))
      expect(lowered).toContain(4n)
      await run.event('committed', ({ offset }) => offset === 10n && seen.values.length === 16)
      await run.client.closeGracefully()
      expect(await backend.committed(group, topic, 0)).toBe(10n)
    })

    scenario('commits the new position of the group even if nothing is delivered from there', async world => {
      const topic = await world.topic('orders')
      const group = world.name('group')
      await backend.publish(topic, numbered(0, 10))
      const run = world.client({ group })
      const subscription = run.client.topic(topic).subscribe(record => record.ack())
      run.client.start()
      await run.committed(topic, 0, 10)
      subscription.unsubscribe()
      await run.client.seek(topic, 'earliest')
      expect(await backend.committed(group, topic, 0)).toBe(0n)
      await run.client.seek(topic, { offset: 7n })
      expect(await backend.committed(group, topic, 0)).toBe(7n)
      await run.client.seek(topic, 'latest')
      expect(await backend.committed(group, topic, 0)).toBe(10n)
      await run.client.seek(topic, { offset: 3n })
      await run.client.close()
      const next = world.client({ group })
      const seen = new Collected(next.client.topic(topic).pipe(tap(record => record.ack())))
      next.client.start()
      await next.committed(topic, 0, 10)
      expect(texts(seen)).toEqual(numbered(3, 10).map(({ value }) => value))
    })

    scenario('releases records in flight: their signals abort, and settling them has no effect', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 3))
      const run = world.client({ group: world.name('group') })
      const seen: ConsumeRecord[] = []
      const came = new Subject<void>()
      const delivered = new Collected(came)
      run.client.topic(topic).subscribe(record => {
        seen.push(record)
        came.next()
      })
      run.client.start()
      await delivered.count(3)
      const [first, second] = seen
      expect(second!.ack()).toBe(true)
      const signal = first!.signal
      await run.client.seek(topic, { offset: 1n })
      expect(signal.aborted).toBe(true)
      expect((signal.reason as Error).message).toBe(`${topic}-0 was moved by seek`)
      expect([first!.ack(), first!.fail('no')]).toEqual([false, false])
      await delivered.count(5)
      expect(texts(seen).slice(3)).toEqual(['1', '2'])
      for (const record of seen.slice(3)) expect(record.ack()).toBe(true)
      await run.committed(topic, 0, 3)
    })

    scenario('moves by time, a single partition, and forward over records that are not delivered yet', async world => {
      const topic = await world.topic('orders', 2)
      const old = 1_600_000_000_000
      const at = (ms: number, partition: number) => ({ value: String(ms), timestamp: old + ms, partition })
      await backend.publish(topic, [...[10, 20, 30].map(ms => at(ms, 0)), ...[10, 20].map(ms => at(ms, 1))])
      const run = world.client({ group: world.name('group') })
      const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
      run.client.start()
      await Promise.all([run.committed(topic, 0, 3), run.committed(topic, 1, 2)])
      expect(await run.client.seek(topic, new Date(old + 15))).toEqual([
        { topic, partition: 0, offset: 1n },
        { topic, partition: 1, offset: 1n },
      ])
      await seen.count(8)
      expect(texts(seen).slice(5).sort()).toEqual(['20', '20', '30'])
      expect(await run.client.seek(topic, { partition: 1, offset: 0n })).toEqual([{ topic, partition: 1, offset: 0n }])
      await seen.count(10)
      expect(texts(seen).slice(8)).toEqual(['10', '20'])
      // This member does not own the partition. Its owner moves it.
      expect(await run.client.seek(topic, { partition: 7, offset: 0n })).toEqual([])
      expect(await run.client.seek(topic, new Date(old + 99))).toMatchObject([{ offset: 3n }, { offset: 2n }])
    })

    scenario('moves all topics of a pattern or an array, or one of them, and no others', async world => {
      const names = await Promise.all(['many-a', 'many-b', 'list-a', 'list-b', 'alone'].map(name => world.topic(name)))
      const [manyA, manyB, listA, listB, alone] = names as [string, string, string, string, string]
      const pattern = new RegExp(`^(${manyA}|${manyB})$`)
      const list = [listA, listB]
      await Promise.all(names.map(name => backend.publish(name, numbered(0, 3))))
      const group = world.name('group')
      const run = world.client({ group })
      for (const what of [pattern, list, alone]) run.client.topic(what).subscribe(record => record.ack())
      run.client.start()
      await Promise.all(names.map(name => run.committed(name, 0, 3)))
      const moved = async (...call: Parameters<typeof run.client.seek>) =>
        (await run.client.seek(...call)).map(({ topic, offset }) => [topic, offset])
      expect(await moved(pattern, { offset: 1n })).toEqual([
        [manyA, 1n],
        [manyB, 1n],
      ])
      expect(await moved(list, 'earliest')).toEqual([
        [listA, 0n],
        [listB, 0n],
      ])
      expect(await moved(manyB, { offset: 2n })).toEqual([[manyB, 2n]])
      const told = run.events.values.flatMap(event => (event.type === 'moved' ? [event.topic] : []))
      expect(told.sort()).toEqual([manyA, manyB, listA, listB, manyB].sort())
      // All of it is delivered and committed again.
      const last = (events: readonly ClientEvent[], name: string) =>
        events.findLast(event => event.type === 'committed' && event.topic === name)
      await run.events.until(events => names.every(name => (last(events, name) as CommittedEvent).offset === 3n))
      await run.client.closeGracefully()
      expect(await Promise.all(names.map(name => backend.committed(group, name, 0)))).toEqual([3n, 3n, 3n, 3n, 3n])
    })

    scenario('applies the last of several calls', async world => {
      const topic = await world.topic('orders')
      const group = world.name('group')
      await backend.publish(topic, numbered(0, 10))
      const run = world.client({ group })
      const subscription = run.client.topic(topic).subscribe(record => record.ack())
      run.client.start()
      await run.committed(topic, 0, 10)
      subscription.unsubscribe()
      const calls = await Promise.allSettled([2n, 8n, 5n].map(offset => run.client.seek(topic, { offset })))
      expect(calls.at(-1)).toEqual({ status: 'fulfilled', value: [{ topic, partition: 0, offset: 5n }] })
      expect(await backend.committed(group, topic, 0)).toBe(5n)
      const { CommitError } = await import('rxmika')
      run.expected = [CommitError]
    })

    scenario('moves without a group, and commits nothing', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 3))
      const run = world.client()
      const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
      run.client.start()
      await seen.count(3)
      expect(await run.client.seek(topic, { offset: 1n })).toEqual([{ topic, partition: 0, offset: 1n }])
      await seen.count(5)
      expect(texts(seen).slice(3)).toEqual(['1', '2'])
      expect(run.events.values.filter(({ type }) => type === 'committed')).toEqual([])
    })

    scenario('reports an offset that is not in the log, and goes on by startFrom', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 3))
      const run = world.client({ group: world.name('group'), startFrom: 'earliest' })
      run.expected = [FetchError]
      const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
      run.client.start()
      await run.committed(topic, 0, 3)
      expect(await run.client.seek(topic, { offset: 99n })).toEqual([{ topic, partition: 0, offset: 0n }])
      expect(run.errors.values).toMatchObject([{ code: 'RXMIKA_FETCH', topic, partition: 0, offset: 99n }])
      expect(run.errors.values[0]!.message).toMatch(/is out of range.*on at 0/)
      await seen.count(6)
      expect(texts(seen).slice(3)).toEqual(['0', '1', '2'])
    })

    scenario('does not affect retries, and redelivered records can fail again', async world => {
      const [topic, retryTopic] = [await world.topic('orders'), await world.topic('retries')]
      await backend.publish(topic, numbered(0, 2))
      const run = world.client({ group: world.name('group'), retryTopic })
      const seen = new Collected(
        run.client
          .topic(topic, { retries: 1 })
          .pipe(tap(record => (record.source.kind === 'topic' ? record.fail('no') : record.ack()))),
      )
      run.client.start()
      await Promise.all([run.committed(topic, 0, 2), run.committed(retryTopic, 0, 2)])
      await run.client.seek(topic, { offset: 1n })
      await run.committed(retryTopic, 0, 3)
      expect(seen.values.map(({ source, value }) => `${source.kind} ${value}`).sort()).toEqual(
        ['topic 0', 'topic 1', 'topic 1', 'retry 0', 'retry 1', 'retry 1'].sort(),
      )
    })

    scenario('refuses invalid calls at once', async world => {
      const topic = await world.topic('orders')
      const run = world.client({ group: world.name('group') })
      run.client.topic(topic).subscribe(record => record.ack())
      expect(() => run.client.seek(topic, 'earliest')).toThrow(ConfigurationError)
      expect(() => run.client.seek(topic, 'earliest')).toThrow('seek: the client is not running (it is idle)')
      await run.start()
      expect(() => run.client.seek('others', 'earliest')).toThrow(TopicNotRegisteredError)
      const wrong = (to: unknown) => () => run.client.seek(topic, to as never)
      expect(wrong('newest')).toThrow("seek: to must be 'earliest', 'latest', a valid Date or { partition?, offset }")
      expect(wrong({ offset: 5 })).toThrow('seek: offset must be a bigint ≥ 0 (got 5)')
      expect(wrong({ offset: -1n })).toThrow('(got -1n)')
      expect(wrong({ partition: -1, offset: 1n })).toThrow('seek: partition must be an integer')
      expect(wrong({ ofset: 1n })).toThrow("seek: unknown option 'ofset'; did you mean 'offset'?")
      expect(wrong(new Date(Number.NaN))).toThrow('(got Invalid Date)')
      await run.client.close()
      expect(() => run.client.seek(topic, 'earliest')).toThrow('seek: the client is not running (it is closed)')
    })
  })

  describe('positions', () => {
    scenario(
      'decides where reading begins; partitions for which it returns no position begin as without the option',
      async world => {
        const topic = await world.topic('orders', 3)
        const group = world.name('group')
        await backend.publish(topic, [...numbered(0, 5), ...numbered(0, 5, 1), ...numbered(0, 5, 2)])
        const asked: AssignedPartition[][] = []
        const positions = (assigned: readonly AssignedPartition[]): KeptPosition[] => {
          asked.push([...assigned])
          return [
            { topic, partition: 0, offset: 3n },
            { topic, partition: 2, offset: 5n },
            { topic: 'others', partition: 0, offset: 1n },
          ]
        }
        const run = world.client({ group, positions })
        const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
        run.client.start()
        await Promise.all([0, 1, 2].map(partition => run.committed(topic, partition, 5)))
        expect(asked.map(list => list.map(({ partition }) => partition).sort())).toEqual([[0, 1, 2]])
        expect(asked[0]!.every(each => each.topic === topic)).toBe(true)
        const of = (partition: number) => texts(seen.values.filter(record => record.partition === partition))
        expect([of(0), of(1), of(2)]).toEqual([['3', '4'], ['0', '1', '2', '3', '4'], []])
        expect(await backend.committed(group, topic, 2)).toBe(5n)
      },
    )

    scenario("can begin below the group's position, which is not lowered by that", async world => {
      const topic = await world.topic('orders')
      const group = world.name('group')
      await backend.publish(topic, numbered(0, 6))
      const first = world.client({ group })
      first.client.topic(topic).subscribe(record => Number(record.value) < 4 && record.ack())
      first.client.start()
      await first.committed(topic, 0, 4)
      await first.client.close()

      const run = world.client({ group, positions: async () => [{ topic, partition: 0, offset: 1n }] })
      const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
      run.client.start()
      await run.committed(topic, 0, 6)
      expect(texts(seen)).toEqual(['1', '2', '3', '4', '5'])
      const offsets = run.events.values.flatMap(event => (event.type === 'committed' ? [event.offset] : []))
      expect(offsets.filter(offset => offset < 4n)).toEqual([])
      expect(await run.client.closeGracefully()).toEqual({ drained: true, unsettled: 0, left: [] })
    })

    scenario('delays its partitions while it fails, reports that, and is called again', async world => {
      const topic = await world.topic('orders', 2)
      await backend.publish(topic, [...numbered(0, 3), ...numbered(3, 6, 1)])
      let calls = 0
      const answers = [
        () => {
          throw new Error('no connection')
        },
        () => Promise.reject(new Error('no table')),
        () => throwError(() => new Error('no rows')),
        () => [{ topic, partition: 0, offset: 1 }],
        () => 'none',
        () => [],
        () => Promise.resolve([{ topic, partition: 1, offset: 1n }]),
      ]
      const run = world.client({ group: world.name('group'), positions: () => answers[calls++]!() as never })
      run.expected = [FetchError]
      const seen = new Collected(run.client.topic(topic).pipe(tap(record => record.ack())))
      await run.start()
      await run.errors.count(5)
      expect(seen.values).toEqual([])
      await run.committed(topic, 1, 3)
      expect(calls).toBe(6)
      const messages = run.errors.values.map(({ message }) => message)
      for (const [at, why] of ['no connection', 'no table', 'no rows', 'an entry of its list', 'not an'].entries()) {
        if (at < 4) expect(messages[at]).toContain(why)
        expect(messages[at]).toContain(`the start position of ${topic}-0, ${topic}-1 is not known: positions failed:`)
      }
      expect(run.errors.values[0]).toMatchObject({ code: 'RXMIKA_FETCH', topic, cause: { message: 'no connection' } })
    })

    scenario('is called with newly assigned partitions, by topic names without the suffix', async world => {
      const suffix = `-${world.name('suffix')}`
      await backend.createTopic(`orders${suffix}`, 4)
      await backend.publish(
        `orders${suffix}`,
        [0, 1, 2, 3].flatMap(partition => numbered(0, 2, partition)),
      )
      const group = 'billing'
      const member = () => {
        const asked: string[][] = []
        const positions = (assigned: readonly AssignedPartition[]) => {
          asked.push(assigned.map(({ topic, partition }) => `${topic}-${partition}`))
          return assigned.map(place => ({ ...place, offset: 1n }))
        }
        const run = world.client({ group, suffix, positions })
        const seen = new Collected(run.client.topic('orders').pipe(tap(record => record.ack())))
        return { run, asked, seen }
      }
      const first = member()
      first.run.client.start()
      await first.seen.count(4)
      expect(first.asked.flat().sort()).toEqual(['orders-0', 'orders-1', 'orders-2', 'orders-3'])
      const second = member()
      second.run.client.start()
      await second.run.event('assigned')
      // Retained partitions continue where they were. `positions` is called for new ones only.
      expect(first.asked).toHaveLength(1)
      const theirs = second.asked.flat()
      expect(theirs.length).toBeGreaterThan(0)
      await second.seen.count(theirs.length)
      expect(texts(second.seen.values)).toEqual(theirs.map(() => '1'))
      await second.run.client.closeGracefully()
      await first.run.event('assigned', () => first.asked.length === 2)
      expect(first.asked[1]!.sort()).toEqual(theirs.sort())
    })

    scenario('does not prevent unsubscribing or closing while it does not answer', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 2))
      const unsubscribed = new Subject<void>()
      const gone = new Collected(unsubscribed)
      const positions = () => ({
        subscribe: () => ({ unsubscribe: () => unsubscribed.next() }),
        [Symbol.observable ?? '@@observable']() {
          return this
        },
      })
      const run = world.client({ group: world.name('group'), positions: positions as never, stallAfter: 50 })
      run.expected = [FetchError]
      run.client.topic(topic).subscribe(() => expect.unreachable())
      await run.start()
      const [silent] = await run.errors.count(1)
      expect(silent!.message).toContain('positions has not answered for 50 ms')
      await run.client.closeGracefully()
      await gone.count(1)
    })

    scenario('refuses values that are not functions', async world => {
      expect(() => world.client({ positions: [] as never })).toThrow(
        'positions must be a function from partitions to their positions',
      )
    })
  })
}
