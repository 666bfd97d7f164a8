import { array } from '../schema/array.js'
import { defaulted, ignorable, since } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { int16, int32, offset, string } from '../schema/primitives.js'
import { struct } from '../schema/struct.js'

/**
 * Where a leader epoch of a partition ended. A position beyond that, read under this epoch, was truncated (KIP-320).
 *
 * Source: OffsetForLeaderEpochRequest.json and OffsetForLeaderEpochResponse.json of Apache Kafka 4.4.0.
 */
export const offsetForLeaderEpoch = message({
  name: 'OffsetForLeaderEpoch',
  key: 23,
  versions: [2, 4],
  flexibleSince: 4,
  request: struct({
    /** -1: a consumer, which sees nothing above the high watermark. */
    replicaId: ignorable(since(3, int32, -1)),
    topics: array(
      struct({
        topic: string,
        partitions: array(
          struct({
            partition: int32,
            currentLeaderEpoch: defaulted(int32, -1),
            /** The epoch whose end is requested. */
            leaderEpoch: int32,
          }),
        ),
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: defaulted(int32, 0),
    topics: array(
      struct({
        topic: string,
        partitions: array(
          struct({
            errorCode: int16,
            partition: int32,
            /** The largest epoch that is not above the requested one; -1 with an offset of -1 if none is known. */
            leaderEpoch: defaulted(int32, -1),
            endOffset: defaulted(offset, -1),
          }),
        ),
      }),
    ),
  }),
})

export type OffsetForLeaderEpochRequest = RequestOf<typeof offsetForLeaderEpoch>
export type OffsetForLeaderEpochResponse = ResponseOf<typeof offsetForLeaderEpoch>
