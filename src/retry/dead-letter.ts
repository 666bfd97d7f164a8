import type { OperatorFunction } from 'rxjs'
import { type Completed, completed, type Failed } from '../failure.js'
import { checkOptions, type KnownOptions } from '../options.js'
import { recordPlace } from '../record-place.js'
import type { RoutingClient } from '../routing.js'
import { deadLetterCopy } from './copy.js'
import { copyEach } from './copy-each.js'
import { destinationOf } from './destination.js'
import { routingOf } from './routing-of.js'

export interface DeadLetterOptions {
  /** Default: the client's `dlqTopic`. A client replays from that one alone. */
  readonly topic?: string | undefined
}

const known: KnownOptions<DeadLetterOptions> = { topic: true }

/**
 * Publishes failed records to the DLQ topic.
 *
 * A record is completed when the broker has acknowledged its copy, not before. One that the broker refuses for good is
 * reported as unroutable and stays uncommitted: it is in no other place.
 *
 * @example
 * client.topic('orders', { onFail: deadLetter(client) })
 *
 * @throws ConfigurationError when the client has no DLQ topic and `topic` names none.
 */
export function deadLetter(
  client: RoutingClient,
  options: DeadLetterOptions = {},
): OperatorFunction<Failed | Completed, Completed> {
  routingOf(client, 'deadLetter')
  checkOptions('deadLetter', options, known)
  const { routing, headers, topic } = destinationOf(client, 'deadLetter', 'dlqTopic', options.topic)

  return copyEach<Completed>({
    routing,
    topic,
    admits: failed => routing.fenceIsFull(failed) === undefined,
    instead: failed => {
      routing.unroutable(failed, routing.fenceIsFull(failed))
      return undefined
    },
    delay: () => 0,
    copy: (failed, now, _delay, without) => deadLetterCopy(failed, routing, headers, topic, now, without),
    acknowledged: failed => {
      // Observed or not: the log counts them.
      const { record, attempt, reason } = failed
      routing.event({ type: 'dead-lettered', ...recordPlace(record), attempt, reason })
      return completed(failed, 'dead-lettered')
    },
    refused: (failed, cause) => {
      routing.unroutable(failed, cause)
      return undefined
    },
  })
}
