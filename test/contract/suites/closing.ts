import pino from 'pino'
import { bufferCount, filter, firstValueFrom, race, Subject, take, tap, timer } from 'rxjs'
import { ClientClosedError, type ClientEvent, type ConsumeRecord, handle } from 'rxmika'
import { describe, expect } from 'vitest'
import type { Backend } from '../backend'
import { Collected } from '../collected'
import { numbered, scenarios, texts } from '../world'

export function closing(backend: Backend): void {
  const scenario = scenarios(backend)

  describe('closing', () => {
    scenario('goes through its states in order, and completes everything', async world => {
      const topic = await world.topic('orders')
      const run = world.client({ group: world.name('group') })
      const states = new Collected(run.client.state)
      const orders = new Collected(run.client.topic(topic))
      expect(run.client.currentState).toBe('idle')
      await run.start()
      await run.client.closeGracefully()
      expect(states.values).toEqual(['idle', 'starting', 'running', 'draining', 'closed'])
      expect(run.client.currentState).toBe('closed')
      for (const stream of [states, orders, run.events, run.errors]) expect(stream.end).toEqual({})
      expect(run.events.values.filter(event => event.type === 'state').map(({ state }) => state)).toEqual([
        'starting',
        'running',
        'draining',
        'closed',
      ])
    })

    scenario('waits in a graceful close for delivered records, and delivers no new ones', async world => {
      const group = world.name('group')
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 3))
      const run = world.client({ group })
      const seen = new Collected(run.client.topic(topic))
      run.client.start()
      await seen.count(3)
      const closed = run.client.closeGracefully()
      expect(seen.end).toEqual({})
      await backend.publish(topic, numbered(3, 5))
      for (const at of [2, 0, 1]) expect(seen.values[at]!.ack()).toBe(true)
      expect(await closed).toEqual({ drained: true, unsettled: 0, left: [] })
      expect(texts(seen)).toEqual(['0', '1', '2'])
      expect(await backend.committed(group, topic, 0)).toBe(3n)
    })

    scenario(
      'finishes running handlers in a graceful close, and handles records that wait in `handle`',
      async world => {
        const group = world.name('group')
        const topic = await world.topic('orders')
        await backend.publish(topic, numbered(0, 4))
        const run = world.client({ group })
        const begun = new Subject<void>()
        const goOn = new Subject<void>()
        const handled = new Collected(
          run.client.topic(topic).pipe(
            tap(() => begun.next()),
            handle(() => race(goOn, run.client.state.pipe(filter(state => state === 'draining'))).pipe(take(1))),
          ),
        )
        const calls = new Collected(begun)
        run.client.start()
        await calls.count(4)
        goOn.next()
        await handled.count(1)
        expect(await run.client.closeGracefully()).toEqual({ drained: true, unsettled: 0, left: [] })
        expect(handled.values.map(({ status }) => status)).toEqual(['acked', 'acked', 'acked', 'acked'])
        expect(await backend.committed(group, topic, 0)).toBe(4n)
      },
    )

    scenario('completes the streams first, so that operators release the records they hold back', async world => {
      const group = world.name('group')
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 5))
      const run = world.client({ group })
      let last = () => {}
      const delivered = new Promise<void>(resolve => {
        last = resolve
      })
      run.client
        .topic(topic)
        .pipe(
          tap(record => String(record.value) === '4' && last()),
          bufferCount(3),
        )
        .subscribe(records => {
          for (const record of records) record.ack()
        })
      run.client.start()
      await delivered
      expect(await run.client.closeGracefully()).toEqual({ drained: true, unsettled: 0, left: [] })
      expect(await backend.committed(group, topic, 0)).toBe(5n)
    })

    scenario('waits for the copies of failed records too', async world => {
      const group = world.name('group')
      const [topic, dlqTopic] = await Promise.all([world.topic('orders'), world.topic('dlq')])
      await backend.publish(topic, numbered(0, 3))
      const run = world.client({ group, dlqTopic })
      const seen = new Collected(run.client.topic(topic, { dlq: true }))
      run.client.start()
      await seen.count(3)
      const closed = run.client.closeGracefully()
      for (const record of seen.values) record.fail('no')
      expect(await closed).toEqual({ drained: true, unsettled: 0, left: [] })
      expect(await backend.committed(group, topic, 0)).toBe(3n)
      expect(texts(await backend.records(dlqTopic))).toEqual(['0', '1', '2'])
    })

    for (const [how, options] of [
      ['its time is over', () => ({ timeout: 30 })],
      ['its signal is aborted', () => ({ signal: AbortSignal.timeout(30) })],
    ] as const) {
      scenario(`closes even if ${how}, and reports what is unsettled`, async world => {
        const group = world.name('group')
        const topic = await world.topic('orders')
        await backend.publish(topic, numbered(0, 4))
        const run = world.client({ group })
        const seen = new Collected(run.client.topic(topic))
        run.client.start()
        await seen.count(4)
        const [first, second, third] = seen.values
        const { signal } = second!
        first!.ack()
        third!.ack()
        expect(await run.client.closeGracefully(options())).toMatchObject({ drained: false, unsettled: 2 })
        expect(await backend.committed(group, topic, 0)).toBe(1n)
        expect(signal.aborted).toBe(true)
        expect(second!.ack()).toBe(false)
        expect(await backend.committed(group, topic, 0)).toBe(1n)
      })
    }

    scenario('commits completed records on close(), and reports the rest', async world => {
      const group = world.name('group')
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 4))
      const run = world.client({ group, commitInterval: 60_000 })
      const seen = new Collected(run.client.topic(topic))
      run.client.start()
      await seen.count(4)
      for (const at of [1, 0]) seen.values[at]!.ack()
      expect(await run.client.close()).toMatchObject({ drained: false, unsettled: 2 })
      expect(await backend.committed(group, topic, 0)).toBe(2n)
    })

    scenario('closes once: every call resolves to the same report', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 2))
      const run = world.client({ group: world.name('group') })
      const { client } = run
      const seen = new Collected(client.topic(topic))
      client.start()
      await seen.count(2)
      const calls = [client.closeGracefully(), client.closeGracefully({ timeout: 5 }), client.close(), client.close()]
      const reports = await Promise.all(calls)
      for (const report of reports) expect(report).toMatchObject({ drained: false, unsettled: 2 })
      expect(await client.close()).toEqual(reports[0])
      expect(await client.closeGracefully()).toEqual(reports[0])
      expect(await client.closed).toEqual(reports[0])
      expect(run.events.values.filter(event => event.type === 'state' && event.state === 'draining')).toHaveLength(1)
    })

    scenario('shortens a graceful close by close()', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 2))
      const run = world.client({ group: world.name('group') })
      const seen = new Collected(run.client.topic(topic))
      run.client.start()
      await seen.count(2)
      const graceful = run.client.closeGracefully({ timeout: 600_000 })
      expect(await run.client.close()).toMatchObject({ drained: false, unsettled: 2 })
      expect(await graceful).toMatchObject({ drained: false, unsettled: 2 })
    })

    scenario('closes before it was started, and stays closed', async world => {
      const topic = await world.topic('orders')
      const run = world.client({ group: world.name('group') })
      const orders = new Collected(run.client.topic(topic))
      expect(await run.client.close()).toEqual({ drained: true, unsettled: 0, left: [] })
      expect(await orders.ended()).toEqual({})
      const errors = new Collected(run.client.start())
      expect(await errors.ended()).toEqual({})
      expect(run.client.currentState).toBe('closed')
    })

    for (const [when, delay] of [
      ['right after start()', undefined],
      ['a moment after start()', 0],
      ['while it connects', 10],
      ['while it joins', 30],
      ['about when it is running', 60],
    ] as const) {
      scenario(`closes ${when}, and releases its partitions to other members at once`, async world => {
        const group = world.name('group')
        const topic = await world.topic('orders')
        await backend.publish(topic, numbered(0, 3))
        const run = world.client({ group })
        const early = new Collected(run.client.topic(topic))
        run.client.start()
        if (delay !== undefined) await new Promise(resolve => setTimeout(resolve, delay))
        const { unsettled } = await run.client.close()
        expect(unsettled).toBe(early.values.length)
        expect(early.end).toEqual({})

        const next = world.client({ group })
        const seen = new Collected(next.client.topic(topic).pipe(tap(record => record.ack())))
        next.client.start()
        await next.committed(topic, 0, 3)
        expect(texts(seen)).toEqual(['0', '1', '2'])
      })
    }

    scenario(
      'closes while the group waits for other members to revoke partitions, and the group does not wait for it',
      async world => {
        const group = world.name('group')
        const topic = await world.topic('orders', 2)
        await backend.publish(topic, [...numbered(0, 1), ...numbered(0, 1, 1)])
        const staying = world.client({ group })
        const held = new Collected(staying.client.topic(topic))
        staying.client.start()
        await held.count(2)
        const leaving = world.client({ group })
        leaving.client.topic(topic).subscribe()
        leaving.client.start()
        await backend.rebalancing(group)
        expect(await leaving.client.close()).toEqual({ drained: true, unsettled: 0, left: [] })

        for (const record of held.values) record.ack()
        await backend.publish(topic, [...numbered(1, 2), ...numbered(1, 2, 1)])
        await held.count(4)
        for (const record of held.values) record.ack()
        await Promise.all([staying.committed(topic, 0, 2), staying.committed(topic, 1, 2)])
      },
    )

    scenario(
      'waits in a graceful close during a rebalance for its outcome, and then for records that `handle` had not begun',
      async world => {
        const group = world.name('group')
        const topic = await world.topic('orders', 6)
        const holding = world.client({ group })
        const held = new Collected(holding.client.topic(topic))
        let rebalances!: () => void
        const rebalancing = new Promise<void>(resolve => {
          rebalances = resolve
        })
        const log = { write: (line: string) => line.includes('a rebalance begins') && rebalances() }
        const begun: string[] = []
        const gate = new Subject<void>()
        const placeOf = ({ partition, offset }: ConsumeRecord) => `${partition}@${offset}`
        await holding.start()
        const closing = world.client({ group, logger: pino({}, log) })
        const settled = new Collected(
          closing.client.topic(topic).pipe(
            handle(
              record => {
                begun.push(placeOf(record))
                return firstValueFrom(gate)
              },
              { order: 'none', concurrency: 1 },
            ),
          ),
        )
        closing.client.start()
        // With the consumer protocol a member runs before it has all of its partitions.
        const has = (type: ClientEvent['type']) => closing.events.values.filter(event => event.type === type).length
        await closing.events.until(() => has('assigned') - has('revoked') === 3)
        await backend.publish(
          topic,
          [0, 1, 2, 3, 4, 5].flatMap(partition => numbered(0, 5, partition)),
        )
        await held.count(15)
        const last = world.client({ group })
        last.client.topic(topic).subscribe()
        last.client.start()
        await rebalancing
        // The record in flight ends, and is committed before the partition moves.
        const [first] = begun
        gate.next()
        await closing.committed(topic, Number(first![0]), 1)
        const closed = closing.client.closeGracefully()
        for (const record of held.values) record.ack()
        const opening = timer(0, 5).subscribe(() => gate.next())
        try {
          expect(await closed).toEqual({ drained: true, unsettled: 0, left: [] })
        } finally {
          opening.unsubscribe()
        }
        await settled.ended()
        expect(settled.values.map(({ record }) => placeOf(record))).toEqual(begun)
        // All records of the two retained partitions, and at most those in flight of the revoked one.
        const counts = [0, 1, 2, 3, 4, 5].map(
          partition => begun.filter(place => place.startsWith(`${partition}@`)).length,
        )
        expect(counts.filter(count => count === 5)).toHaveLength(2)
        expect(begun.length - 10).toBeLessThanOrEqual(1)
      },
    )

    scenario('closes at once by its abort signal, and reports the reason to all subscribers', async world => {
      const group = world.name('group')
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 3))
      const controller = new AbortController()
      const run = world.client({ group, signal: controller.signal })
      run.expected = [ClientClosedError]
      const seen = new Collected(run.client.topic(topic))
      run.client.start()
      await seen.count(3)
      seen.values[0]!.ack()
      const reason = new Error('enough')
      controller.abort(reason)
      expect(run.client.currentState).toBe('draining')
      const { error } = await seen.ended()
      expect(error).toBeInstanceOf(ClientClosedError)
      expect((error as Error).cause).toBe(reason)
      expect(await run.client.closed).toMatchObject({ drained: false, unsettled: 2 })
      expect(run.errors.values).toEqual([error])
      expect(run.errors.end).toEqual({})
      expect(run.events.values.at(-1)).toMatchObject({ type: 'state', state: 'closed', error })
      expect(await backend.committed(group, topic, 0)).toBe(1n)
    })

    scenario('counts records that an ended pipeline left unsettled, and does not wait for them', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 5))
      const run = world.client({ group: world.name('group') })
      const seen = new Collected(run.client.topic(topic).pipe(take(3)))
      run.client.start()
      await seen.ended()
      seen.values[1]!.ack()
      expect(await run.client.closeGracefully()).toMatchObject({ drained: false, unsettled: 2 })
    })

    scenario(
      'does not start if its signal is already aborted, and reports the reason to all subscribers',
      async world => {
        const topic = await world.topic('orders')
        const run = world.client({ group: world.name('group'), signal: AbortSignal.abort('never') })
        run.expected = [ClientClosedError]
        const seen = new Collected(run.client.topic(topic))
        const report = await run.client.closed
        const { error } = await seen.ended()
        expect(report).toEqual({ drained: false, unsettled: 0, left: [], error })
        expect(error).toBeInstanceOf(ClientClosedError)
        expect((error as Error).cause).toBe('never')
        expect(run.errors.values).toEqual([error])
        expect(() => run.client.topic('late')).toThrow(ClientClosedError)
        const published = new Collected(run.client.publish({ topic, value: 'v' }))
        expect((await published.ended()).error).toBeInstanceOf(ClientClosedError)
      },
    )

    scenario('closes at the end of an `await using` block', async world => {
      const topic = await world.topic('orders')
      const run = world.client({ group: world.name('group') })
      {
        await using client = run.client
        client.topic(topic).subscribe()
        await run.start()
      }
      expect(run.client.currentState).toBe('closed')
    })
  })
}
