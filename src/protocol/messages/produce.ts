import { array } from '../schema/array.js'
import { between, defaulted, ignorable, since, tagged } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { int16, int32, int64, nullableString, offset, records, string, uuid } from '../schema/primitives.js'
import { optionalStruct, struct } from '../schema/struct.js'
import { ZERO_UUID } from '../wire/uuid.js'
import { endpoints, leader } from './leader.js'

/** `acks`: wait until all in-sync replicas have the records. */
export const ACKS_ALL = -1

/**
 * Writes one record batch to each of several partitions of a leader.
 *
 * zstd is allowed from version 7 on. From 8 on a refusal names the records (`recordErrors`); from 10 on an answer has the new
 * leader; from 13 on topics have ids instead of names.
 *
 * Source: ProduceRequest.json and ProduceResponse.json of Apache Kafka 4.4.0.
 */
export const produce = message({
  name: 'Produce',
  key: 0,
  versions: [3, 13],
  flexibleSince: 9,
  request: struct({
    transactionalId: defaulted(nullableString, null),
    acks: int16,
    /** How long the leader waits for its replicas, ms. */
    timeoutMs: int32,
    topicData: array(
      struct({
        name: ignorable(between(0, 12, string, '')),
        topicId: ignorable(since(13, uuid, ZERO_UUID)),
        partitionData: array(
          struct({
            index: int32,
            /** One record batch. */
            records,
          }),
        ),
      }),
    ),
  }),
  response: struct({
    responses: array(
      struct({
        name: ignorable(between(0, 12, string, '')),
        topicId: ignorable(since(13, uuid, ZERO_UUID)),
        partitionResponses: array(
          struct({
            index: int32,
            errorCode: int16,
            baseOffset: offset,
            /** -1: the producer's timestamps were kept. */
            logAppendTimeMs: defaulted(int64, -1n),
            logStartOffset: ignorable(since(5, offset, -1)),
            recordErrors: ignorable(
              since(
                8,
                array(struct({ batchIndex: int32, batchIndexErrorMessage: defaulted(nullableString, null) })),
                [],
              ),
            ),
            errorMessage: ignorable(since(8, nullableString, null)),
            currentLeader: tagged(0, since(10, optionalStruct(leader), null)),
          }),
        ),
      }),
    ),
    throttleTimeMs: defaulted(int32, 0),
    nodeEndpoints: tagged(0, since(10, endpoints, [])),
  }),
})

export type ProduceRequest = RequestOf<typeof produce>
export type ProduceResponse = ResponseOf<typeof produce>
