import { VirtualTimeScheduler } from 'rxjs'
import { PublishError } from 'rxmika'
import { describe, expect, it } from 'vitest'
import { clockOf } from '../../src/clock'
import { Concessions } from '../../src/retry/concessions'

const clock = clockOf({ scheduler: new VirtualTimeScheduler() })
const refusal = (reason?: string) => new PublishError('no', { retriable: false, ...(reason && { reason }) })

describe('the parts that a refused copy leaves out', () => {
  it('are none until it is refused', () => {
    const without = new Concessions()
    expect([without.detail, without.compression, without.timestamp(7, clock)]).toEqual(['full', undefined, 7])
  })

  it('are its own headers step by step if it is too large, and then it is compressed', () => {
    for (const reason of ['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE']) {
      const without = new Concessions()
      const tried: unknown[] = []
      while (without.concede(refusal(reason))) tried.push([without.detail, without.compression])
      expect(tried).toEqual([
        ['short', undefined],
        ['minimal', undefined],
        ['full', 'gzip'],
        ['minimal', 'gzip'],
      ])
      // The timestamp is conceded separately, and has been kept so far.
      expect(without.timestamp(7, clock)).toBe(7)
      expect(without.concede(refusal('INVALID_TIMESTAMP'))).toBe(true)
    }
  })

  it('are its timestamp, replaced by the present time, and then by none', () => {
    const without = new Concessions()
    const tried: number[] = []
    while (without.concede(refusal('INVALID_TIMESTAMP'))) tried.push(without.timestamp(7, clock))
    expect(tried).toEqual([clock.wall(), -1])
    expect([without.detail, without.compression]).toEqual(['full', undefined])
  })

  it.each(['INVALID_RECORD', 'TOPIC_AUTHORIZATION_FAILED', 'POLICY_VIOLATION', undefined])(
    'are none if it is refused with %s',
    reason => {
      expect(new Concessions().concede(refusal(reason))).toBe(false)
    },
  )
})
