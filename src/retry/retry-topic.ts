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

export interface RetryTopicOptions {
  /** How often a record is tried again, at most; from 0 to 2147483647. */
  readonly retries: number
  /** The delay before each retry; default none. */
  readonly backoff?: Backoff | undefined
  /** Default: the client's `retryTopic`. A client delivers retries from that one alone. */
  readonly topic?: string | undefined
}

const known: KnownOptions<RetryTopicOptions> = { retries: true, backoff: true, topic: true }
const mostRetries = 2 ** 31 - 1

const lostOrder =
  'retryTopic cannot be used with keyFence, because a key loses its order on a retry topic; use redeliver'

/**
 * Publishes failed records to the retry topic while attempts remain.
 *
 * The copy is acknowledged by the broker before its source counts as completed, so a crash between the two delivers
 * twice and never loses. A record whose attempts are used up, that is not to be tried again, or whose copy the broker
 * refuses for good passes on, still `Failed`, to the next step.
 *
 * @example
 * client.topic('orders', { onFail: pipe(retryTopic(client, { retries: 3 }), deadLetter(client)) })
 *
 * @throws ConfigurationError if the client has no retry topic and `topic` names none, or an option is invalid. So does
 * `client.topic()`, if the topic has a `keyFence`.
 */
export function retryTopic(
  client: RoutingClient,
  options: RetryTopicOptions,
): OperatorFunction<Failed | Completed, Failed | Completed> {
  routingOf(client, 'retryTopic')
  checkOptions('retryTopic', options, known)
  const { retries, backoff } = options
  checkInteger('retryTopic: retries', retries, 0, mostRetries)
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
      // A step that is built as failures come (by `groupBy`, `defer`) is built after the topic was registered.
      routing.unroutable(failed, new ConfigurationError(`topic '${failed.record.topic}': ${lostOrder}`))
      return undefined
    },
    // The copy's attempt: tries without a topic (redeliver) are not counted in its headers.
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
