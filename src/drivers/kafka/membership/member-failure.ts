import { ConfigurationError, FetchError, type RxMikaError } from '../../../errors.js'
import type { ProtocolFailure } from '../cluster/protocol-failure.js'
import { cannotReadAsGroup } from '../missing-right.js'
import type { MemberSettings } from './member.js'

/** The error that ends reading with a group, for a refusal that a retry would meet again; undefined for others. */
export function fatalFailure(
  failure: ProtocolFailure,
  { group, sessionTimeout }: MemberSettings,
): RxMikaError | undefined {
  const { error } = failure
  switch (error.name) {
    case 'GROUP_AUTHORIZATION_FAILED':
      return new FetchError(cannotReadAsGroup(group), { cause: failure })
    case 'INVALID_GROUP_ID':
      return new ConfigurationError(`the brokers refuse the group's name '${group}'; see the option group`, {
        cause: failure,
      })
    case 'INVALID_SESSION_TIMEOUT':
      return new ConfigurationError(
        `the brokers refuse a sessionTimeout of ${sessionTimeout} ms; it must be within their ` +
          'group.min.session.timeout.ms and group.max.session.timeout.ms',
        { cause: failure },
      )
    default:
      return undefined
  }
}
