import { timer } from 'rxjs'
import { createClient, handle } from 'rxmika'
import { memoryBroker } from 'rxmika/testing'
import { describe, expect, it } from 'vitest'
import { Clock } from './clock'

describe.each(['classic', 'consumer'] as const)('a seek during a rebalance of a %s group', groupProtocol => {
  it.each([0, 1, 4])('goes on afterwards, whenever it comes: requests take %i ms', latency => {
    for (let seekAt = 15; seekAt < 50; seekAt++) {
      for (const outage of [undefined, 25]) {
        const clock = new Clock()
        const broker = memoryBroker({ scheduler: clock, partitions: 2, latency, groupProtocol })
        const driver = broker.driver()
        const client = createClient({ driver, group: 'billing', env: {}, logger: false, commitInterval: 5 })
        for (let n = 0; n < 20; n++) broker.publish('orders', { key: `k${n}`, value: String(n) })
        client
          .topic('orders')
          .pipe(handle(() => timer(3, clock)))
          .subscribe()
        client.start()
        clock.schedule(() => broker.revoke('billing', 'orders', 1), 20)
        if (outage !== undefined) {
          clock.schedule(() => broker.disconnect(), outage)
          clock.schedule(() => broker.reconnect(), 45)
        }
        clock.schedule(() => {
          if (client.currentState === 'running') void client.seek('orders', 'earliest')
        }, seekAt)
        clock.runTo(5_000)
        expect([seekAt, outage, broker.lag('billing', 'orders')]).toEqual([seekAt, outage, 0])
        client.close()
        clock.runTo(10_000)
      }
    }
  })
})
