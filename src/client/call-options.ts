import type { StallsOptions } from '../events.js'
import { checkDuration, checkFunction, checkOptions, invalid, type KnownOptions } from '../options.js'
import type { CloseOptions, DlqReplayOptions, PublishOptions } from './client.js'

const knownOfPublish: KnownOptions<PublishOptions> = { timeout: true }
const knownOfClose: KnownOptions<CloseOptions> = { timeout: true, signal: true }
const knownOfStalls: KnownOptions<StallsOptions> = { all: true }
const knownOfReplay: KnownOptions<DlqReplayOptions> = { until: true, filter: true, attempts: true, rate: true }

/** The checked options of `publish`. @throws ConfigurationError */
export function configurePublish(options: PublishOptions = {}): { readonly timeout: number } {
  checkOptions('publish', options, knownOfPublish)
  const { timeout = 30_000 } = options
  checkDuration('publish: timeout', timeout)
  return { timeout }
}

/** @throws ConfigurationError */
export function configureClose(options: CloseOptions = {}): CloseOptions & { readonly timeout: number } {
  checkOptions('closeGracefully', options, knownOfClose)
  const { timeout = 30_000, signal } = options
  checkDuration('closeGracefully: timeout', timeout)
  if (signal !== undefined) checkSignal('closeGracefully: signal', signal)
  return { timeout, signal }
}

/** @throws ConfigurationError */
export function checkReplay(options: DlqReplayOptions = {}): void {
  checkOptions('replayDlq', options, knownOfReplay)
  const { until = 'caught-up', filter, attempts = 'keep', rate } = options
  if (until !== 'caught-up' && until !== 'forever') {
    throw invalid('replayDlq: until', until, "must be 'caught-up' or 'forever'")
  }
  if (attempts !== 'keep' && attempts !== 'fresh') {
    throw invalid('replayDlq: attempts', attempts, "must be 'keep' or 'fresh'")
  }
  if (rate !== undefined && !(typeof rate === 'number' && rate > 0 && rate < Number.POSITIVE_INFINITY)) {
    throw invalid('replayDlq: rate', rate, 'must be a number of records a second, greater than 0')
  }
  if (filter !== undefined) checkFunction('replayDlq: filter', filter, 'a function from a record to a boolean')
}

/** @throws ConfigurationError */
export function checkSignal(option: string, signal: unknown): void {
  const { addEventListener, aborted } = (signal ?? {}) as Partial<AbortSignal>
  if (typeof addEventListener !== 'function' || typeof aborted !== 'boolean') {
    throw invalid(option, signal, 'must be an AbortSignal')
  }
}

/** @throws ConfigurationError naming the option and its value. */
export function configureStalls(options: StallsOptions = {}): { readonly all: boolean } {
  checkOptions('stalls', options, knownOfStalls)
  const { all = false } = options
  if (typeof all !== 'boolean') throw invalid('stalls: all', all, 'must be a boolean')
  return { all }
}
