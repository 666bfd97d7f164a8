import { EMPTY, type OperatorFunction } from 'rxjs'
import { ClientClosedError } from '../errors.js'
import type { Completed, Failed } from '../failure.js'
import { placeName } from '../place.js'
import type { RoutingClient } from '../routing.js'
import { eachFailed } from './each-failed.js'
import { messageOf } from './reason.js'
import { routingOf } from './routing-of.js'

/**
 * Closes the client at the first failed record.
 *
 * The record is not completed: its offset stays uncommitted, and it is delivered again to the next client that starts.
 * The streams error with a `ClientClosedError` whose `cause` is the reason of the failure; it is the last one on `errors`.
 *
 * @example
 * client.topic('ledger', { onFail: halt(client) })
 */
export function halt(client: RoutingClient): OperatorFunction<Failed | Completed, Completed> {
  const port = routingOf(client, 'halt')
  return eachFailed<Completed>(failed => {
    const where = placeName(failed.record.source)
    port.halt(
      new ClientClosedError(`halted: the record at ${where} failed: ${messageOf(failed.reason)}`, {
        cause: failed.reason,
      }),
    )
    return EMPTY
  })
}
