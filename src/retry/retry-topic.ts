import type { OperatorFunction } from 'rxjs'
import { ConfigurationError } from '../errors.js'
import { type Completed, completed, type Failed } from '../failure.js'
import { checkInteger, checkOptions, type KnownOptions } from '../options.js'
import { deliveryOf } from '../record.js'
import { recordPlace } from '../record-place.js'
import type { RoutingClient } from '../routing.js'
import { type Backoff, checkBackoff, delayBefore } from './backoff.js'
import { retryCopy } from './copy.js'
import { copyEach } from './copy-each.js'
import { destinationOf } from './destination.js'
import { routingOf } from './routing-of.js'

/** The options of `retryTopic`. */
export interface RetryTopicOptions {
  /** The maximum number of retries of a record; from 0 to 2147483647. */
  readonly retries: number
  /** The delay before each retry; default none. */
  readonly backoff?: Backoff | undefined
  /** Default: the client's `retryTopic`, the only topic from which the client delivers retries. */
  readonly topic?: string | undefined
}

const known: KnownOptions<RetryTopicOptions> = { retries: true, backoff: true, topic: true }
const maxRetries = 2 ** 31 - 1

const lostOrder =
  'retryTopic cannot be used with keyFence, because a key loses its order on a retry topic; use redeliver'

/**
 * Publishes failed records to the retry topic while attempts remain.
 *
 * A record is completed when the broker has acknowledged its copy, so a crash between the two delivers it twice and never
 * loses it. A record goes on to the next step, still `Failed`, if it has no retries left, must not be retried, or if the
 * broker refuses its copy for good.
 *
 * @example
 * client.topic('orders', { onFail: pipe(retryTopic(client, { retries: 3 }), deadLetter(client)) })
 *
 * @throws ConfigurationError if the client has no retry topic and `topic` names none, or if an option is invalid.
 * `client.topic()` throws it if the topic has a `keyFence`.
 */
export function retryTopic(
  client: RoutingClient,
  options: RetryTopicOptions,
): OperatorFunction<Failed | Completed, Failed | Completed> {
  routingOf(client, 'retryTopic')
  checkOptions('retryTopic', options, known)
  const { retries, backoff } = options
  checkInteger('retryTopic: retries', retries, 0, maxRetries)
  checkBackoff('retryTopic', backoff)
  const { routing, headers, topic } = destinationOf(client, 'retryTopic', 'retryTopic', options.topic)

  const retriesBefore = ({ record }: Failed) => deliveryOf(record)?.origin?.retries ?? 0
  const isOver = (failed: Failed) => !failed.retryable || retriesBefore(failed) >= retries
  const retry = copyEach<Failed | Completed>({
    routing,
    topic,
    admits: failed => !isOver(failed) && !routing.keepsItsPlace(failed),
    instead: failed => {
      if (isOver(failed)) return failed
      // A step that is built when a failure arrives (by `groupBy`, `defer`) is not checked at registration.
      routing.unroutable(failed, new ConfigurationError(`topic '${failed.record.topic}': ${lostOrder}`))
      return undefined
    },
    // By the attempts that the copy's headers count, which exclude redeliveries without a topic (redeliver).
    delay: failed => delayBefore(retriesBefore(failed) + 2, backoff),
    copy: (failed, now, delay, without) => retryCopy(failed, routing, headers, topic, now, delay, without),
    acknowledged: failed => {
      if (routing.observed) {
        const { record, attempt, reason } = failed
        routing.event({ type: 'retried', ...recordPlace(record), attempt, reason })
      }
      return completed(failed, 'retried')
    },
    refused: failed => failed,
  })
  return failures => {
    if (routing.building?.keepsPlaces === true) throw new ConfigurationError(lostOrder)
    return retry(failures)
  }
}
