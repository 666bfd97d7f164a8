import { array } from '../schema/array.js'
import { between, defaulted, ignorable, since } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { int16, int32, int64, nullableString, offset, string, uuid } from '../schema/primitives.js'
import { struct } from '../schema/struct.js'
import { ZERO_UUID } from '../wire/uuid.js'

/**
 * Commits offsets of a group. The consumer protocol (KIP-848) needs version 9. From version 10 on topics have ids instead of
 * names.
 *
 * Source: OffsetCommitRequest.json and OffsetCommitResponse.json of Apache Kafka 4.4.0.
 */
export const offsetCommit = message({
  name: 'OffsetCommit',
  key: 8,
  versions: [2, 10],
  flexibleSince: 8,
  request: struct({
    groupId: string,
    /** The generation of the classic protocol, or the member epoch of the consumer protocol. */
    generationIdOrMemberEpoch: defaulted(int32, -1),
    memberId: defaulted(string, ''),
    groupInstanceId: since(7, nullableString, null),
    retentionTimeMs: ignorable(between(2, 4, int64, -1n)),
    topics: array(
      struct({
        name: ignorable(between(0, 9, string, '')),
        topicId: ignorable(since(10, uuid, ZERO_UUID)),
        partitions: array(
          struct({
            partitionIndex: int32,
            committedOffset: offset,
            committedLeaderEpoch: ignorable(since(6, int32, -1)),
            committedMetadata: nullableString,
          }),
        ),
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: ignorable(since(3, int32, 0)),
    topics: array(
      struct({
        name: ignorable(between(0, 9, string, '')),
        topicId: ignorable(since(10, uuid, ZERO_UUID)),
        partitions: array(struct({ partitionIndex: int32, errorCode: int16 })),
      }),
    ),
  }),
})

export type OffsetCommitRequest = RequestOf<typeof offsetCommit>
export type OffsetCommitResponse = ResponseOf<typeof offsetCommit>
