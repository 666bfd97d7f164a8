import { ignorable, since } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { bool, int16, int32, int64, string } from '../schema/primitives.js'
import { struct } from '../schema/struct.js'

/**
 * Commits or aborts a transaction. From version 5 on the answer has the epoch of the next transaction (KIP-890).
 *
 * Source: EndTxnRequest.json and EndTxnResponse.json of Apache Kafka 4.4.0; KIP-98.
 */
export const endTxn = message({
  name: 'EndTxn',
  key: 26,
  versions: [0, 5],
  flexibleSince: 3,
  request: struct({
    transactionalId: string,
    producerId: int64,
    producerEpoch: int16,
    /** False: abort. */
    committed: bool,
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: int16,
    producerId: ignorable(since(5, int64, -1n)),
    producerEpoch: ignorable(since(5, int16, -1)),
  }),
})

export type EndTxnRequest = RequestOf<typeof endTxn>
export type EndTxnResponse = ResponseOf<typeof endTxn>
