import { array } from '../schema/array.js'
import { between, defaulted, ignorable, since } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { int16, int32, nullableString, string } from '../schema/primitives.js'
import { struct } from '../schema/struct.js'

/**
 * Leaves a group of the classic protocol. From version 3 on several members at once, and static ones.
 *
 * Source: LeaveGroupRequest.json and LeaveGroupResponse.json of Apache Kafka 4.4.0.
 */
export const leaveGroup = message({
  name: 'LeaveGroup',
  key: 13,
  versions: [0, 5],
  flexibleSince: 4,
  request: struct({
    groupId: string,
    memberId: between(0, 2, string, ''),
    members: since(
      3,
      array(
        struct({
          memberId: string,
          groupInstanceId: defaulted(nullableString, null),
          reason: ignorable(since(5, nullableString, null)),
        }),
      ),
      [],
    ),
  }),
  response: struct({
    throttleTimeMs: ignorable(since(1, int32, 0)),
    errorCode: int16,
    members: since(3, array(struct({ memberId: string, groupInstanceId: nullableString, errorCode: int16 })), []),
  }),
})

export type LeaveGroupRequest = RequestOf<typeof leaveGroup>
export type LeaveGroupResponse = ResponseOf<typeof leaveGroup>

/** A member that leaves. */
export interface LeavingMember {
  readonly memberId: string
  readonly groupInstanceId: string | null
}

/**
 * A request for one member, in the form of the given version. Static members can leave from version 3 on.
 *
 * @throws RangeError for a static member before version 3
 */
export function leaveOneMember(
  groupId: string,
  { memberId, groupInstanceId }: LeavingMember,
  reason: string | null,
  version: number,
): LeaveGroupRequest {
  if (version >= 3) return { groupId, members: [{ memberId, groupInstanceId, reason }] }
  if (groupInstanceId !== null)
    throw new RangeError(`a static member needs version 3 of LeaveGroup to leave (got ${version})`)
  return { groupId, memberId }
}

/** The error code of the request, or of its one member. */
export function leftErrorCode(response: LeaveGroupResponse): number {
  return response.errorCode === 0 ? (response.members[0]?.errorCode ?? 0) : response.errorCode
}
