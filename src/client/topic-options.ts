import type { OperatorFunction } from 'rxjs'
import { ConfigurationError } from '../errors.js'
import type { Completed, Failed } from '../failure.js'
import { decode } from '../operators/decode.js'
import { isStandardSchema } from '../operators/standard-schema.js'
import type { ConsumeRecord } from '../record.js'
import type { Backoff } from '../retry/backoff.js'
import type { DecodedTopicOptions, TopicOptions } from './client.js'
import { type Config, invalid, wholeNumber } from './config.js'
import type { KeyFenceOptions } from './key-fence.js'

/** Records per partition delivered and not completed, unless the topic says otherwise. */
export const defaultMaxInFlight = 10_000

/** A topic's options, checked, with the defaults filled in. */
export interface TopicConfig<T> {
  readonly maxInFlight: number
  readonly batch: boolean
  readonly keyFence: KeyFenceOptions | undefined
  readonly decode: OperatorFunction<ConsumeRecord, ConsumeRecord<T | null>> | undefined
  readonly onFail: OperatorFunction<Failed, Failed | Completed> | undefined
  /** Without `onFail`. */
  readonly retries: number
  readonly backoff: Backoff | undefined
  readonly dlq: boolean
}

/** @throws ConfigurationError naming the topic and the option that is invalid, or misses another one. */
export function configureTopic<T>(
  name: string,
  options: TopicOptions & Partial<DecodedTopicOptions<T>>,
  { retryTopic, dlqTopic }: Config,
): TopicConfig<T> {
  const at = (option: string) => `topic '${name}': ${option}`
  const { batch = false, decode: decoder, keyFence, onFail, backoff, dlq = false } = options
  if (typeof batch !== 'boolean') throw invalid(at('batch'), batch, 'is a boolean')
  if (decoder !== undefined && typeof decoder !== 'function' && !isStandardSchema(decoder)) {
    throw invalid(at('decode'), decoder, 'is a function or a Standard Schema')
  }
  const maxInFlight = wholeNumber(at('maxInFlight'), options.maxInFlight, defaultMaxInFlight, 1)
  if (keyFence !== undefined && !(['continue', 'dead-letter'] as unknown[]).includes(keyFence?.afterDeadLetter)) {
    throw invalid(at('keyFence'), keyFence, "is { afterDeadLetter: 'continue' } or { afterDeadLetter: 'dead-letter' }")
  }
  if (keyFence?.maxKeys !== undefined) wholeNumber(at('keyFence.maxKeys'), keyFence.maxKeys, 1, 1)
  const retries = wholeNumber(at('retries'), options.retries, 0, 0)
  if (typeof dlq !== 'boolean') throw invalid(at('dlq'), dlq, 'is a boolean')
  if (onFail !== undefined) {
    if (typeof onFail !== 'function') throw invalid(at('onFail'), onFail, 'is an operator')
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
  if (backoff !== undefined && typeof backoff !== 'function') {
    throw invalid(at('backoff'), backoff, 'is a function from the attempt to ms')
  }
  if (backoff !== undefined && retries === 0) {
    throw new ConfigurationError(`topic '${name}' has a backoff, but no retries; set retries`)
  }
  const decoded = decoder === undefined ? undefined : decode(decoder)
  return { maxInFlight, batch, keyFence, decode: decoded, onFail, retries, backoff, dlq }
}
