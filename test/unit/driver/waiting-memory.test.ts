import { setImmediate } from 'node:timers/promises'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { systemClock } from '../../../src/clock'
import type { Cluster } from '../../../src/drivers/kafka/cluster/cluster'
import { TakingUp, type TakingUpHost } from '../../../src/drivers/kafka/positions/taking-up'
import { PartitionMap } from '../../../src/drivers/kafka/topic-partition'
import { leftPerCycle } from '../memory/heap'

const nothing = 1_000

describe('an attempt leaves nothing behind, however long a partition has no leader:', { timeout: 60_000 }, () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  it('to find the position of a new assignment', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const ended = new AbortController()
    let attempts = 0
    const host = {
      request: { group: 'billing', startFrom: 'earliest' },
      cluster: { leaderOf: () => undefined, topic: () => undefined, refresh: async () => {} } as unknown as Cluster,
      clock: systemClock,
      stale: ended.signal,
      committed: async () => {
        attempts++
        return new PartitionMap()
      },
      settleDoubt: async () => {},
      announce: () => {},
      emit: () => {},
      forbidden: () => false,
      fatal: () => undefined,
    } as unknown as TakingUpHost
    const looking = new TakingUp(host).all([{ topic: 'orders', partition: 0 }])
    const attempt = async () => {
      const before = attempts
      while (attempts === before) {
        vi.advanceTimersByTime(1_000)
        await setImmediate()
      }
    }
    for (let times = 0; times < 20; times++) await attempt()
    expect(await leftPerCycle(300, nothing, attempt)).toBeLessThan(nothing)
    ended.abort()
    await looking
  })
})
