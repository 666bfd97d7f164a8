import { firstValueFrom, map, repeat, retry, Subject, take, tap } from 'rxjs'
import { describe, expect } from 'vitest'
import type { Backend } from '../backend'
import { Collected } from '../collected'
import { numbered, scenarios, texts } from '../world'

export function switching(backend: Backend): void {
  const scenario = scenarios(backend)
  const from = (first: number, end: number) => numbered(first, end).map(({ value }) => value)

  describe('switching topics on and off', () => {
    scenario('delivers nothing without a subscriber, and loses nothing by it', async world => {
      const [topic, other] = await Promise.all([world.topic('orders'), world.topic('other')])
      await backend.publish(topic, numbered(0, 3))
      const run = world.client({ group: world.name('group') })
      const orders = run.client.topic(topic)
      run.client.topic(other).subscribe(record => record.ack())
      const first = new Collected(orders.pipe(tap(record => record.ack())))
      run.client.start()
      await run.committed(topic, 0, 3)
      first.unsubscribe()

      await backend.publish(topic, numbered(3, 6))
      await backend.publish(other, numbered(0, 1))
      await run.committed(other, 0, 1)
      expect(texts(first)).toEqual(from(0, 3))

      const second = new Collected(orders.pipe(tap(record => record.ack())))
      await run.committed(topic, 0, 6)
      expect(texts(second)).toEqual(from(3, 6))
    })

    scenario('starts a topic that is subscribed to only after start()', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 3))
      const run = world.client({ group: world.name('group') })
      const orders = run.client.topic(topic)
      await run.start()
      const seen = new Collected(orders.pipe(tap(record => record.ack())))
      await run.committed(topic, 0, 3)
      expect(texts(seen)).toEqual(from(0, 3))
    })

    scenario('pauses and resumes a topic from outside, before start and at run time', async world => {
      const [topic, other] = await Promise.all([world.topic('orders'), world.topic('other')])
      await backend.publish(topic, numbered(0, 3))
      await backend.publish(other, numbered(0, 1))
      const run = world.client({ group: world.name('group') })
      const { client } = run
      const seen = new Collected(client.topic(topic).pipe(tap(record => record.ack())))
      client.topic(other).subscribe(record => record.ack())
      client.pause(topic)
      client.start()
      await run.committed(other, 0, 1)
      expect(texts(seen)).toEqual([])
      client.resume(topic)
      await run.committed(topic, 0, 3)
      expect(texts(seen)).toEqual(from(0, 3))

      client.pause(topic)
      client.pause(topic)
      await backend.publish(topic, numbered(3, 6))
      await backend.publish(other, numbered(1, 2))
      await run.committed(other, 0, 2)
      expect(texts(seen)).toEqual(from(0, 3))
      client.resume(topic)
      await run.committed(topic, 0, 6)
      expect(texts(seen)).toEqual(from(0, 6))
      const told = run.events.values.flatMap(event =>
        event.type === 'paused' || event.type === 'resumed' ? `${event.type} ${event.topic}` : [],
      )
      expect(told).toEqual([`paused ${topic}`, `resumed ${topic}`, `paused ${topic}`, `resumed ${topic}`])
    })

    scenario('holds back the rest of a batch when the topic is paused in the middle of it', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 6))
      const run = world.client({ group: world.name('group') })
      const seen = new Collected(
        run.client.topic(topic).pipe(
          tap(record => {
            record.ack()
            if (String(record.value) === '2') run.client.pause(topic)
          }),
        ),
      )
      run.client.start()
      await run.committed(topic, 0, 3)
      expect(texts(seen)).toEqual(from(0, 3))
      expect(run.client.stalls()).toEqual([expect.objectContaining({ topic, offset: 3n, why: 'paused' })])
      run.client.resume(topic)
      await run.committed(topic, 0, 6)
      expect(texts(seen)).toEqual(from(0, 6))
    })

    scenario(
      'delivers records that a subscription left unsettled to the next one, in order, before new records',
      async world => {
        const topic = await world.topic('orders')
        await backend.publish(topic, numbered(0, 5))
        const run = world.client({ group: world.name('group') })
        const orders = run.client.topic(topic)
        const first = new Collected(orders)
        run.client.start()
        await first.count(5)
        first.values[3]!.ack()
        first.values[1]!.ack()
        first.unsubscribe()
        await backend.publish(topic, numbered(5, 7))
        const second = new Collected(orders)
        await second.count(5)
        expect(texts(second)).toEqual(['0', '2', '4', '5', '6'])
        for (const record of second.values) record.ack()
        await run.committed(topic, 0, 7)
      },
    )

    scenario('allows settling a record of an ended subscription before it is redelivered', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 2))
      const run = world.client({ group: world.name('group') })
      const orders = run.client.topic(topic)
      const first = new Collected(orders)
      run.client.start()
      await first.count(2)
      first.unsubscribe()
      expect(first.values[0]!.ack()).toBe(true)
      const second = new Collected(orders.pipe(tap(record => record.ack())))
      await run.committed(topic, 0, 2)
      expect(texts(second)).toEqual(['1'])
    })

    scenario('loses nothing when the pipeline throws and retry() subscribes again', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 5))
      const run = world.client({ group: world.name('group') })
      let failures = 0
      const seen = new Collected(
        run.client.topic(topic).pipe(
          map(record => {
            if (String(record.value) === '2' && failures++ < 2) throw new Error('a bug')
            return record
          }),
          tap(record => record.ack()),
          retry(),
        ),
      )
      run.client.start()
      await run.committed(topic, 0, 5)
      expect(texts(seen)).toEqual(from(0, 5))
      expect(failures).toBe(3)
    })

    scenario('loses nothing between the rounds of repeat()', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 6))
      const run = world.client({ group: world.name('group') })
      const seen = new Collected(
        run.client.topic(topic).pipe(
          take(2),
          tap(record => record.ack()),
          repeat(),
        ),
      )
      run.client.start()
      await run.committed(topic, 0, 6)
      expect(texts(seen)).toEqual(from(0, 6))
    })

    scenario('delivers one record to a subscriber with take(1), and the rest to the next one', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 3))
      const run = world.client({ group: world.name('group') })
      const orders = run.client.topic(topic)
      const all = new Collected(orders)
      run.client.start()
      await all.count(3)
      all.unsubscribe()
      // All three wait, and are delivered while these subscribe.
      expect((await firstValueFrom(orders)).ack()).toBe(true)
      expect(String((await firstValueFrom(orders)).value)).toBe('1')
      const rest = new Collected(orders.pipe(tap(record => record.ack())))
      await run.committed(topic, 0, 3)
      expect(texts(rest)).toEqual(['1', '2'])
    })

    scenario('redelivers the record that a subscriber with take(1) did not settle', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 1))
      const run = world.client({ group: world.name('group') })
      const orders = run.client.topic(topic)
      const first = firstValueFrom(orders)
      run.client.start()
      await first
      for (const round of [1, 2, 3]) expect([round, String((await firstValueFrom(orders)).value)]).toEqual([round, '0'])
      expect((await firstValueFrom(orders)).ack()).toBe(true)
      await run.committed(topic, 0, 1)
    })

    scenario('keeps reading other topics while one pipeline fails forever', async world => {
      const [topic, other] = await Promise.all([world.topic('orders'), world.topic('other')])
      await backend.publish(topic, numbered(0, 1))
      const run = world.client({ group: world.name('group') })
      const failures = new Subject<void>()
      const failed = new Collected(failures)
      run.client
        .topic(topic)
        .pipe(
          tap(() => {
            failures.next()
            throw new Error('a bug')
          }),
          retry(),
        )
        .subscribe()
      run.client.topic(other).subscribe(record => record.ack())
      run.client.start()
      await failed.count(3)
      await backend.publish(other, numbered(0, 3))
      await run.committed(other, 0, 3)
      expect(await run.client.closeGracefully()).toMatchObject({ drained: false, unsettled: 1 })
    })

    scenario('delivers retries only while their topic has a subscriber', async world => {
      const [topic, retryTopic] = await Promise.all([world.topic('orders'), world.topic('retries')])
      await backend.publish(topic, numbered(0, 3))
      const run = world.client({ group: world.name('group'), retryTopic })
      const orders = run.client.topic(topic, { retries: 1 })
      const first = new Collected(
        orders.pipe(
          tap(record => record.fail('no')),
          take(3),
        ),
      )
      run.client.start()
      await first.ended()
      await run.committed(topic, 0, 3)
      expect((await backend.committed(world.name('group'), retryTopic, 0)) ?? 0n).toBe(0n)
      const second = new Collected(orders.pipe(tap(record => record.ack())))
      await run.committed(retryTopic, 0, 3)
      expect(texts(second).sort()).toEqual(['0', '1', '2'])
      expect(second.values.map(({ attempt }) => attempt)).toEqual([2, 2, 2])
    })

    scenario('survives a subscriber that unsubscribes from within a delivery', async world => {
      const topic = await world.topic('orders')
      await backend.publish(topic, numbered(0, 4))
      const run = world.client({ group: world.name('group') })
      const orders = run.client.topic(topic)
      const first = new Collected(
        orders.pipe(
          tap(record => record.ack()),
          take(2),
        ),
      )
      run.client.start()
      await first.ended()
      const second = new Collected(orders.pipe(tap(record => record.ack())))
      await run.committed(topic, 0, 4)
      expect([...texts(first), ...texts(second)]).toEqual(from(0, 4))
    })
  })
}
