import { array, nullableArray } from '../schema/array.js'
import { defaulted, since } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { int16, int32, nullableString, string, uuid } from '../schema/primitives.js'
import { nullableStruct, struct } from '../schema/struct.js'

/** Special values of a member's epoch: it joins, it leaves, or, as a static member, it leaves and keeps its place. */
export const memberEpoch = { join: 0, leave: -1, leaveStatic: -2 } as const

/**
 * The only request of the consumer protocol (KIP-848): a member joins, stays, takes and gives up partitions, and leaves by it.
 *
 * In the request null, and -1 for the time-out, mean "unchanged since the last heartbeat". Brokers of 3.x list version 0 but
 * do not serve it. From version 1 on the client chooses its member id (KIP-1082).
 *
 * Source: ConsumerGroupHeartbeatRequest.json and ConsumerGroupHeartbeatResponse.json of Apache Kafka 4.4.0.
 */
export const consumerGroupHeartbeat = message({
  name: 'ConsumerGroupHeartbeat',
  key: 68,
  versions: [0, 1],
  flexibleSince: 0,
  request: struct({
    groupId: string,
    memberId: string,
    memberEpoch: int32,
    instanceId: defaulted(nullableString, null),
    rackId: defaulted(nullableString, null),
    rebalanceTimeoutMs: defaulted(int32, -1),
    subscribedTopicNames: defaulted(nullableArray(string), null),
    /** In the syntax of RE2/J. */
    subscribedTopicRegex: since(1, nullableString, null),
    serverAssignor: defaulted(nullableString, null),
    /** The partitions that the member has. Must be empty when it joins. */
    topicPartitions: defaulted(nullableArray(struct({ topicId: uuid, partitions: array(int32) })), null),
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: int16,
    errorMessage: defaulted(nullableString, null),
    memberId: defaulted(nullableString, null),
    memberEpoch: int32,
    heartbeatIntervalMs: int32,
    /** Null: unchanged. */
    assignment: defaulted(
      nullableStruct(struct({ topicPartitions: array(struct({ topicId: uuid, partitions: array(int32) })) })),
      null,
    ),
  }),
})

export type ConsumerGroupHeartbeatRequest = RequestOf<typeof consumerGroupHeartbeat>
export type ConsumerGroupHeartbeatResponse = ResponseOf<typeof consumerGroupHeartbeat>
