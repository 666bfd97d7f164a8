import { ConfigurationError } from '../errors.js'
import { checkDuration, checkFunction, checkOptions, invalid, type KnownOptions, longestDuration } from '../options.js'
import { summaryOf } from './reason.js'

/**
 * Returns how long a record waits before an attempt, in ms. Attempt 2 is the first retry. Must be a pure function: it is
 * called once when the step is made, to find mistakes early, and then once per failure.
 */
export type Backoff = (attempt: number) => number

/** The longest delay in ms, 24.8 days: beyond it Node's timers fire at once. */
export const longestDelay = longestDuration

/** The options of `exponential`. */
export interface ExponentialOptions {
  /** The delay before the first retry, ms. */
  readonly initial: number
  /** Each delay is the previous one times `factor`. At least 1; default 2. */
  readonly factor?: number | undefined
  /** The longest delay, ms. Default 24.8 days, the longest possible. */
  readonly max?: number | undefined
  /** The random share of each delay, from 0 (default: none) to 1; `true` is 1. It shortens delays, never lengthens them. */
  readonly jitter?: number | boolean | undefined
  /** Returns numbers from 0 (included) to 1 (excluded). Default `Math.random`. */
  readonly random?: (() => number) | undefined
}

const knownOfExponential: KnownOptions<ExponentialOptions> = {
  initial: true,
  factor: true,
  max: true,
  jitter: true,
  random: true,
}

/**
 * The same delay before every retry.
 *
 * @example
 * client.topic('orders', { retries: 3, backoff: fixed(5_000) })
 *
 * @param ms From 0 to 2147483647.
 * @throws ConfigurationError
 */
export function fixed(ms: number): Backoff {
  checkDuration('fixed: the delay', ms)
  return () => ms
}

/**
 * Delays that grow by a factor up to a maximum, without jitter by default.
 *
 * @example
 * exponential({ initial: 1_000, max: 60_000 })   // 1 s, 2 s, 4 s … 60 s, 60 s
 *
 * @throws ConfigurationError
 */
export function exponential(options: ExponentialOptions): Backoff {
  checkOptions('exponential', options, knownOfExponential)
  const { initial, factor = 2, max = longestDelay, random = Math.random, jitter: share = 0 } = options
  const jitter = typeof share === 'boolean' ? Number(share) : share
  checkDuration('exponential: initial', initial)
  checkDuration('exponential: max', max)
  if (!Number.isFinite(factor) || factor < 1) throw invalid('exponential: factor', factor, 'must be a number ≥ 1')
  if (typeof jitter !== 'number' || !(jitter >= 0 && jitter <= 1)) {
    throw invalid('exponential: jitter', jitter, 'must be a number from 0 to 1, or a boolean')
  }
  checkFunction('exponential: random', random)
  return attempt => {
    // 0 × Infinity would be NaN after many attempts.
    const delay = initial === 0 ? 0 : Math.min(max, initial * factor ** Math.max(0, attempt - 2))
    return jitter === 0 ? delay : delay * (1 - jitter * random())
  }
}

/**
 * The given delays one after the other. The last one is repeated.
 *
 * @example
 * steps([1_000, 10_000, 60_000])
 *
 * @param delays At least one, each from 0 to 2147483647 ms.
 * @throws ConfigurationError
 */
export function steps(delays: readonly number[]): Backoff {
  if (!Array.isArray(delays) || delays.length === 0) {
    throw invalid('steps: the delays', delays, 'must be an array of at least one delay in ms')
  }
  const own: readonly number[] = [...delays]
  own.forEach((delay, at) => {
    checkDuration(`steps: delay ${at + 1}`, delay)
  })
  return attempt => own[Math.min(Math.max(0, attempt - 2), own.length - 1)]!
}

/** Calls the backoff once, before a record depends on it. @throws ConfigurationError */
export function checkBackoff(step: string, backoff: Backoff | undefined): void {
  if (backoff === undefined) return
  checkFunction(`${step}: backoff`, backoff, 'a function from the attempt to ms')
  let delay: unknown
  try {
    delay = backoff(2)
  } catch (cause) {
    throw new ConfigurationError(`${step}: backoff(2) threw: ${summaryOf(cause)}`, { cause })
  }
  checkDuration(`${step}: backoff(2)`, delay)
}

/** The delay before an attempt in whole ms. It is 0 if the backoff throws or returns an invalid delay, to keep the record. */
export function delayBefore(attempt: number, backoff: Backoff | undefined): number {
  if (backoff === undefined) return 0
  try {
    const delay: unknown = backoff(attempt)
    if (typeof delay !== 'number' || !(delay > 0)) return 0
    return Math.min(Math.ceil(delay), longestDelay)
  } catch {
    return 0
  }
}
