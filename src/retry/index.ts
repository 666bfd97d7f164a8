export { type Backoff, type ExponentialOptions, exponential, fixed, steps } from './backoff.js'
export { type BreakerOptions, breaker } from './breaker.js'
export { type DeadLetterOptions, deadLetter } from './dead-letter.js'
export {
  type AnyHeaders,
  type DeadLetter,
  type DeadLetterOfOptions,
  deadLetterOf,
  type RecordWithHeaders,
} from './dead-letter-of.js'
export { discard } from './discard.js'
export { halt } from './halt.js'
export { MalformedHeadersError } from './headers.js'
export { type RedeliverOptions, redeliver } from './redeliver.js'
export { type RetryTopicOptions, retryTopic } from './retry-topic.js'
