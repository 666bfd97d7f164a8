import { array } from '../schema/array.js'
import { defaulted, ignorable, since } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { bool, int8, int16, int32, nullableString, string, uuid } from '../schema/primitives.js'
import { struct } from '../schema/struct.js'
import { NO_OPERATIONS } from './metadata.js'

const assignment = struct({
  topicPartitions: array(struct({ topicId: uuid, topicName: string, partitions: array(int32) })),
})

/**
 * Groups of the consumer protocol (KIP-848), with their members and assignments.
 *
 * Source: ConsumerGroupDescribeRequest.json and ConsumerGroupDescribeResponse.json of Apache Kafka 4.4.0.
 */
export const consumerGroupDescribe = message({
  name: 'ConsumerGroupDescribe',
  key: 69,
  versions: [0, 1],
  flexibleSince: 0,
  request: struct({
    groupIds: array(string),
    includeAuthorizedOperations: defaulted(bool, false),
  }),
  response: struct({
    throttleTimeMs: int32,
    groups: array(
      struct({
        errorCode: int16,
        errorMessage: defaulted(nullableString, null),
        groupId: string,
        groupState: string,
        groupEpoch: int32,
        assignmentEpoch: int32,
        assignorName: string,
        members: array(
          struct({
            memberId: string,
            instanceId: defaulted(nullableString, null),
            rackId: defaulted(nullableString, null),
            memberEpoch: int32,
            clientId: string,
            clientHost: string,
            subscribedTopicNames: array(string),
            subscribedTopicRegex: defaulted(nullableString, null),
            assignment,
            targetAssignment: assignment,
            /** -1: unknown; 0: classic; 1: consumer. */
            memberType: ignorable(since(1, int8, -1)),
          }),
        ),
        authorizedOperations: defaulted(int32, NO_OPERATIONS),
      }),
    ),
  }),
})

export type ConsumerGroupDescribeRequest = RequestOf<typeof consumerGroupDescribe>
export type ConsumerGroupDescribeResponse = ResponseOf<typeof consumerGroupDescribe>
