import { array } from '../schema/array.js'
import { defaulted, ignorable, since } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { nullableSince } from '../schema/nullable-since.js'
import { bool, bytes, int16, int32, nullableString, string } from '../schema/primitives.js'
import { struct } from '../schema/struct.js'

/**
 * Joins a group of the classic protocol. It is answered when all members have joined.
 *
 * From version 4 on a new member without an id gets MEMBER_ID_REQUIRED and the id to join with. Static members
 * (`groupInstanceId`, KIP-345) exist from version 5 on. Only the leader gets `members` with their metadata. From version 9
 * on the leader may be told to keep the assignment (`skipAssignment`, KIP-814).
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
    /** Empty for a new member. */
    memberId: string,
    groupInstanceId: since(5, nullableString, null),
    /** `consumer`. */
    protocolType: string,
    protocols: array(
      struct({
        name: string,
        /** For consumers, a `ConsumerSubscription`. */
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
