import { setImmediate } from 'node:timers/promises'
import { type DriverEvent, FetchError } from 'rxmika'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Assignment } from '../../src/drivers/kafkajs/assignment'
import { decodedLazily } from '../../src/drivers/kafkajs/decode'
import type { Cluster } from '../../src/drivers/kafkajs/kafkajs-internals'
import { Reader } from '../../src/drivers/kafkajs/reader'
import { errorCode, kafkaErrors } from '../../src/protocol/errors'

/** A reader of one partition, and what it did. */
function reader() {
  const assignment = new Assignment('orders', 3, 1_042, '')
  const troubles: FetchError[] = []
  const fatal: unknown[] = []
  let refreshed = 0
  const cluster = {
    refreshMetadata: async () => {
      refreshed++
    },
    fetchTopicsOffset: async () => [{ topic: 'orders', partitions: [{ partition: 3, offset: '7' }] }],
  } as unknown as Cluster
  const read = new Reader(
    {
      held: new Map([['orders-3', assignment]]),
      delivering: true,
      startFrom: 'earliest',
      cluster,
      emit: (event: DriverEvent) => {
        if (event.type === 'trouble') troubles.push(event.error as FetchError)
      },
      fail: error => fatal.push(error),
    },
    decodedLazily,
  )
  const refuse = (code: number) => read.refused({ topic: 'orders', partition: 3, offset: 1_042n, errorCode: code })
  return { refuse, troubles, fatal, assignment, refreshed: () => refreshed }
}

/** Others learn of a new leader before it says so itself (KIP-207), or tell that it is elsewhere: asked again soon. */
const soon = kafkaErrors.filter(error => error.has('staleMetadata') || error.name === 'OFFSET_NOT_AVAILABLE')
const handled = new Set([errorCode.NONE, errorCode.OFFSET_OUT_OF_RANGE, errorCode.TOPIC_AUTHORIZATION_FAILED])
const others = kafkaErrors.filter(error => !handled.has(error.code) && !soon.includes(error))

describe('a fetch that the broker refuses', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  it.each(soon.map(String))('is asked again soon, of newer metadata and without a report, for %s', async name => {
    const { refuse, troubles, fatal, refreshed, assignment } = reader()
    expect(refuse(soon.find(error => String(error) === name)!.code)).toBe(true)
    await setImmediate()
    expect({ troubles, fatal, refreshed: refreshed() }).toEqual({ troubles: [], fatal: [], refreshed: 1 })
    expect(assignment.isHeld).toBe(true)
  })

  it.each(others.map(String))('is reported by place and code, and once a minute, for %s', name => {
    vi.useFakeTimers({ toFake: ['performance'] })
    const { code } = others.find(error => String(error) === name)!
    const { refuse, troubles, fatal } = reader()
    for (let again = 0; again < 29; again++) {
      refuse(code)
      vi.advanceTimersByTime(2_000)
    }
    expect(fatal).toEqual([])
    expect(troubles).toHaveLength(1)
    expect(troubles[0]).toBeInstanceOf(FetchError)
    expect(troubles[0]).toMatchObject({ topic: 'orders', partition: 3, offset: 1_042n })
    expect(troubles[0]!.message).toContain('orders-3@1042')
    expect(troubles[0]!.message).toContain(name)
    vi.advanceTimersByTime(2_000)
    refuse(code)
    expect(troubles).toHaveLength(2)
  })

  it('is reported by the codec that the broker does not give', () => {
    const { refuse, troubles } = reader()
    refuse(errorCode.UNSUPPORTED_COMPRESSION_TYPE)
    expect(troubles[0]!.message).toContain('zstd')
  })

  it('ends reading where the right is missing, by the name of the topic', () => {
    const { refuse, fatal } = reader()
    refuse(errorCode.TOPIC_AUTHORIZATION_FAILED)
    expect(fatal).toMatchObject([{ topic: 'orders', message: expect.stringMatching(/'orders'.*READ/) }])
  })

  it('moves a position that is out of range, and says from where to where', async () => {
    const { refuse, troubles, assignment } = reader()
    refuse(errorCode.OFFSET_OUT_OF_RANGE)
    await vi.waitUntil(() => troubles.length > 0)
    expect(assignment.next).toBe(7)
    expect(troubles[0]!.message).toMatch(/1042.*7/)
  })
})
