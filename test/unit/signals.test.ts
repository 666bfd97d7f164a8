import { getMaxListeners } from 'node:events'
import { createClient, handle } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Clock } from './clock.js'

const warnings: Error[] = []
const warned = (warning: Error) => void warnings.push(warning)
beforeEach(() => {
  warnings.length = 0
  process.on('warning', warned)
})
afterEach(() => {
  process.off('warning', warned)
})
/** Node emits its warning in a later turn. */
const turn = () => new Promise(resolve => setImmediate(resolve))

it('a record’s signal may have any number of listeners, and Node warns of none', async () => {
  const clock = new Clock()
  const broker = memoryBroker({ scheduler: clock, partitions: 1 })
  broker.publish(
    'orders',
    Array.from({ length: 100 }, () => ({ value: 'v' })),
  )
  const client = createClient({ driver: broker.driver(), group: 'g', env: {}, logger: false })
  let aborted = 0
  client
    .topic('orders')
    .pipe(
      handle(
        ({ signal }) =>
          new Promise(() =>
            signal.addEventListener('abort', () => {
              aborted++
            }),
          ),
        { order: 'none', concurrency: 100 },
      ),
    )
    .subscribe()
  client.start()
  clock.runTo(1_000)
  await turn()
  expect(warnings).toEqual([])
  client.close()
  clock.runTo(60_000)
  expect(aborted).toBe(100)
})

it('one signal may close any number of clients, and keeps no listener when they are closed', async () => {
  const controller = new AbortController()
  const { signal } = controller
  const before = getMaxListeners(signal)
  const clock = new Clock()
  const clients = Array.from({ length: 30 }, () =>
    createClient({ driver: memoryBroker({ scheduler: clock }).driver(), env: {}, logger: false, signal }),
  )
  for (const client of clients) client.closeGracefully({ signal })
  await turn()
  expect(warnings).toEqual([])
  clock.runTo(60_000)
  expect(clients.map(({ currentState }) => currentState)).toEqual(clients.map(() => 'closed'))
  expect(getMaxListeners(signal)).toBe(before)
})
