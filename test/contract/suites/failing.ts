import { filter, lastValueFrom, map, pipe, tap } from 'rxjs'
import {
  type ConsumeRecord,
  deadLetter,
  type Failed,
  fixed,
  RecordWithoutConsumerError,
  UnroutableFailureError,
} from 'rxmika'
import { describe, expect } from 'vitest'
import type { Backend, StoredRecord } from '../backend'
import { Collected } from '../collected'
import { numbered, scenarios, texts, type World } from '../world'

export function failing(backend: Backend): void {
  const scenario = scenarios(backend)

  /** A group with the topics of its failures. */
  async function configured(world: World) {
    const [retryTopic, dlqTopic] = await Promise.all([world.topic('retries'), world.topic('dlq')])
    return { group: world.name('group'), retryTopic, dlqTopic }
  }

  describe('failing', () => {
    scenario('holds a record at which its route breaks, and routes it again when the topic is resumed', async world => {
      const options = await configured(world)
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 6))
      const run = world.client(options)
      run.expected = [UnroutableFailureError]
      let isDown = true
      const down = map((failed: Failed) => {
        if (isDown && String(failed.record.value) === '2') throw new Error('a step of the user’s own is down')
        return failed
      })
      run.client
        .topic(topic, { onFail: pipe(down, deadLetter(run.client)) })
        .subscribe(record => (Number(String(record.value)) % 2 === 0 ? record.fail(new Error('even')) : record.ack()))
      run.client.start()
      await run.errors.count(1)
      await run.committed(topic, 0, 2)
      expect(run.client.stalls()).toMatchObject([{ topic, offset: 2n, why: 'unroutable' }])
      isDown = false
      run.client.resume(topic)
      await run.committed(topic, 0, 6)
      expect(run.client.stalls()).toEqual([])
      const dead = (await backend.records(options.dlqTopic)).map(({ value }) => String(value))
      expect(dead.sort()).toEqual(['0', '2', '4'])
    })

    scenario('retries a record through the retry topic until it is acked', async world => {
      const options = await configured(world)
      const topic = await world.topic('orders', 2)
      await backend.publish(topic, [{ key: 'k', value: 'a', partition: 1, timestamp: 1_700_000_000_123 }])
      const run = world.client(options)
      const seen = new Collected(
        run.client
          .topic(topic, { retries: 2 })
          .pipe(tap(record => (record.attempt < 3 ? record.fail(new Error('not yet')) : record.ack()))),
      )
      run.client.start()
      await Promise.all([run.committed(topic, 1, 1), run.committed(options.retryTopic, 0, 2)])

      const original = { topic, partition: 1, offset: 0n, timestamp: 1_700_000_000_123 }
      expect(seen.values.map(({ attempt, source }) => [attempt, source.kind, source.offset])).toEqual([
        [1, 'topic', 0n],
        [2, 'retry', 0n],
        [3, 'retry', 1n],
      ])
      for (const record of seen.values) expect(record).toMatchObject(original)
      expect(run.events.values.filter(({ type }) => type === 'retried')).toEqual([
        expect.objectContaining({ topic, partition: 1, offset: 0n, attempt: 1 }),
        expect.objectContaining({ topic: options.retryTopic, offset: 0n, attempt: 2 }),
      ])
      expect(await backend.committed(options.group, topic, 1)).toBe(1n)
      expect(await backend.committed(options.group, options.retryTopic, 0)).toBe(2n)
    })

    scenario('dead-letters a failed record, and delivers it to its stream again in a replay', async world => {
      const options = await configured(world)
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 2))
      const run = world.client(options)
      const seen = new Collected(
        run.client
          .topic(topic, { dlq: true })
          .pipe(tap(record => (record.source.kind === 'dlq' ? record.ack() : record.fail(new Error('no good'))))),
      )
      run.client.start()
      await run.committed(topic, 0, 2)
      expect(texts(seen)).toEqual(['0', '1'])
      const dead = await backend.records(options.dlqTopic)
      expect(texts(dead)).toEqual(['0', '1'])
      expect(own(dead[0]!, options.group)).toMatchObject({
        org_topic: topic,
        org_partition: '0',
        org_offset: '0',
        retries: '0',
        msg: 'no good',
        disposition: 'exhausted',
      })
      expect((await backend.committed(options.group, options.dlqTopic, 0)) ?? 0n).toBe(0n)

      const progress = await lastValueFrom(run.client.replayDlq())
      expect(progress).toEqual({ delivered: 2, skipped: 0, remaining: 0 })
      expect(texts(seen)).toEqual(['0', '1', '0', '1'])
      expect(seen.values[3]).toMatchObject({ topic, partition: 0, offset: 1n })
      await run.committed(options.dlqTopic, 0, 2)
      expect(await backend.committed(options.group, options.dlqTopic, 0)).toBe(2n)
    })

    scenario('dead-letters a record when its retries are used up, and a replay gives it no new ones', async world => {
      const options = await configured(world)
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 1))
      const run = world.client(options)
      let works = false
      const seen = new Collected(
        run.client.topic(topic, { retries: 1, dlq: true }).pipe(tap(record => (works ? record.ack() : record.fail()))),
      )
      run.client.start()
      await run.committed(options.retryTopic, 0, 1)
      const kinds = () => seen.values.map(({ source, attempt }) => `${source.kind} ${attempt}`)
      expect(kinds()).toEqual(['topic 1', 'retry 2'])

      // It fails once more, and the replay does not chase the copy that it wrote itself.
      expect(await lastValueFrom(run.client.replayDlq())).toEqual({ delivered: 1, skipped: 0, remaining: 0 })
      expect(kinds()).toEqual(['topic 1', 'retry 2', 'dlq 2'])
      expect((await backend.records(options.dlqTopic)).map(record => own(record, options.group).retries)).toEqual([
        '1',
        '1',
      ])

      works = true
      expect(await lastValueFrom(run.client.replayDlq())).toEqual({ delivered: 1, skipped: 0, remaining: 0 })
      await run.committed(options.dlqTopic, 0, 2)
      expect(kinds()).toEqual(['topic 1', 'retry 2', 'dlq 2', 'dlq 2'])
      expect(await backend.records(options.retryTopic)).toHaveLength(1)
    })

    scenario('sends a record that must not be retried directly to the DLQ', async world => {
      const options = await configured(world)
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 1))
      const run = world.client(options)
      run.client
        .topic(topic, { retries: 5, dlq: true })
        .subscribe(record => record.fail(new TypeError('bad input'), { retry: false }))
      run.client.start()
      await run.committed(topic, 0, 1)
      expect(await backend.records(options.retryTopic)).toEqual([])
      const [dead] = await backend.records(options.dlqTopic)
      expect(own(dead!, options.group)).toMatchObject({
        disposition: 'not-retryable',
        error_name: 'TypeError',
        msg: 'bad input',
      })
    })

    scenario(
      'with a keyFence, keeps records of a key behind a failed one, and dead-letters them after it',
      async world => {
        const options = await configured(world)
        const topic = await world.topic('orders')
        await backend.publish(
          topic,
          ['a1', 'b1', 'a2', 'b2', 'a3'].map(value => ({ key: value[0]!, value })),
        )
        const run = world.client(options)
        const failures: { readonly [value: string]: number } = { a2: 2, b1: 1 }
        const seen: string[] = []
        run.client
          .topic(topic, {
            ...{ retries: 1, backoff: fixed(20), dlq: true },
            keyFence: { afterDeadLetter: 'dead-letter' },
          })
          .subscribe(record => {
            const value = String(record.value)
            seen.push(value)
            if (record.attempt <= (failures[value] ?? 0)) record.fail(new Error('no'))
            else record.ack()
          })
        run.client.start()
        await run.committed(topic, 0, 5)
        expect(seen.filter(value => value.startsWith('a'))).toEqual(['a1', 'a2', 'a2'])
        expect(seen.filter(value => value.startsWith('b'))).toEqual(['b1', 'b1', 'b2'])
        expect(texts(await backend.records(options.dlqTopic))).toEqual(['a2', 'a3'])
        expect(await backend.records(options.retryTopic)).toEqual([])
        const reasons = run.events.values.flatMap(event => (event.type === 'dead-lettered' ? [event.reason] : []))
        expect(reasons[1]).toMatchObject({ name: 'KeyFenceError', topic, partition: 0, offset: 2n })
      },
    )

    scenario('lets three groups share one retry and one DLQ topic, each seeing its own records alone', async world => {
      const [topic, retryTopic, dlqTopic] = await Promise.all([
        world.topic('orders'),
        world.topic('retries'),
        world.topic('dlq'),
      ])
      await backend.publish(topic, numbered(0, 2))
      const groups = ['a', 'a_b', 'c'].map(name => world.name(name))
      const runs = groups.map(group => world.client({ group, retryTopic, dlqTopic }))
      const seen = runs.map(
        ({ client }) =>
          new Collected(
            client
              .topic(topic, { retries: 1, dlq: true })
              .pipe(tap(record => (record.source.kind === 'dlq' ? record.ack() : record.fail('no')))),
          ),
      )
      for (const { client } of runs) client.start()
      await Promise.all(runs.map(run => run.committed(retryTopic, 0, 6)))
      for (const own of seen) {
        expect(own.values.map(record => `${record.value} ${record.source.kind}`).sort()).toEqual([
          '0 retry',
          '0 topic',
          '1 retry',
          '1 topic',
        ])
      }
      expect(await backend.records(retryTopic)).toHaveLength(6)
      expect(await backend.records(dlqTopic)).toHaveLength(6)
      expect(runs[0]!.events.values.filter(event => event.type === 'skipped')).toHaveLength(4)

      const progress = await Promise.all(runs.map(({ client }) => lastValueFrom(client.replayDlq())))
      for (const one of progress) expect(one).toEqual({ delivered: 2, skipped: 4, remaining: 0 })
      await Promise.all(runs.map(run => run.committed(dlqTopic, 0, 6)))
      for (const [at, group] of groups.entries()) {
        expect(seen[at]!.values.filter(({ source }) => source.kind === 'dlq').map(String)).toHaveLength(2)
        expect(await backend.committed(group, retryTopic, 0)).toBe(6n)
        expect(await backend.committed(group, dlqTopic, 0)).toBe(6n)
      }
    })

    scenario('skips records of unknown groups on a shared topic, and commits past them', async world => {
      const options = await configured(world)
      const topic = await world.topic('orders')
      await backend.publish(options.retryTopic, [{ value: 'stranger' }, ours(world.name('other'), topic, 'foreign')])
      await backend.publish(options.retryTopic, [ours(options.group, topic, 'own')])
      const run = world.client(options)
      const seen = new Collected(run.client.topic(topic, { retries: 1 }).pipe(tap(record => record.ack())))
      run.client.start()
      await run.committed(options.retryTopic, 0, 3)
      expect(texts(seen)).toEqual(['own'])
      expect(seen.values[0]).toMatchObject({ topic, attempt: 3 })
      expect(await backend.committed(options.group, options.retryTopic, 0)).toBe(3n)
    })

    scenario('dead-letters a copy of this group whose topic has no consumer here', async world => {
      const options = await configured(world)
      const topic = await world.topic('orders')
      await backend.publish(options.retryTopic, [ours(options.group, 'nobody-reads-this', 'lost')])
      const run = world.client(options)
      run.client.topic(topic, { retries: 1 }).subscribe()
      run.client.start()
      await run.committed(options.retryTopic, 0, 1)
      const [dead] = await backend.records(options.dlqTopic)
      expect(String(dead!.value)).toBe('lost')
      expect(own(dead!, options.group)).toMatchObject({
        org_topic: 'nobody-reads-this',
        disposition: 'no-consumer',
        retries: '2',
      })
    })

    scenario('holds and reports a copy without a consumer if there is no DLQ', async world => {
      const { dlqTopic: _, ...options } = await configured(world)
      const topic = await world.topic('orders')
      await backend.publish(options.retryTopic, [ours(options.group, 'nobody-reads-this', 'lost')])
      const run = world.client(options)
      run.expected = [UnroutableFailureError]
      run.client.topic(topic, { retries: 1 }).subscribe()
      run.client.start()
      const [error] = await run.errors.count(1)
      expect(error).toMatchObject({ topic: options.retryTopic, partition: 0, offset: 0n })
      expect(error!.cause).toBeInstanceOf(RecordWithoutConsumerError)
      expect(run.client.stalls()).toEqual([
        expect.objectContaining({ topic: options.retryTopic, partition: 0, offset: 0n, why: 'unroutable' }),
      ])
      expect(await run.client.closeGracefully()).toMatchObject({ drained: false, unsettled: 1 })
      expect((await backend.committed(options.group, options.retryTopic, 0)) ?? 0n).toBe(0n)
    })

    scenario('dead-letters a record whose headers are malformed, with its retries at 0', async world => {
      const options = await configured(world)
      const topic = await world.topic('orders')
      const { value, headers } = ours(options.group, topic, 'odd')
      const retries = `mika_err_${options.group}_retries`
      await backend.publish(options.retryTopic, [{ value, headers: { ...headers, [retries]: 'many' } }])
      const run = world.client(options)
      run.client.topic(topic, { retries: 1, dlq: true }).subscribe()
      run.client.start()
      await run.committed(options.retryTopic, 0, 1)
      const [dead] = await backend.records(options.dlqTopic)
      expect(own(dead!, options.group)).toMatchObject({ org_topic: topic, disposition: 'malformed', retries: '0' })
    })

    scenario(
      'holds a failed record that no step takes: the commits of its partition stop, other partitions continue',
      async world => {
        const group = world.name('group')
        const topic = await world.topic('orders', 2)
        await backend.publish(topic, [
          { key: 'k', value: 'bad', partition: 0 },
          ...numbered(0, 3),
          ...numbered(3, 6, 1),
        ])
        const run = world.client({ group })
        run.expected = [UnroutableFailureError]
        const seen = new Collected(
          run.client
            .topic(topic)
            .pipe(tap(record => (String(record.value) === 'bad' ? record.fail(new Error('no way')) : record.ack()))),
        )
        run.client.start()
        await Promise.all([seen.count(7), run.committed(topic, 1, 3)])

        expect(run.errors.values).toHaveLength(1)
        expect(run.errors.values[0]).toMatchObject({ topic, partition: 0, offset: 0n, cause: new Error('no way') })
        expect(run.client.stalls()).toEqual([
          expect.objectContaining({
            ...{ topic, partition: 0, offset: 0n, key: Buffer.from('k'), attempt: 1, why: 'unroutable' },
          }),
        ])
        expect(await run.client.closeGracefully()).toMatchObject({ drained: false, unsettled: 1 })
        expect((await backend.committed(group, topic, 0)) ?? 0n).toBe(0n)
        expect(await backend.committed(group, topic, 1)).toBe(3n)
      },
    )

    scenario('replays the DLQ only while the replay has a subscriber', async world => {
      const options = await configured(world)
      const topic = await world.topic('orders')
      const run = world.client(options)
      const { client } = run
      const records = new Collected(
        client.topic(topic, { dlq: true }).pipe(tap(record => record.source.kind === 'dlq' || record.fail('no'))),
      )
      const replayed = () => records.values.filter(({ source }) => source.kind === 'dlq')
      const fail = async (from: number, to: number) => {
        await backend.publish(topic, numbered(from, to))
        await run.committed(topic, 0, to)
      }
      await run.start()
      await fail(0, 2)
      const first = new Collected(client.replayDlq({ until: 'forever' }))
      await records.until(() => replayed().length === 2)
      await fail(2, 3)
      await records.until(() => replayed().length === 3)
      for (const record of replayed()) record.ack()
      await run.committed(options.dlqTopic, 0, 3)
      expect(first.values.at(-1)).toEqual({ delivered: 3, skipped: 0, remaining: 0 })
      expect(first.end).toBeUndefined()
      first.unsubscribe()

      await fail(3, 5)
      expect(texts(replayed())).toEqual(['0', '1', '2'])
      expect(await backend.committed(options.group, options.dlqTopic, 0)).toBe(3n)

      const second = new Collected(client.replayDlq())
      await records.until(() => replayed().length === 5)
      expect(texts(replayed())).toEqual(['0', '1', '2', '3', '4'])
      expect(second.end).toBeUndefined()
      replayed()[3]!.ack()
      replayed()[4]!.ack()
      await second.ended()
      expect(second.values.at(-1)).toEqual({ delivered: 2, skipped: 0, remaining: 0 })
      await run.committed(options.dlqTopic, 0, 5)
    })

    scenario('finds nothing to replay on an empty DLQ topic', async world => {
      const options = await configured(world)
      const topic = await world.topic('orders')
      const { client } = world.client(options)
      const progress = new Collected(client.replayDlq())
      client.topic(topic, { dlq: true }).subscribe()
      client.start()
      expect(await progress.ended()).toEqual({})
      expect(progress.values.at(-1)).toEqual({ delivered: 0, skipped: 0, remaining: 0 })
    })

    scenario('replays only dead letters whose topic has a subscriber', async world => {
      const options = await configured(world)
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 1))
      const run = world.client(options)
      const orders = run.client.topic(topic, { dlq: true })
      const failing = orders.pipe(filter((record: ConsumeRecord) => record.fail('no'))).subscribe()
      await run.start()
      await run.committed(topic, 0, 1)
      failing.unsubscribe()
      const replay = new Collected(run.client.replayDlq())
      await replay.until(values => values.some(({ delivered }) => delivered === 1))
      expect(run.client.stalls()).toEqual([
        expect.objectContaining({ topic: options.dlqTopic, partition: 0, offset: 0n, why: 'no-subscriber' }),
      ])
      const seen = new Collected(orders.pipe(tap(record => record.ack())))
      expect(await replay.ended()).toEqual({})
      expect(texts(seen)).toEqual(['0'])
    })
  })
}

/** This group's headers on a copy, by their short names. */
function own({ headers }: StoredRecord, group: string): Record<string, string> {
  const prefix = `mika_err_${group}_`
  return Object.fromEntries(
    headers
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, value]) => [name.slice(prefix.length), String(value)]),
  )
}

/** A copy as a Go client writes it. */
function ours(group: string, topic: string, value: string) {
  const headers = {
    [`mika_err_${group}_org_topic`]: topic,
    [`mika_err_${group}_retries`]: '2',
    [`mika_err_${group}_msg`]: 'it failed',
  }
  return { value, headers }
}
