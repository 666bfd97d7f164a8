import { array } from '../schema/array.js'
import { ignorable, since } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { bool, bytes, int16, int32, nullableString, string } from '../schema/primitives.js'
import { struct } from '../schema/struct.js'
import { NO_OPERATIONS } from './metadata.js'

/**
 * Groups of the classic protocol, with their members and assignments.
 *
 * Source: DescribeGroupsRequest.json and DescribeGroupsResponse.json of Apache Kafka 4.4.0.
 */
export const describeGroups = message({
  name: 'DescribeGroups',
  key: 15,
  versions: [0, 6],
  flexibleSince: 5,
  request: struct({
    groups: array(string),
    includeAuthorizedOperations: since(3, bool, false),
  }),
  response: struct({
    throttleTimeMs: ignorable(since(1, int32, 0)),
    groups: array(
      struct({
        errorCode: int16,
        errorMessage: ignorable(since(6, nullableString, null)),
        groupId: string,
        groupState: string,
        protocolType: string,
        protocolData: string,
        members: array(
          struct({
            memberId: string,
            groupInstanceId: ignorable(since(4, nullableString, null)),
            clientId: string,
            clientHost: string,
            memberMetadata: bytes,
            memberAssignment: bytes,
          }),
        ),
        authorizedOperations: since(3, int32, NO_OPERATIONS),
      }),
    ),
  }),
})

export type DescribeGroupsRequest = RequestOf<typeof describeGroups>
export type DescribeGroupsResponse = ResponseOf<typeof describeGroups>
