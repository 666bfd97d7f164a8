import { array } from '../schema/array.js'
import { defaulted, ignorable, since } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { nullableSince } from '../schema/nullable-since.js'
import { bool, bytes, int16, int32, nullableString, string } from '../schema/primitives.js'
import { struct } from '../schema/struct.js'

/**
 * Joins a group of the classic protocol; answered when all members have.
 *
 * From version 4 on a newcomer without an id is answered MEMBER_ID_REQUIRED and the id to join with. Static members
 * (`groupInstanceId`, KIP-345) from version 5 on. The leader alone is given `members`, with their metadata; from
 * version 9 on it may be told to leave the assignment as it is (`skipAssignment`, KIP-814).
 *
 * Source: JoinGroupRequest.json and JoinGroupResponse.json of Apache Kafka 4.4.0.
 */
export const joinGroup = message({
  name: 'JoinGroup',
  key: 11,
  versions: [2, 9],
  flexibleSince: 6,
  request: struct({
    groupId: string,
    sessionTimeoutMs: int32,
    rebalanceTimeoutMs: int32,
    /** Empty for a newcomer. */
    memberId: string,
    groupInstanceId: since(5, nullableString, null),
    /** `consumer`. */
    protocolType: string,
    protocols: array(
      struct({
        name: string,
        /** A `ConsumerSubscription`, for consumers. */
        metadata: bytes,
      }),
    ),
    reason: ignorable(since(8, nullableString, null)),
  }),
  response: struct({
    throttleTimeMs: defaulted(int32, 0),
    errorCode: int16,
    generationId: defaulted(int32, -1),
    protocolType: ignorable(since(7, nullableString, null)),
    protocolName: nullableSince(7, nullableString),
    leader: string,
    skipAssignment: since(9, bool, false),
    memberId: string,
    members: array(
      struct({
        memberId: string,
        groupInstanceId: ignorable(since(5, nullableString, null)),
        metadata: bytes,
      }),
    ),
  }),
})

export type JoinGroupRequest = RequestOf<typeof joinGroup>
export type JoinGroupResponse = ResponseOf<typeof joinGroup>
