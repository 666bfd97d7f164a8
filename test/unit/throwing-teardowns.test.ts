import { setTimeout as sleep } from 'node:timers/promises'
import { config, finalize, type Observable } from 'rxjs'
import { type Client, createClient } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Clock } from './clock.js'

describe('a teardown that throws', () => {
  const thrown: unknown[] = []

  beforeEach(() => {
    thrown.length = 0
    config.onUnhandledError = error => thrown.push(error)
  })
  afterEach(() => {
    config.onUnhandledError = null
  })

  it.each<[string, (client: Client) => Observable<unknown>]>([
    ['a topic', client => client.topic('orders')],
    ['errors', client => client.errors],
    ['events', client => client.events],
    ['the state', client => client.state],
    ['a replay', client => client.replayDlq()],
    ['a replay that the close cuts off', client => client.replayDlq({ until: 'forever' })],
    ['a read', client => client.read('orders')],
    ['a read that the close cuts off', client => client.read('orders', { until: 'forever' })],
    ['publish', client => client.publish({ topic: 'orders', value: 'v' })],
    ['a publish that is refused', client => client.publish({ topic: 'orders', partition: 7, value: 'v' })],
  ])(
    'at the end of %s is thrown from a timer: other subscribers get their end, and the client closes',
    async (_, of) => {
      const clock = new Clock()
      const broker = memoryBroker({ scheduler: clock, partitions: 1 })
      broker.publish('orders', [{ value: 'v' }])
      const client = createClient({ driver: broker.driver(), group: 'g', dlqTopic: 'dlq', env: {}, logger: false })
      const ended: string[] = []
      const watch = (name: string, stream: Observable<unknown>) =>
        stream.subscribe({ complete: () => ended.push(name) })
      of(client)
        .pipe(
          finalize(() => {
            throw new Error('teardown')
          }),
        )
        .subscribe({ error: () => {} })
      watch('events', client.events)
      watch('state', client.state)
      watch('refunds', client.topic('refunds'))
      watch('publish', client.publish({ topic: 'orders', value: 'v' }))
      watch('errors', client.start())
      clock.runTo(1_000)
      const closed = client.close()
      clock.runTo(100_000)
      expect(await Promise.race([closed, sleep(50)])).toMatchObject({ unsettled: expect.any(Number) })
      expect(ended.sort()).toEqual(['errors', 'events', 'publish', 'refunds', 'state'])
      await sleep(5)
      expect(thrown.map(String)).toEqual([expect.stringContaining('teardown')])
    },
  )
})
