import { defaulted, since } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { int16, int32, int64, nullableString } from '../schema/primitives.js'
import { struct } from '../schema/struct.js'

/**
 * Gets a producer id, by which brokers recognize batches that a producer sends twice.
 *
 * Source: InitProducerIdRequest.json and InitProducerIdResponse.json of Apache Kafka 4.4.0.
 */
export const initProducerId = message({
  name: 'InitProducerId',
  key: 22,
  versions: [0, 5],
  flexibleSince: 2,
  request: struct({
    /** Null for an idempotent producer without transactions. */
    transactionalId: defaulted(nullableString, null),
    transactionTimeoutMs: defaulted(int32, 0),
    producerId: since(3, int64, -1n),
    producerEpoch: since(3, int16, -1),
  }),
  response: struct({
    throttleTimeMs: defaulted(int32, 0),
    errorCode: int16,
    producerId: defaulted(int64, -1n),
    producerEpoch: int16,
  }),
})

export type InitProducerIdRequest = RequestOf<typeof initProducerId>
export type InitProducerIdResponse = ResponseOf<typeof initProducerId>
