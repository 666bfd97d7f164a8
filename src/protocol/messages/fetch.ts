import { array, nullableArray } from '../schema/array.js'
import { between, defaulted, ignorable, since, tagged } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { int8, int16, int32, offset, records, string, uuid } from '../schema/primitives.js'
import { optionalStruct, struct } from '../schema/struct.js'
import { ZERO_UUID } from '../wire/uuid.js'
import { endpoints, leader } from './leader.js'

/** The `sessionEpoch` of a request outside any session, with `sessionId` 0. */
export const NO_SESSION_EPOCH = -1

export const isolationLevel = { readUncommitted: 0, readCommitted: 1 } as const

/**
 * Reads record batches of partitions, from one offset each.
 *
 * - From version 9 on the request has the leader epoch that the client knows (FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH).
 * - From 11 on it has the client's rack (`preferredReadReplica`).
 * - From 12 on it has the epoch of the client's last record. If the broker's log is a different one, it answers where the two
 *   diverge (`divergingEpoch`).
 * - From 13 on topics have ids instead of names.
 * - From 16 on answers have the new leader with its address.
 *
 * Only the fields of consumers are implemented, not those of followers.
 *
 * Source: FetchRequest.json and FetchResponse.json of Apache Kafka 4.4.0.
 */
export const fetch = message({
  name: 'Fetch',
  key: 1,
  versions: [4, 17],
  flexibleSince: 12,
  request: struct({
    /** -1: a consumer. */
    replicaId: ignorable(between(0, 14, int32, -1)),
    maxWaitMs: int32,
    minBytes: int32,
    maxBytes: defaulted(int32, 0x7fff_ffff),
    isolationLevel: defaulted(int8, isolationLevel.readUncommitted),
    sessionId: ignorable(since(7, int32, 0)),
    sessionEpoch: ignorable(since(7, int32, NO_SESSION_EPOCH)),
    topics: array(
      struct({
        topic: ignorable(between(0, 12, string, '')),
        topicId: ignorable(since(13, uuid, ZERO_UUID)),
        partitions: array(
          struct({
            partition: int32,
            currentLeaderEpoch: ignorable(since(9, int32, -1)),
            fetchOffset: offset,
            lastFetchedEpoch: since(12, int32, -1),
            logStartOffset: ignorable(since(5, offset, -1)),
            partitionMaxBytes: int32,
          }),
        ),
      }),
    ),
    forgottenTopicsData: since(
      7,
      array(
        struct({
          topic: ignorable(between(7, 12, string, '')),
          topicId: ignorable(since(13, uuid, ZERO_UUID)),
          partitions: array(int32),
        }),
      ),
      [],
    ),
    rackId: ignorable(since(11, string, '')),
  }),
  response: struct({
    throttleTimeMs: defaulted(int32, 0),
    errorCode: ignorable(since(7, int16, 0)),
    sessionId: since(7, int32, 0),
    responses: array(
      struct({
        topic: ignorable(between(0, 12, string, '')),
        topicId: ignorable(since(13, uuid, ZERO_UUID)),
        partitions: array(
          struct({
            partitionIndex: int32,
            errorCode: int16,
            highWatermark: offset,
            lastStableOffset: defaulted(offset, -1),
            logStartOffset: ignorable(since(5, offset, -1)),
            /** Where the broker's log and the client's diverge: after `endOffset`. Null if they do not. */
            divergingEpoch: tagged(
              0,
              since(
                12,
                optionalStruct(struct({ epoch: defaulted(int32, -1), endOffset: defaulted(offset, -1) })),
                null,
              ),
            ),
            currentLeader: tagged(1, since(12, optionalStruct(leader), null)),
            /** For followers. */
            snapshotId: tagged(
              2,
              since(
                12,
                optionalStruct(struct({ endOffset: defaulted(offset, -1), epoch: defaulted(int32, -1) })),
                null,
              ),
            ),
            abortedTransactions: nullableArray(struct({ producerId: offset, firstOffset: offset })),
            preferredReadReplica: since(11, int32, -1),
            /** Record batches as bytes; a view of the message. */
            records,
          }),
        ),
      }),
    ),
    nodeEndpoints: tagged(0, since(16, endpoints, [])),
  }),
})

export type FetchRequest = RequestOf<typeof fetch>
export type FetchResponse = ResponseOf<typeof fetch>
