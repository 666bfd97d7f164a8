import { array } from '../schema/array.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { int16, int32, int64, string } from '../schema/primitives.js'
import { struct } from '../schema/struct.js'

/**
 * Tells the transaction coordinator which partitions are about to be written. From version 4 on it is used only between
 * brokers.
 *
 * Source: AddPartitionsToTxnRequest.json and AddPartitionsToTxnResponse.json of Apache Kafka 4.4.0; KIP-98.
 */
export const addPartitionsToTxn = message({
  name: 'AddPartitionsToTxn',
  key: 24,
  versions: [0, 3],
  flexibleSince: 3,
  request: struct({
    v3AndBelowTransactionalId: string,
    v3AndBelowProducerId: int64,
    v3AndBelowProducerEpoch: int16,
    v3AndBelowTopics: array(struct({ name: string, partitions: array(int32) })),
  }),
  response: struct({
    throttleTimeMs: int32,
    resultsByTopicV3AndBelow: array(
      struct({
        name: string,
        resultsByPartition: array(struct({ partitionIndex: int32, partitionErrorCode: int16 })),
      }),
    ),
  }),
})

export type AddPartitionsToTxnRequest = RequestOf<typeof addPartitionsToTxn>
export type AddPartitionsToTxnResponse = ResponseOf<typeof addPartitionsToTxn>
