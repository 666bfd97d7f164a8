import { retry, tap } from 'rxjs'
import { createClient, latest } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { expect, it } from 'vitest'
import { Clock } from './clock.js'

it('a record that waits in latest, and is delivered again because of a retry() before it, is emitted and not acked', () => {
  const clock = new Clock()
  const broker = memoryBroker({ scheduler: clock })
  const client = createClient({ driver: broker.driver(), group: 'billing', logger: false })
  const seen: string[] = []
  let isBroken = false
  client
    .topic('stock')
    .pipe(
      tap(({ value }) => {
        if (String(value) !== '2' || isBroken) return
        isBroken = true
        throw new Error('once')
      }),
      retry(),
      latest(100, { scheduler: clock }),
    )
    .subscribe(record => seen.push(String(record.value)))
  client.start().subscribe()
  broker.publish('stock', [
    { key: 'a', value: '1' },
    { key: 'b', value: '2' },
  ])
  clock.runTo(1_000)
  expect(seen).toEqual(['1', '2'])
  expect(broker.committed('billing', 'stock', 0) ?? 0n).toBe(0n)
})
