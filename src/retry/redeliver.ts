import { EMPTY, type OperatorFunction, of } from 'rxjs'
import type { Completed, Failed } from '../failure.js'
import { checkLimit, checkOptions, type KnownOptions } from '../options.js'
import { deliveryOf } from '../record.js'
import type { RoutingClient } from '../routing.js'
import { type Backoff, checkBackoff, delayBefore } from './backoff.js'
import { eachFailed } from './each-failed.js'
import { routingOf } from './routing-of.js'

/** The options of `redeliver`. */
export interface RedeliverOptions {
  /** The maximum number of deliveries of a record here, the first one included; an integer ≥ 1, or `Infinity`. */
  readonly attempts: number
  /** The delay before each further attempt; default none. */
  readonly backoff?: Backoff | undefined
}

const known: KnownOptions<RedeliverOptions> = { attempts: true, backoff: true }

/**
 * Delivers failed records again here, without a topic, while attempts remain.
 *
 * The record keeps its place: the committed position waits for it, while later records of its partition are delivered. After
 * a crash or a rebalance its count starts again. A record without attempts left, or one that must not be retried, goes on to
 * the next step, still `Failed`. Meant for short outages; use `retryTopic` for long ones.
 *
 * @example
 * client.topic('orders', { onFail: pipe(redeliver(client, { attempts: 3, backoff: fixed(200) }), deadLetter(client)) })
 *
 * @throws ConfigurationError if an option is invalid.
 */
export function redeliver(
  client: RoutingClient,
  options: RedeliverOptions,
): OperatorFunction<Failed | Completed, Failed | Completed> {
  const port = routingOf(client, 'redeliver')
  checkOptions('redeliver', options, known)
  const { attempts, backoff } = options
  checkLimit('redeliver: attempts', attempts)
  checkBackoff('redeliver', backoff)

  return eachFailed(failed => {
    const deliveredHere = 1 + (deliveryOf(failed.record)?.redeliveries ?? failed.attempt - 1)
    if (!failed.retryable || deliveredHere >= attempts) return of(failed)
    port.redeliver(failed, delayBefore(failed.attempt + 1, backoff))
    return EMPTY
  })
}
