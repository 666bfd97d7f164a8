import type { ConsumeRequest } from '../../driver.js'
import { ConfigurationError, ConnectionError, FetchError, isRxMikaError, type RxMikaError } from '../../errors.js'
import { cannotReadAsGroup, cannotReadTopic } from './missing-right.js'
import { errorType, isNotAuthorized, isRefusal, messageOf, messageWithBroker } from './protocol-error.js'

/**
 * The error that ends consuming, for what trying again does not change; undefined for everything else.
 *
 * @param group As the brokers know it, also where the client has none.
 */
export function fatalConsumeError(error: unknown, request: ConsumeRequest, group: string): RxMikaError | undefined {
  if (isRxMikaError(error, 'RXMIKA_CONFIGURATION')) return error
  const type = errorType(error)
  if (isRefusal(error)) {
    return new ConnectionError(`the brokers refuse us: ${messageWithBroker(error)}`, { cause: error })
  }
  if (type === 'GROUP_AUTHORIZATION_FAILED') return new FetchError(cannotReadAsGroup(group), { cause: error })
  if (type === 'TOPIC_AUTHORIZATION_FAILED') {
    const [topic] = request.topics
    const only = request.topics.length === 1 ? { topic } : {}
    return new FetchError(cannotReadTopic(request.topics), { cause: error, ...only })
  }
  if (isNotAuthorized(error)) {
    return new FetchError(`not authorized to read (${type}) one of: ${request.topics.join(', ')}`, { cause: error })
  }
  if (type !== undefined && settingsTypes.has(type)) {
    return new ConfigurationError(`the brokers refuse the consumer's settings: ${messageOf(error)}`, { cause: error })
  }
  if (/compression (codec|algorithm)|not implemented/i.test(messageOf(error))) {
    return new FetchError(`records are in a compression codec that is not available: ${messageOf(error)}`, {
      cause: error,
    })
  }
  return undefined
}

const settingsTypes = new Set(['INVALID_SESSION_TIMEOUT', 'INVALID_GROUP_ID', 'INVALID_TOPIC_EXCEPTION'])

export function troubleOf(error: unknown, what: string): RxMikaError {
  return isRxMikaError(error) ? error : new FetchError(`${what}: ${messageOf(error)}`, { cause: error })
}
