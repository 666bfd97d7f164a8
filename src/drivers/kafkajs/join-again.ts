import { errorType, isConnectionFailure, isRefusal, isRetriable, messageOf } from './protocol-error.js'

/**
 * kafkajs gives up joining, and with it the consumer, for a coordinator that is loading, moving or away. An error of
 * this type has it look for the coordinator and join again.
 */
export function joinAgain(error: unknown): unknown {
  if (errorType(error) === 'UNKNOWN_MEMBER_ID' || isRefusal(error)) return error
  if (!isConnectionFailure(error) && !isRetriable(error)) return error
  return Object.assign(new Error(messageOf(error), { cause: error }), { type: 'NOT_COORDINATOR_FOR_GROUP' })
}
