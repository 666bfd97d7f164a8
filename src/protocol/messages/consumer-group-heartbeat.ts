import { array, nullableArray } from '../schema/array.js'
import { defaulted, since } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { int16, int32, nullableString, string, uuid } from '../schema/primitives.js'
import { nullableStruct, struct } from '../schema/struct.js'

/** Instead of a member's epoch: it joins, or leaves; a static member leaves for now, and its place is kept. */
export const memberEpoch = { join: 0, leave: -1, leaveStatic: -2 } as const

/**
 * The one request of the consumer protocol (KIP-848): joins, stays, takes and gives up partitions, and leaves.
 *
 * In the request null (and -1 for the time-out) means "as in the heartbeat before". Version 0 is not served by brokers
 * of 3.x that list it; version 1 lets the client make its member id (KIP-1082).
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
    /** RE2/J. */
    subscribedTopicRegex: since(1, nullableString, null),
    serverAssignor: defaulted(nullableString, null),
    /** What the member has. Must be empty when it joins. */
    topicPartitions: defaulted(nullableArray(struct({ topicId: uuid, partitions: array(int32) })), null),
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: int16,
    errorMessage: defaulted(nullableString, null),
    memberId: defaulted(nullableString, null),
    memberEpoch: int32,
    heartbeatIntervalMs: int32,
    /** Null: as it was. */
    assignment: defaulted(
      nullableStruct(struct({ topicPartitions: array(struct({ topicId: uuid, partitions: array(int32) })) })),
      null,
    ),
  }),
})

export type ConsumerGroupHeartbeatRequest = RequestOf<typeof consumerGroupHeartbeat>
export type ConsumerGroupHeartbeatResponse = ResponseOf<typeof consumerGroupHeartbeat>
