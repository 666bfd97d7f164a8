import { CommitError, isRxMikaError } from '../../errors.js'
import { errorType, isNotAuthorized, messageOf } from './protocol-error.js'

export function commitError(error: unknown, group: string): CommitError {
  if (isRxMikaError(error, 'RXMIKA_COMMIT')) return error
  return new CommitError(`group '${group}' could not commit: ${messageOf(error)}`, {
    cause: error,
    retriable: !isNotAuthorized(error) && errorType(error) !== 'INVALID_GROUP_ID',
  })
}

/** The group no longer knows the member: nothing it holds is its own any more. */
export function isKicked(error: unknown): boolean {
  const type = errorType(error)
  return type === 'UNKNOWN_MEMBER_ID' || type === 'FENCED_INSTANCE_ID'
}
