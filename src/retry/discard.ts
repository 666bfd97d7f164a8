import { type OperatorFunction, of } from 'rxjs'
import { type Completed, completed, type Failed } from '../failure.js'
import { eachFailed } from './each-failed.js'

/**
 * Gives failed records up: they are completed without a copy.
 *
 * The client reports each in a `discarded` event, with the reason it failed.
 *
 * @example
 * client.topic('page-views', { onFail: discard() })
 */
export function discard(): OperatorFunction<Failed | Completed, Completed> {
  return eachFailed(failed => of(completed(failed, 'discarded')))
}
