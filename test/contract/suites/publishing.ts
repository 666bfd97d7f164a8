import { lastValueFrom, tap } from 'rxjs'
import { ClientClosedError, handle, PublishError } from 'rxmika'
import { describe, expect } from 'vitest'
import type { Backend } from '../backend'
import { Collected } from '../collected'
import { numbered, scenarios, texts } from '../world'

export function publishing(backend: Backend): void {
  const scenario = scenarios(backend)

  describe('publishing', () => {
    scenario('publishes at each subscription, also before start()', async world => {
      const topic = await world.topic('orders')
      const { client } = world.client()
      const publish = client.publish({
        topic,
        key: 'k',
        value: 'v',
        headers: { h: ['1', Buffer.from('2')], none: null },
      })
      expect(await backend.records(topic)).toEqual([])
      expect(await lastValueFrom(publish)).toEqual([{ topic, partition: 0, offset: 0n }])
      expect(await lastValueFrom(publish)).toEqual([{ topic, partition: 0, offset: 1n }])
      const records = await backend.records(topic)
      expect(records).toHaveLength(2)
      expect(records[0]).toMatchObject({
        key: Buffer.from('k'),
        value: Buffer.from('v'),
        headers: [
          ['h', Buffer.from('1')],
          ['h', Buffer.from('2')],
          ['none', null],
        ],
      })
      expect(client.currentState).toBe('idle')
    })

    scenario('emits the places of the records in the order of the input', async world => {
      const [one, two] = await Promise.all([world.topic('one', 3), world.topic('two')])
      const { client } = world.client()
      const records = [
        { topic: one, partition: 2, value: 'a' },
        { topic: two, value: 'b' },
        { topic: one, partition: 0, value: 'c' },
        { topic: one, partition: 2, value: 'd' },
        { topic: two, value: 'e' },
      ]
      expect(await lastValueFrom(client.publish(records))).toEqual([
        { topic: one, partition: 2, offset: 0n },
        { topic: two, partition: 0, offset: 0n },
        { topic: one, partition: 0, offset: 0n },
        { topic: one, partition: 2, offset: 1n },
        { topic: two, partition: 0, offset: 1n },
      ])
      expect(texts(await backend.records(one))).toEqual(['c', 'a', 'd'])
      expect(await lastValueFrom(client.publish([]))).toEqual([])
    })

    scenario('writes records with the same key to the same partition, with their own timestamps', async world => {
      const topic = await world.topic('orders', 4)
      const { client } = world.client()
      const records = Array.from({ length: 40 }, (_, at) => ({
        ...{ topic, key: `key ${at % 5}`, value: String(at) },
        timestamp: 1_600_000_000_000 + at,
      }))
      const places = await lastValueFrom(client.publish(records))
      for (const key of [0, 1, 2, 3, 4]) {
        const used = places.filter((_, at) => at % 5 === key).map(({ partition }) => partition)
        expect(new Set(used).size).toBe(1)
      }
      const stored = await backend.records(topic)
      expect(stored.map(({ timestamp }) => timestamp).sort()).toEqual(records.map(({ timestamp }) => timestamp))
    })

    scenario('publishes thousands of single records from many callers', async world => {
      const topic = await world.topic('orders', 4)
      const { client } = world.client()
      const places = await Promise.all(
        Array.from({ length: 3_000 }, (_, at) => lastValueFrom(client.publish({ topic, value: String(at) }))),
      )
      expect(new Set(places.map(([place]) => `${place!.partition}/${place!.offset}`)).size).toBe(3_000)
      const values = texts(await backend.records(topic)).map(Number)
      expect(values.sort((a, b) => a - b)).toEqual(Array.from({ length: 3_000 }, (_, at) => at))
    })

    scenario('acks a record once its copy is acknowledged, if the handler returns publish()', async world => {
      const [topic, copies] = await Promise.all([world.topic('orders'), world.topic('copies')])
      await backend.publish(topic, numbered(0, 5))
      const run = world.client({ group: world.name('group') })
      run.client
        .topic(topic)
        .pipe(handle(({ value }) => run.client.publish({ topic: copies, value })))
        .subscribe()
      run.client.start()
      await run.committed(topic, 0, 5)
      expect(texts(await backend.records(copies))).toEqual(['0', '1', '2', '3', '4'])
    })

    scenario('publishes during a graceful close, but not once the client is closed', async world => {
      const [topic, copies] = await Promise.all([world.topic('orders'), world.topic('copies')])
      await backend.publish(topic, numbered(0, 1))
      const run = world.client({ group: world.name('group') })
      const { client } = run
      const seen = new Collected(client.topic(topic))
      client.start()
      const [record] = await seen.count(1)
      const closed = client.closeGracefully()
      expect(client.currentState).toBe('draining')
      await lastValueFrom(client.publish({ topic: copies, value: 'copy' }).pipe(tap(() => record!.ack())))
      expect(await closed).toEqual({ drained: true, unsettled: 0, left: [] })
      expect(texts(await backend.records(copies))).toEqual(['copy'])

      const late = new Collected(client.publish({ topic: copies, value: 'late' }))
      expect((await late.ended()).error).toBeInstanceOf(ClientClosedError)
      expect(await backend.records(copies)).toHaveLength(1)
    })

    scenario('finishes publications in flight before it closes', async world => {
      const topic = await world.topic('orders')
      const { client } = world.client()
      const published = new Collected(client.publish(numbered(0, 100).map(record => ({ topic, ...record }))))
      await client.closeGracefully()
      expect(published.end).toEqual({})
      expect(await backend.records(topic)).toHaveLength(100)
    })

    scenario('errors for a partition that does not exist, and for a record that is too large', async world => {
      const topic = await world.topic('orders')
      const { client } = world.client()
      const nowhere = new Collected(client.publish({ topic, partition: 7, value: 'v' }, { timeout: 1_000 }))
      expect((await nowhere.ended()).error).toBeInstanceOf(PublishError)
      const large = new Collected(client.publish({ topic, value: Buffer.alloc(2_000_000) }))
      const { error } = await large.ended()
      expect(error).toBeInstanceOf(PublishError)
      expect(error).toMatchObject({ retriable: false, topic })
      expect(await lastValueFrom(client.publish({ topic, value: 'small' }))).toHaveLength(1)
    })
  })
}
