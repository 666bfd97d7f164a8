import type { OperatorFunction } from 'rxjs'
import { type Completed, completed, type Failed } from '../failure.js'
import { checkOptions, type KnownOptions } from '../options.js'
import { recordPlace } from '../record-place.js'
import type { RoutingClient } from '../routing.js'
import { deadLetterCopy } from './copy.js'
import { copyEach } from './copy-each.js'
import { destinationOf } from './destination.js'
import { routingOf } from './routing-of.js'

/** The options of `deadLetter`. */
export interface DeadLetterOptions {
  /** Default: the client's `dlqTopic`, the only topic that the client replays. */
  readonly topic?: string | undefined
}

const known: KnownOptions<DeadLetterOptions> = { topic: true }

/**
 * Publishes failed records to the DLQ topic.
 *
 * A record is completed when the broker has acknowledged its copy. If the broker refuses the copy for good, the record is
 * reported as unroutable and stays uncommitted, because it is stored nowhere else.
 *
 * @example
 * client.topic('orders', { onFail: deadLetter(client) })
 *
 * @throws ConfigurationError if the client has no DLQ topic and `topic` names none.
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
      // Made even if events have no subscriber, because the log counts dead letters.
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
