import { lastValueFrom, takeWhile, tap } from 'rxjs'
import type { ConsumeRecord, DlqReplayProgress, HeaderPair } from 'rxmika'
import { describe, expect } from 'vitest'
import type { Backend, StoredRecord } from '../backend'
import { Collected } from '../collected'
import { scenarios, texts, type World } from '../world'

const odd: readonly HeaderPair[] = [
  ['b', Buffer.from('1')],
  ['a', Buffer.from([0xff, 0x00, 0xfe])],
  ['b', null],
  ['constructor', Buffer.from('not a function')],
  ['__proto__', Buffer.alloc(0)],
]

export function replaying(backend: Backend): void {
  const scenario = scenarios(backend)

  /** A group whose DLQ topic has these records of it, numbered, and its client, not started yet. */
  async function withDeadLetters(world: World, count: number, { partitions = 1 } = {}) {
    const [topic, dlqTopic] = await Promise.all([world.topic('orders', partitions), world.topic('dlq', partitions)])
    const group = world.name('group')
    const run = world.client({ group, dlqTopic })
    const dead = (from: number, to: number) =>
      lastValueFrom(
        run.client.publish(
          Array.from({ length: to - from }, (_, at) => ({
            topic: dlqTopic,
            key: Buffer.from([0xff, from + at]),
            value: String(from + at),
            partition: (from + at) % partitions,
            timestamp: 1_700_000_000_000 + from + at,
            headers: [...own(group, topic), ...odd],
          })),
        ),
      )
    if (count > 0) await dead(0, count)
    return { run, group, topic, dlqTopic, dead }
  }

  const acking = (orders: ReturnType<World['client']>['client'], topic: string) =>
    new Collected(orders.topic(topic, { dlq: true }).pipe(tap(record => record.ack())))

  describe('replaying the DLQ topic', () => {
    scenario('delivers at the given rate, and not faster', async world => {
      const { run, topic } = await withDeadLetters(world, 20, { partitions: 2 })
      const at: number[] = []
      const seen = new Collected(
        run.client.topic(topic, { dlq: true }).pipe(
          tap(record => {
            at.push(performance.now())
            record.ack()
          }),
        ),
      )
      run.client.start()
      const progress = new Collected(run.client.replayDlq({ rate: 50 }))
      expect(await progress.ended()).toEqual({})
      expect(progress.values.at(-1)).toEqual({ delivered: 20, skipped: 0, remaining: 0 })
      expect(new Set(texts(seen)).size).toBe(20)
      // Durations are counted in whole ms.
      for (let turn = 1; turn < 20; turn++) expect(at[turn]! - at[0]!).toBeGreaterThanOrEqual(turn * 20 - 2)
    })

    scenario("starts a record at attempt 1 with attempts: 'fresh'", async world => {
      const [topic, dlqTopic, retryTopic] = await Promise.all([
        world.topic('orders'),
        world.topic('dlq'),
        world.topic('retry'),
      ])
      const group = world.name('group')
      const run = world.client({ group, dlqTopic, retryTopic })
      await lastValueFrom(run.client.publish({ topic: dlqTopic, value: 'x', headers: [...own(group, topic), ...odd] }))
      const seen = new Collected(
        run.client.topic(topic, { dlq: true, retries: 2 }).pipe(tap(record => record.fail(new Error('still no')))),
      )
      run.client.start()
      await lastValueFrom(run.client.replayDlq({ attempts: 'fresh' }))
      await run.committed(retryTopic, 0, 2)
      await lastValueFrom(run.client.replayDlq())
      expect(seen.values.map(({ attempt, source }) => [attempt, source.kind])).toEqual([
        [1, 'dlq'],
        [2, 'retry'],
        [3, 'retry'],
        // The dead letter of that record, whose retries are used up.
        [3, 'dlq'],
      ])
      expect(await backend.records(dlqTopic)).toHaveLength(3)
    })

    scenario('writes records that the filter leaves out back byte for byte, for a later replay', async world => {
      const { run, group, topic, dlqTopic } = await withDeadLetters(world, 6, { partitions: 2 })
      const seen = acking(run.client, topic)
      run.client.start()
      const looked: ConsumeRecord[] = []
      const filter = (record: ConsumeRecord) => {
        looked.push(record)
        return Number(record.value) >= 4
      }
      const progress = new Collected(run.client.replayDlq({ filter }))
      expect(await progress.ended()).toEqual({})
      expect(progress.values.at(-1)).toEqual({ delivered: 2, skipped: 4, remaining: 0 })
      expectToAdvance(progress.values)
      expect(texts(seen).sort()).toEqual(['4', '5'])
      for (const record of looked) {
        expect(record).toMatchObject({ topic, attempt: 3, settled: true })
        expect(record.source).toMatchObject({ kind: 'dlq', topic: dlqTopic })
        expect(record.header('constructor')).toEqual(Buffer.from('not a function'))
      }

      // A copy differs in its offset alone.
      const bytes = ({ offset: _, ...record }: StoredRecord) => record
      const stored = await backend.records(dlqTopic)
      expect(stored).toHaveLength(10)
      const back = stored.filter(({ offset }) => offset >= 3n)
      const left = stored.filter(({ offset, value }) => offset < 3n && Number(value) < 4)
      const byTime = (list: StoredRecord[]) => list.map(bytes).sort((a, b) => a.timestamp - b.timestamp)
      expect(byTime(back)).toEqual(byTime(left))

      expect(await lastValueFrom(run.client.replayDlq())).toEqual({ delivered: 4, skipped: 0, remaining: 0 })
      expect(texts(seen).sort()).toEqual(['0', '1', '2', '3', '4', '5'])
      await Promise.all([run.committed(dlqTopic, 0, 5), run.committed(dlqTopic, 1, 5)])
      expect(await backend.committed(group, dlqTopic, 0)).toBe(5n)
    })

    scenario('errors with the error that its filter throws, and loses nothing', async world => {
      const { run, topic, dlqTopic } = await withDeadLetters(world, 5)
      const seen = acking(run.client, topic)
      run.client.start()
      const wrong = new Error('the filter is wrong')
      const filter = ({ value }: ConsumeRecord) => {
        if (String(value) === '2') throw wrong
        return String(value) !== '1'
      }
      for (const expected of [['0'], []]) {
        seen.values.length = 0
        expect(await new Collected(run.client.replayDlq({ filter })).ended()).toEqual({ error: wrong })
        expect(texts(seen)).toEqual(expected)
      }
      // Record 1 was skipped before, and its copy is at the end: beyond the limit of a replay that began before it was written.
      for (let delivered = 0; delivered < 4; ) delivered += (await lastValueFrom(run.client.replayDlq())).delivered
      await run.committed(dlqTopic, 0, 6)
      await seen.count(4)
      expect(texts(seen)).toEqual(['2', '3', '4', '1'])
    })

    scenario('completes although most records of the topic belong to other groups', async world => {
      const { run, group, topic, dlqTopic, dead } = await withDeadLetters(world, 0, { partitions: 3 })
      const others = (count: number) => {
        const headers = own(`${group}_eu`, topic)
        const records = Array.from({ length: count }, (_, at) => ({ value: 'another’s', partition: at % 3, headers }))
        return lastValueFrom(run.client.publish(records.map(record => ({ topic: dlqTopic, ...record }))))
      }
      await others(300)
      await dead(0, 4)
      await others(300)
      await dead(4, 5)
      await others(300)
      const seen = acking(run.client, topic)
      run.client.start()
      const progress = new Collected(run.client.replayDlq({ filter: ({ value }) => String(value) !== '3' }))
      expect(await progress.ended()).toEqual({})
      expect(progress.values.at(-1)).toEqual({ delivered: 4, skipped: 901, remaining: 0 })
      expectToAdvance(progress.values)
      expect(texts(seen).sort()).toEqual(['0', '1', '2', '4'])
    })

    scenario("with until: 'forever', delivers new dead letters until it is unsubscribed", async world => {
      const { run, topic, dlqTopic, dead } = await withDeadLetters(world, 2)
      const seen = acking(run.client, topic)
      run.client.start()
      const replay = new Collected(run.client.replayDlq({ until: 'forever' }))
      await seen.count(2)
      await dead(2, 4)
      await seen.count(4)
      expect(replay.values.at(-1)).toMatchObject({ delivered: 4, skipped: 0 })
      await run.committed(dlqTopic, 0, 4)
      replay.unsubscribe()
      await dead(4, 6)
      const next = await lastValueFrom(run.client.replayDlq())
      expect(next).toEqual({ delivered: 2, skipped: 0, remaining: 0 })
      expect(texts(seen)).toEqual(['0', '1', '2', '3', '4', '5'])
    })

    scenario("with until: 'forever' and a filter, reads each record that it leaves out only once", async world => {
      const { run, topic, dlqTopic, dead } = await withDeadLetters(world, 3)
      const seen = acking(run.client, topic)
      run.client.start()
      const filter = ({ value }: ConsumeRecord) => String(value) !== '1'
      const replay = new Collected(run.client.replayDlq({ until: 'forever', filter }))
      await replay.until(values => values.at(-1)?.skipped === 1 && values.at(-1)?.remaining === 0)
      expect(replay.values.at(-1)).toEqual({ delivered: 2, skipped: 1, remaining: 0 })
      await dead(3, 4)
      await replay.until(values => values.at(-1)?.skipped === 2 && values.at(-1)?.remaining === 0)
      expect(replay.values.at(-1)).toEqual({ delivered: 3, skipped: 2, remaining: 0 })
      replay.unsubscribe()
      expect(texts(seen)).toEqual(['0', '2', '3'])
      // The three originals, and a new copy of the skipped record after each delivery.
      expect(texts(await backend.records(dlqTopic))).toEqual(['0', '1', '2', '1', '3', '1'])
      expect(await lastValueFrom(run.client.replayDlq())).toEqual({ delivered: 1, skipped: 0, remaining: 0 })
      expect(texts(seen)).toEqual(['0', '2', '3', '1'])
    })

    scenario('can be stopped anywhere and started again: each record is delivered once', async world => {
      const { run, topic, dlqTopic } = await withDeadLetters(world, 10)
      const seen = acking(run.client, topic)
      run.client.start()
      let rounds = 0
      for (let last: DlqReplayProgress | undefined; last?.remaining !== 0; rounds++) {
        const stopped = takeWhile<DlqReplayProgress>(({ delivered }) => delivered < 3, true)
        last = await lastValueFrom(run.client.replayDlq().pipe(stopped))
      }
      await run.committed(dlqTopic, 0, 10)
      expect(texts(seen)).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
      expect(rounds).toBeGreaterThan(3)
    })

    scenario('applies its filter also to records that an earlier replay fetched but did not deliver', async world => {
      const { run, topic, dlqTopic } = await withDeadLetters(world, 3)
      const orders = run.client.topic(topic, { dlq: true })
      run.client.start()
      await lastValueFrom(run.client.replayDlq().pipe(takeWhile(({ delivered }) => delivered < 3)))
      const replay = new Collected(run.client.replayDlq({ filter: ({ value }) => String(value) !== '1' }))
      await replay.until(values => values.some(({ skipped }) => skipped === 1))
      const seen = new Collected(orders.pipe(tap(record => record.ack())))
      expect(await replay.ended()).toEqual({})
      expect(replay.values.at(-1)).toEqual({ delivered: 2, skipped: 1, remaining: 0 })
      expect(texts(seen)).toEqual(['0', '2'])
      expect(texts(await backend.records(dlqTopic))).toEqual(['0', '1', '2', '1'])
    })
  })
}

/** Counts that never go back, and a remainder that only shrinks. */
function expectToAdvance(progress: readonly DlqReplayProgress[]): void {
  for (const [at, now] of progress.entries()) {
    const before = progress[at - 1]
    if (before === undefined) continue
    expect(now.delivered).toBeGreaterThanOrEqual(before.delivered)
    expect(now.skipped).toBeGreaterThanOrEqual(before.skipped)
    expect(now.remaining).toBeLessThanOrEqual(before.remaining)
  }
}

function own(group: string, topic: string): HeaderPair[] {
  return [
    [`mika_err_${group}_org_topic`, Buffer.from(topic)],
    [`mika_err_${group}_retries`, Buffer.from('2')],
    [`mika_err_${group}_msg`, Buffer.from('it failed')],
  ]
}
