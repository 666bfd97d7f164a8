import { Subject } from 'rxjs'
import { ConfigurationError, createClient, type Driver } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { expect, it } from 'vitest'
import { Clock } from './clock.js'

it('a topic is given back if the list that it was registered in fails after it was found, and can be registered again', () => {
  const clock = new Clock()
  const broker = memoryBroker({ scheduler: clock })
  const memory = broker.driver()
  const created = new Subject<never>()
  const driver: Driver = new Proxy(memory, {
    get: (target, name) => {
      if (name === 'topics') return (names: readonly string[]) => (names.length > 1 ? created : target.topics(names))
      const value = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  const client = createClient({ driver, group: 'billing', logger: false })
  client.topic('payments').subscribe(record => void record.ack())
  client.start().subscribe()
  broker.publish('orders', [{ value: 'a' }])
  clock.runTo(1_000)
  const ends: unknown[] = []
  client.topic(['orders', 'refunds']).subscribe({
    next: record => void record.ack(),
    error: error => ends.push(error),
  })
  clock.runTo(5_000)
  created.error(new ConfigurationError("topic 'refunds' may not be seen"))
  expect(ends).toEqual([expect.any(ConfigurationError)])
  clock.runTo(10_000)
  // Otherwise no member of the group would read its partitions.
  expect(client.metrics().partitions.map(({ topic }) => topic)).toEqual(['payments'])
  const seen: string[] = []
  client.topic('orders').subscribe(record => {
    seen.push(String(record.value))
    record.ack()
  })
  broker.publish('orders', [{ value: 'b' }])
  clock.runTo(20_000)
  expect(seen).toEqual(['b'])
})
