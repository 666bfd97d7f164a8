import { EMPTY, type OperatorFunction, of } from 'rxjs'
import type { Completed, Failed } from '../failure.js'
import { checkLimit, checkOptions, type KnownOptions } from '../options.js'
import { deliveryOf } from '../record.js'
import type { RoutingClient } from '../routing.js'
import { type Backoff, checkBackoff, delayBefore } from './backoff.js'
import { eachFailed } from './each-failed.js'
import { routingOf } from './routing-of.js'

export interface RedeliverOptions {
  /** How often a record is delivered here altogether, the first time included; a whole number of at least 1, or `Infinity`. */
  readonly attempts: number
  /** The delay before each further attempt; default none. */
  readonly backoff?: Backoff | undefined
}

const known: KnownOptions<RedeliverOptions> = { attempts: true, backoff: true }

/**
 * Delivers failed records again here, without a topic, while attempts remain.
 *
 * The record keeps its place: the committed position waits for it, while later records of its partition go on. A crash
 * or a rebalance begins its count anew. A record whose attempts are used up or that is not to be tried again passes on,
 * still `Failed`, to the next step. For short troubles; a retry topic is the better place for long ones.
 *
 * @example
 * client.topic('orders', { onFail: pipe(redeliver(client, { attempts: 3, backoff: fixed(200) }), deadLetter(client)) })
 *
 * @throws ConfigurationError when an option is invalid.
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
