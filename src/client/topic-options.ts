import type { OperatorFunction } from 'rxjs'
import { ConfigurationError } from '../errors.js'
import type { Completed, Failed } from '../failure.js'
import { checkDecoder, checkTombstones, decode } from '../operators/decode.js'
import { checkFunction, checkInteger, checkOptions, invalid, type KnownOptions } from '../options.js'
import type { ConsumeRecord } from '../record.js'
import type { Backoff } from '../retry/backoff.js'
import type { DecodedTopicOptions, TopicOptions } from './client.js'
import type { Config } from './config.js'
import type { KeyFenceOptions } from './key-fence.js'

/** The default of `maxInFlight`, in records per partition. */
export const defaultMaxInFlight = 10_000

const known: KnownOptions<DecodedTopicOptions<unknown>> = {
  retries: true,
  dlq: true,
  backoff: true,
  maxInFlight: true,
  batch: true,
  keyFence: true,
  onFail: true,
  decode: true,
  tombstones: true,
}
const knownOfFence: KnownOptions<KeyFenceOptions> = { afterDeadLetter: true, maxKeys: true }

/** The checked options of a topic, with the defaults filled in. */
export interface TopicConfig<T> {
  readonly maxInFlight: number
  readonly batch: boolean
  readonly keyFence: KeyFenceOptions | undefined
  readonly decode: OperatorFunction<ConsumeRecord, ConsumeRecord<T | null>> | undefined
  readonly onFail: OperatorFunction<Failed, Failed | Completed> | undefined
  /** Retries, backoff and dlq count only without `onFail`. */
  readonly retries: number
  readonly backoff: Backoff | undefined
  readonly dlq: boolean
}

/** @throws ConfigurationError naming the topic, and the option that is invalid or needs another one. */
export function configureTopic<T>(
  name: string,
  options: TopicOptions & Partial<DecodedTopicOptions<T>>,
  { retryTopic, dlqTopic }: Config,
): TopicConfig<T> {
  const at = (option: string) => `topic '${name}': ${option}`
  checkOptions(`topic '${name}'`, options, known)
  const { batch = false, decode: decoder, keyFence, onFail, backoff, dlq = false } = options
  const { retries = 0, maxInFlight = defaultMaxInFlight } = options
  if (typeof batch !== 'boolean') throw invalid(at('batch'), batch, 'must be a boolean')
  if (decoder !== undefined) checkDecoder(at('decode'), decoder)
  const { tombstones } = options
  if (tombstones !== undefined) {
    checkTombstones(at('tombstones'), tombstones)
    if (decoder === undefined) throw new ConfigurationError(`topic '${name}' has tombstones, but no decode; set decode`)
  }
  checkInteger(at('maxInFlight'), maxInFlight, 1)
  if (keyFence !== undefined) checkFence(at('keyFence'), keyFence)
  checkInteger(at('retries'), retries, 0, 2 ** 31 - 1)
  if (typeof dlq !== 'boolean') throw invalid(at('dlq'), dlq, 'must be a boolean')
  if (onFail !== undefined) {
    checkFunction(at('onFail'), onFail, 'an operator')
    if (retries > 0 || dlq || backoff !== undefined) {
      throw new ConfigurationError(`topic '${name}': onFail replaces retries, backoff and dlq; leave those out`)
    }
  }
  if (retries > 0 && keyFence === undefined && retryTopic === undefined) {
    throw new ConfigurationError(`topic '${name}' has retries: ${retries}, but the client has no retryTopic; set it`)
  }
  if (dlq && dlqTopic === undefined) {
    throw new ConfigurationError(`topic '${name}' has dlq: true, but the client has no dlqTopic; set it`)
  }
  if (backoff !== undefined) checkFunction(at('backoff'), backoff, 'a function from the attempt to ms')
  if (backoff !== undefined && retries === 0) {
    throw new ConfigurationError(`topic '${name}' has a backoff, but no retries; set retries`)
  }
  const decoded = decoder === undefined ? undefined : decode(decoder, { tombstones: tombstones ?? 'pass' })
  return { maxInFlight, batch, keyFence, decode: decoded, onFail, retries, backoff, dlq }
}

function checkFence(option: string, fence: KeyFenceOptions): void {
  const rule = "must be { afterDeadLetter: 'continue' } or { afterDeadLetter: 'dead-letter' }"
  if (typeof fence !== 'object' || fence === null) throw invalid(option, fence, rule)
  checkOptions(option, fence, knownOfFence)
  const { afterDeadLetter, maxKeys } = fence
  if (maxKeys !== undefined) checkInteger(`${option}.maxKeys`, maxKeys, 1)
  if (afterDeadLetter === 'continue' || afterDeadLetter === 'dead-letter') return
  throw invalid(`${option}.afterDeadLetter`, afterDeadLetter, "must be 'continue' or 'dead-letter'")
}
