import { map, pipe, Subject, tap } from 'rxjs'
import { DecodeError, deadLetter, retryTopic, UnroutableFailureError } from 'rxmika'
import { describe, expect } from 'vitest'
import type { Backend } from '../backend'
import { Collected } from '../collected'
import { numbered, scenarios, texts } from '../world'

/** Errors that RxJS rethrows from a timer because nothing handles them. The test handles them, so that the test runner does not fail. */
async function thrownOn(expected: number, play: () => Promise<void>): Promise<unknown[]> {
  const thrown = new Subject<unknown>()
  const caught = new Collected(thrown)
  const others = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  const listen = (error: unknown) => thrown.next(error)
  process.on('uncaughtException', listen)
  try {
    await play()
    await caught.count(expected)
  } finally {
    process.off('uncaughtException', listen)
    for (const other of others) process.on('uncaughtException', other)
  }
  return caught.values
}

export function throwing(backend: Backend): void {
  const scenario = scenarios(backend)

  describe('user code that throws', () => {
    scenario('inside a failure route rebuilds the route: records in it go through it again', async world => {
      const group = world.name('group')
      const names = ['orders', 'retries', 'dlq'].map(name => world.topic(name))
      const [topic, retryTopicName, dlqTopic] = (await Promise.all(names)) as [string, string, string]
      await backend.publish(topic, numbered(0, 6))
      const run = world.client({ group, retryTopic: retryTopicName, dlqTopic })
      let throws = 2
      const seen = new Collected(
        run.client
          .topic(topic, {
            onFail: pipe(
              map(failed => {
                if (String(failed.record.value) === '2' && throws-- > 0) throw new TypeError('a bug in the route')
                return failed
              }),
              retryTopic(run.client, { retries: 1 }),
              deadLetter(run.client),
            ),
          })
          .pipe(tap(record => (record.attempt === 1 ? record.fail('no') : record.ack()))),
      )
      run.client.start()
      await Promise.all([run.committed(topic, 0, 6), run.committed(retryTopicName, 0, 6)])
      expect(seen.values.filter(({ attempt }) => attempt === 1)).toHaveLength(6)
      const second = seen.values.filter(({ attempt }) => attempt === 2)
      // A record whose copy was in flight when the route broke has another copy, at most one for each break.
      for (const value of ['0', '1', '2', '3', '4', '5']) {
        const copies = texts(second).filter(text => text === value).length
        expect(copies).toBeGreaterThanOrEqual(1)
        expect(copies).toBeLessThanOrEqual(3)
      }
      expect(await backend.records(dlqTopic)).toEqual([])
    })

    scenario('at every pass of a record through its failure route holds only that record', async world => {
      const group = world.name('group')
      const [topic, dlqTopic] = await Promise.all([world.topic('orders'), world.topic('dlq')])
      await backend.publish(topic, numbered(0, 4))
      const run = world.client({ group, dlqTopic })
      run.expected = [UnroutableFailureError]
      const bug = new TypeError('a bug in the route')
      run.client
        .topic(topic, {
          onFail: pipe(
            map(failed => {
              if (String(failed.record.value) === '2') throw bug
              return failed
            }),
            deadLetter(run.client),
          ),
        })
        .subscribe(record => record.fail('no'))
      run.client.start()
      const deadLettered = (offset: bigint) => run.event('dead-lettered', event => event.offset === offset)
      await Promise.all([run.errors.count(1), run.committed(topic, 0, 2), deadLettered(3n)])
      // Records in flight may have been copied before the route broke, and are copied again.
      expect([...new Set(texts(await backend.records(dlqTopic)))].sort()).toEqual(['0', '1', '3'])
      expect(run.errors.values).toMatchObject([{ topic, partition: 0, offset: 2n, cause: bug }])
      expect(run.client.stalls()).toMatchObject([{ topic, offset: 2n, why: 'unroutable' }])
      expect(await backend.committed(group, topic, 0)).toBe(2n)
    })

    scenario(
      'in a decoder fails only the record, its bytes intact, and without retries if the decoder throws',
      async world => {
        const group = world.name('group')
        const names = ['orders', 'retries', 'dlq'].map(name => world.topic(name))
        const [topic, retryTopic, dlqTopic] = (await Promise.all(names)) as [string, string, string]
        await backend.publish(topic, numbered(0, 4))
        const run = world.client({ group, retryTopic, dlqTopic })
        const decode = (bytes: Buffer): number | Promise<number> => {
          const number = Number(bytes)
          if (number === 1) throw new RangeError('one')
          return number === 2 ? Promise.reject(new RangeError('two')) : number
        }
        const seen = new Collected(
          run.client.topic(topic, { retries: 3, dlq: true, decode }).pipe(tap(record => record.ack())),
        )
        run.client.start()
        await run.committed(topic, 0, 4)
        expect(seen.values.map(({ value }) => value)).toEqual([0, 3])
        // A throw means invalid bytes. A rejection may have another cause, so the record is retried.
        await run.events.until(events => events.filter(({ type }) => type === 'dead-lettered').length === 2)
        expect(texts(await backend.records(dlqTopic)).sort()).toEqual(['1', '2'])
        expect(texts(await backend.records(retryTopic))).toEqual(['2', '2', '2'])
        const reasons = run.events.values.flatMap(event => (event.type === 'dead-lettered' ? [event.reason] : []))
        expect(reasons.filter(reason => reason instanceof DecodeError)).toHaveLength(1)
      },
    )

    scenario(
      'in listeners to events, errors and the state is rethrown by RxJS, and delivery continues',
      async world => {
        const group = world.name('group')
        const topic = await world.topic('orders')
        await backend.publish(topic, numbered(0, 3))
        const run = world.client({ group })
        run.expected = [UnroutableFailureError]
        const once = (what: string) => {
          let thrown = false
          return () => {
            if (thrown) return
            thrown = true
            throw new TypeError(what)
          }
        }
        const errors = await thrownOn(3, async () => {
          run.client.events.subscribe(once('a bug in a listener to events'))
          run.client.errors.subscribe(once('a bug in a listener to errors'))
          run.client.state.subscribe(once('a bug in a listener to the state'))
          const seen = new Collected(
            run.client.topic(topic).pipe(
              tap(record => {
                if (record.offset === 1n) record.fail('no')
                else record.ack()
              }),
            ),
          )
          run.client.start()
          await Promise.all([seen.count(3), run.errors.count(1), run.committed(topic, 0, 1)])
          await backend.publish(topic, numbered(3, 4))
          await seen.count(4)
        })
        expect(errors.map(error => (error as Error).message).sort()).toEqual([
          'a bug in a listener to errors',
          'a bug in a listener to events',
          'a bug in a listener to the state',
        ])
        expect(run.client.currentState).toBe('running')
        expect(await run.client.close()).toMatchObject({ drained: false, unsettled: 1 })
      },
    )
  })
}
