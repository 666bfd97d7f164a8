import { array } from '../schema/array.js'
import { defaulted, ignorable, since } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { int8, int16, int32, int64, offset, string } from '../schema/primitives.js'
import { struct } from '../schema/struct.js'

/** Requests the end of the partition; with read committed, the last stable offset. */
export const LATEST = -1n
/** Requests the first offset that still exists. */
export const EARLIEST = -2n

/**
 * Offsets by timestamp: the first record at or after it, or `LATEST`, or `EARLIEST`.
 *
 * An `offset` of -1 in the answer means that no record is at or after the timestamp.
 *
 * Source: ListOffsetsRequest.json and ListOffsetsResponse.json of Apache Kafka 4.4.0.
 */
export const listOffsets = message({
  name: 'ListOffsets',
  key: 2,
  versions: [1, 10],
  flexibleSince: 6,
  request: struct({
    replicaId: defaulted(int32, -1),
    isolationLevel: since(2, int8, 0),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: int32,
            currentLeaderEpoch: ignorable(since(4, int32, -1)),
            timestamp: int64,
          }),
        ),
      }),
    ),
    timeoutMs: ignorable(since(10, int32, 0)),
  }),
  response: struct({
    throttleTimeMs: ignorable(since(2, int32, 0)),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: int32,
            errorCode: int16,
            timestamp: defaulted(int64, -1n),
            offset: defaulted(offset, -1),
            leaderEpoch: since(4, int32, -1),
          }),
        ),
      }),
    ),
  }),
})

export type ListOffsetsRequest = RequestOf<typeof listOffsets>
export type ListOffsetsResponse = ResponseOf<typeof listOffsets>
