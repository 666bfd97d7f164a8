import { array } from '../schema/array.js'
import { ignorable, since } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { bytes, int16, int32, nullableString, string } from '../schema/primitives.js'
import { struct } from '../schema/struct.js'

/**
 * Gets a member's assignment after JoinGroup. The leader sends the assignments of all members.
 *
 * From version 5 on `protocolType` and `protocolName` must be the group's; otherwise the answer is INCONSISTENT_GROUP_PROTOCOL.
 *
 * Source: SyncGroupRequest.json and SyncGroupResponse.json of Apache Kafka 4.4.0.
 */
export const syncGroup = message({
  name: 'SyncGroup',
  key: 14,
  versions: [0, 5],
  flexibleSince: 4,
  request: struct({
    groupId: string,
    generationId: int32,
    memberId: string,
    groupInstanceId: since(3, nullableString, null),
    protocolType: ignorable(since(5, nullableString, null)),
    protocolName: ignorable(since(5, nullableString, null)),
    assignments: array(
      struct({
        memberId: string,
        /** For consumers, a `ConsumerAssignment`. */
        assignment: bytes,
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: ignorable(since(1, int32, 0)),
    errorCode: int16,
    protocolType: ignorable(since(5, nullableString, null)),
    protocolName: ignorable(since(5, nullableString, null)),
    assignment: bytes,
  }),
})

export type SyncGroupRequest = RequestOf<typeof syncGroup>
export type SyncGroupResponse = ResponseOf<typeof syncGroup>
