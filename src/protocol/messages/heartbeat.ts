import { ignorable, since } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { int16, int32, nullableString, string } from '../schema/primitives.js'
import { struct } from '../schema/struct.js'

/**
 * Keeps a member of the classic protocol in its group. REBALANCE_IN_PROGRESS means that it has to rejoin.
 *
 * Source: HeartbeatRequest.json and HeartbeatResponse.json of Apache Kafka 4.4.0.
 */
export const heartbeat = message({
  name: 'Heartbeat',
  key: 12,
  versions: [0, 4],
  flexibleSince: 4,
  request: struct({
    groupId: string,
    generationId: int32,
    memberId: string,
    groupInstanceId: since(3, nullableString, null),
  }),
  response: struct({
    throttleTimeMs: ignorable(since(1, int32, 0)),
    errorCode: int16,
  }),
})

export type HeartbeatRequest = RequestOf<typeof heartbeat>
export type HeartbeatResponse = ResponseOf<typeof heartbeat>
