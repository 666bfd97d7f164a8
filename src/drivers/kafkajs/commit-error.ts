import { CommitError, isRxMikaError } from '../../errors.js'
import { cannotReadAsGroup } from './missing-right.js'
import { errorType, isNotAuthorized, messageOf } from './protocol-error.js'

export function commitError(error: unknown, group: string): CommitError {
  if (isRxMikaError(error, 'RXMIKA_COMMIT')) return error
  const type = errorType(error)
  const why =
    type === 'GROUP_AUTHORIZATION_FAILED'
      ? cannotReadAsGroup(group)
      : type === 'TOPIC_AUTHORIZATION_FAILED'
        ? "the client's user needs READ on every topic it commits (TOPIC_AUTHORIZATION_FAILED)"
        : messageOf(error)
  return new CommitError(`group '${group}' could not commit: ${why}`, {
    cause: error,
    retriable: !isNotAuthorized(error) && type !== 'INVALID_GROUP_ID',
  })
}

/** The group no longer knows the member: nothing it holds is its own any more. */
export function isKicked(error: unknown): boolean {
  const type = errorType(error)
  return type === 'UNKNOWN_MEMBER_ID' || type === 'FENCED_INSTANCE_ID'
}
