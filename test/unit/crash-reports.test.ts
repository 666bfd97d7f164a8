import { ConnectionError, FetchError } from 'rxmika'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { CrashReports } from '../../src/drivers/kafkajs/crash-reports'

const protocolError = (type: string) => Object.assign(new Error(`the broker says ${type}`), { type })

describe('crashes of a consumer', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  it('are reported from the third equal one in a row on, once a minute', () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    const reports = new CrashReports('billing')
    const reported = Array.from({ length: 11 }, () => {
      const report = reports.of(new Error('broken'))
      vi.advanceTimersByTime(5_000)
      return report
    })
    expect(reported.map(report => report !== undefined)).toEqual(Array.from({ length: 11 }, (_, at) => at === 2))
    expect(reported[2]).toBeInstanceOf(FetchError)
    expect(reported[2]!.message).toMatch(/group 'billing' has crashed 3 times in a row.*broken/)
    vi.advanceTimersByTime(20_000)
    expect(reports.of(new Error('broken'))!.message).toMatch(/12 times in a row/)
  })

  it('are not reported while they differ, or where the consumer joined in between', () => {
    const reports = new CrashReports('billing')
    for (const message of ['a', 'b', 'a', 'b', 'a', 'b']) expect(reports.of(new Error(message))).toBeUndefined()
    for (let round = 0; round < 5; round++) {
      expect(reports.of(new Error('a'))).toBeUndefined()
      expect(reports.of(new Error('a'))).toBeUndefined()
      reports.joined()
    }
  })

  it.each(['INCONSISTENT_GROUP_PROTOCOL', 'GROUP_MAX_SIZE_REACHED'])(
    'are reported at once where the group does not let the member in: %s',
    type => {
      const reports = new CrashReports('billing')
      const report = reports.of(new Error('retries exceeded', { cause: protocolError(type) }))
      expect(report).toBeInstanceOf(ConnectionError)
      expect(report!.message).toMatch(/group 'billing' does not let this member in/)
      expect(report!.message).toContain(type)
      expect(reports.of(protocolError(type))).toBeUndefined()
    },
  )
})
