import { array, nullableArray } from '../schema/array.js'
import { defaulted, ignorable, since } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { int16, int32, int64, nullableString, offset, string, uuid } from '../schema/primitives.js'
import { struct } from '../schema/struct.js'

/**
 * The positions of share groups (KIP-932): for each partition the first offset that is not acknowledged.
 *
 * Source: DescribeShareGroupOffsetsRequest.json and DescribeShareGroupOffsetsResponse.json of Apache Kafka 4.4.0.
 */
export const describeShareGroupOffsets = message({
  name: 'DescribeShareGroupOffsets',
  key: 90,
  versions: [0, 1],
  flexibleSince: 0,
  request: struct({
    groups: array(
      struct({
        groupId: string,
        /** Null: all topics of the group. */
        topics: nullableArray(struct({ topicName: string, partitions: array(int32) })),
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: int32,
    groups: array(
      struct({
        groupId: string,
        topics: array(
          struct({
            topicName: string,
            topicId: uuid,
            partitions: array(
              struct({
                partitionIndex: int32,
                startOffset: offset,
                leaderEpoch: int32,
                /** -1: unknown. */
                lag: ignorable(since(1, int64, -1n)),
                errorCode: int16,
                errorMessage: defaulted(nullableString, null),
              }),
            ),
          }),
        ),
        errorCode: int16,
        errorMessage: defaulted(nullableString, null),
      }),
    ),
  }),
})

export type DescribeShareGroupOffsetsRequest = RequestOf<typeof describeShareGroupOffsets>
export type DescribeShareGroupOffsetsResponse = ResponseOf<typeof describeShareGroupOffsets>
