import { describe, expect, it } from 'vitest'
import { ConfigurationError } from '../../src/errors.js'
import { delayBefore, exponential, fixed, longestDelay, steps } from '../../src/retry/backoff.js'

const attempts = [2, 3, 4, 5, 6]

describe('fixed', () => {
  it('waits the same before every retry', () => {
    expect(attempts.map(fixed(250))).toEqual([250, 250, 250, 250, 250])
  })
})

describe('exponential', () => {
  it('doubles from the initial delay up to the maximum', () => {
    expect(attempts.map(exponential({ initial: 1_000, max: 6_000 }))).toEqual([1_000, 2_000, 4_000, 6_000, 6_000])
  })

  it('grows by another factor, which may be 1', () => {
    expect(attempts.map(exponential({ initial: 10, factor: 3 }))).toEqual([10, 30, 90, 270, 810])
    expect(attempts.map(exponential({ initial: 10, factor: 1 }))).toEqual([10, 10, 10, 10, 10])
  })

  it('never waits longer than a timer can, however many attempts there are', () => {
    expect(exponential({ initial: 1_000 })(1_000_000)).toBe(longestDelay)
    expect(exponential({ initial: 0 })(1_000_000)).toBe(0)
  })

  it('has no jitter unless asked', () => {
    const random = () => {
      throw new Error('asked')
    }
    expect(exponential({ initial: 100, random })(2)).toBe(100)
  })

  it('shortens delays by a random share, never more than jitter says', () => {
    expect(exponential({ initial: 1_000, jitter: 0.2, random: () => 0 })(2)).toBe(1_000)
    expect(exponential({ initial: 1_000, jitter: 0.2, random: () => 0.5 })(2)).toBe(900)
    expect(exponential({ initial: 1_000, jitter: true, random: () => 0.75 })(3)).toBe(500)
    expect(exponential({ initial: 1_000, jitter: false, random: () => 0.75 })(3)).toBe(2_000)
  })
})

describe('steps', () => {
  it('goes through the delays and stays at the last', () => {
    expect(attempts.map(steps([1, 20, 300]))).toEqual([1, 20, 300, 300, 300])
  })

  it('is not affected by later changes of the array', () => {
    const delays = [1, 2]
    const backoff = steps(delays)
    delays[0] = Number.NaN
    expect(backoff(2)).toBe(1)
  })
})

describe('backoffs', () => {
  it('treat attempts before the first retry as the first retry', () => {
    for (const attempt of [1, 0, -5]) {
      expect(exponential({ initial: 10 })(attempt)).toBe(10)
      expect(steps([10, 20])(attempt)).toBe(10)
    }
  })

  it('refuse an invalid delay, and name it', () => {
    for (const ms of [Number.NaN, -1, Number.POSITIVE_INFINITY, 2 ** 31, '5' as unknown as number]) {
      expect(() => fixed(ms)).toThrow(ConfigurationError)
      expect(() => fixed(ms)).toThrow(typeof ms === 'string' ? `(got '${ms}')` : `(got ${ms})`)
      expect(() => exponential({ initial: ms })).toThrow(ConfigurationError)
      expect(() => exponential({ initial: 1, max: ms })).toThrow(ConfigurationError)
      expect(() => steps([1, ms])).toThrow('delay 2')
    }
    for (const factor of [Number.NaN, 0.5, Number.POSITIVE_INFINITY]) {
      expect(() => exponential({ initial: 1, factor })).toThrow(ConfigurationError)
    }
    for (const jitter of [Number.NaN, -0.1, 1.1]) {
      expect(() => exponential({ initial: 1, jitter })).toThrow(ConfigurationError)
    }
    expect(() => steps([])).toThrow(ConfigurationError)
  })

  it('cannot lose a record: one that throws or returns an invalid value means no delay', () => {
    const throws = () => {
      throw new Error('no')
    }
    expect(delayBefore(2, undefined)).toBe(0)
    expect(delayBefore(2, throws)).toBe(0)
    expect(delayBefore(2, () => Number.NaN)).toBe(0)
    expect(delayBefore(2, () => -1)).toBe(0)
    expect(delayBefore(2, () => '5' as unknown as number)).toBe(0)
    expect(delayBefore(2, () => Number.POSITIVE_INFINITY)).toBe(longestDelay)
  })

  it('are never cut short by rounding', () => {
    expect(delayBefore(2, () => 10.01)).toBe(11)
  })
})
