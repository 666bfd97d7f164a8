import { array, nullableArray } from '../schema/array.js'
import { between, defaulted, ignorable, since } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { nullableSince } from '../schema/nullable-since.js'
import { bool, int16, int32, nullableString, string, uuid } from '../schema/primitives.js'
import { struct } from '../schema/struct.js'
import { ZERO_UUID } from '../wire/uuid.js'

/** Means "not requested" in fields of authorized operations. */
export const NO_OPERATIONS = -2_147_483_648

/**
 * Brokers, topics, partitions and leaders.
 *
 * Topics are requested by name, or from version 12 on by id with null as the name; null instead of a list requests all. A
 * broker may create missing topics that are requested: set `allowAutoTopicCreation` to false (version 4) to prevent that.
 * Topic ids exist from version 10 on, leader epochs from 7 on.
 *
 * Source: MetadataRequest.json and MetadataResponse.json of Apache Kafka 4.4.0.
 */
export const metadata = message({
  name: 'Metadata',
  key: 3,
  versions: [1, 13],
  flexibleSince: 9,
  request: struct({
    topics: nullableArray(
      struct({
        topicId: ignorable(since(10, uuid, ZERO_UUID)),
        name: nullableSince(10, nullableString),
      }),
    ),
    allowAutoTopicCreation: since(4, bool, true),
    includeClusterAuthorizedOperations: between(8, 10, bool, false),
    includeTopicAuthorizedOperations: since(8, bool, false),
  }),
  response: struct({
    throttleTimeMs: ignorable(since(3, int32, 0)),
    brokers: array(
      struct({
        nodeId: int32,
        host: string,
        port: int32,
        rack: defaulted(nullableString, null),
      }),
    ),
    clusterId: ignorable(since(2, nullableString, null)),
    controllerId: defaulted(int32, -1),
    topics: array(
      struct({
        errorCode: int16,
        name: nullableSince(12, nullableString),
        topicId: ignorable(since(10, uuid, ZERO_UUID)),
        isInternal: defaulted(bool, false),
        partitions: array(
          struct({
            errorCode: int16,
            partitionIndex: int32,
            leaderId: int32,
            leaderEpoch: ignorable(since(7, int32, -1)),
            replicaNodes: array(int32),
            isrNodes: array(int32),
            offlineReplicas: ignorable(since(5, array(int32), [])),
          }),
        ),
        topicAuthorizedOperations: since(8, int32, NO_OPERATIONS),
      }),
    ),
    clusterAuthorizedOperations: between(8, 10, int32, NO_OPERATIONS),
    errorCode: ignorable(since(13, int16, 0)),
  }),
})

export type MetadataRequest = RequestOf<typeof metadata>
export type MetadataResponse = ResponseOf<typeof metadata>
