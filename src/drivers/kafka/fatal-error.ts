import type { ConsumeRequest } from '../../driver.js'
import { ConnectionError, FetchError, isRxMikaError, type RxMikaError } from '../../errors.js'
import { ProtocolFailure } from './cluster/protocol-failure.js'
import { cannotReadAsGroup, cannotReadTopic } from './missing-right.js'
import { RefusedConnectionError, UnsupportedRequestError } from './transport/failures.js'

/** The error that ends consuming if retrying cannot help; undefined for all other failures. */
export function fatalError(error: unknown, { group, topics }: ConsumeRequest): RxMikaError | undefined {
  if (isRxMikaError(error, 'RXMIKA_CONFIGURATION')) return error
  if (error instanceof RefusedConnectionError || error instanceof UnsupportedRequestError) {
    return refusedConnection(error)
  }
  if (!(error instanceof ProtocolFailure) || !error.error.has('notAuthorized')) return undefined
  if (error.error.name === 'GROUP_AUTHORIZATION_FAILED' && group !== undefined) {
    return new FetchError(cannotReadAsGroup(group), { cause: error })
  }
  const [topic] = topics
  return new FetchError(cannotReadTopic(topics), { cause: error, ...(topics.length === 1 && { topic }) })
}

/** The error for a refused connection, for which retrying cannot help. */
export function refusedConnection(cause: Error): ConnectionError {
  return new ConnectionError(`the brokers refuse this client: ${cause.message}`, { cause })
}
