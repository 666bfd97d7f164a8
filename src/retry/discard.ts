import { type OperatorFunction, of } from 'rxjs'
import { type Completed, completed, type Failed } from '../failure.js'
import { eachFailed } from './each-failed.js'

/**
 * Gives failed records up: completes them without a copy.
 *
 * The client emits a `discarded` event for each, with the reason of the failure.
 *
 * @example
 * client.topic('page-views', { onFail: discard() })
 */
export function discard(): OperatorFunction<Failed | Completed, Completed> {
  return eachFailed(failed => of(completed(failed, 'discarded')))
}
