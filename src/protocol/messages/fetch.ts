import { array, nullableArray } from '../schema/array.js'
import { between, defaulted, ignorable, since, tagged } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { int8, int16, int32, offset, records, string, uuid } from '../schema/primitives.js'
import { optionalStruct, struct } from '../schema/struct.js'
import { ZERO_UUID } from '../wire/uuid.js'
import { endpoints, leader } from './leader.js'

/** A request outside of any session: `sessionId` 0 and this as its `sessionEpoch`. */
export const NO_SESSION_EPOCH = -1

export const isolationLevel = { readUncommitted: 0, readCommitted: 1 } as const

/**
 * Record batches of partitions, from an offset each.
 *
 * From version 9 on with the leader's epoch as we know it (FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH); from 11 on with
 * our rack (`preferredReadReplica`); from 12 on with the epoch of the last record we have, upon which a broker whose log
 * is another says where they part (`divergingEpoch`); from 13 on with topic ids instead of names; from 16 on answers
 * name the leader that took over, with its address. Only what a consumer needs: fields of followers are not sent.
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
            /** The broker's log and ours part after `endOffset`; null where they do not. */
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
