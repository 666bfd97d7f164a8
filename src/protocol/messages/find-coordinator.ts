import { array } from '../schema/array.js'
import { between, ignorable, since } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { int8, int16, int32, nullableString, string } from '../schema/primitives.js'
import { struct } from '../schema/struct.js'

/** The types of coordinators. */
export const coordinatorType = { group: 0, transaction: 1 } as const

/**
 * The broker that coordinates a group or a transactional id. From version 4 on for several at once.
 *
 * Source: FindCoordinatorRequest.json and FindCoordinatorResponse.json of Apache Kafka 4.4.0.
 */
export const findCoordinator = message({
  name: 'FindCoordinator',
  key: 10,
  versions: [0, 6],
  flexibleSince: 3,
  request: struct({
    key: between(0, 3, string, ''),
    keyType: since(1, int8, coordinatorType.group),
    coordinatorKeys: since(4, array(string), []),
  }),
  response: struct({
    throttleTimeMs: ignorable(since(1, int32, 0)),
    errorCode: between(0, 3, int16, 0),
    errorMessage: ignorable(between(1, 3, nullableString, '')),
    nodeId: between(0, 3, int32, 0),
    host: between(0, 3, string, ''),
    port: between(0, 3, int32, 0),
    coordinators: since(
      4,
      array(
        struct({
          key: string,
          nodeId: int32,
          host: string,
          port: int32,
          errorCode: int16,
          errorMessage: nullableString,
        }),
      ),
      [],
    ),
  }),
})

export type FindCoordinatorRequest = RequestOf<typeof findCoordinator>
export type FindCoordinatorResponse = ResponseOf<typeof findCoordinator>

/** The coordinator of one key, in the same form for every version. */
export interface FoundCoordinator {
  readonly errorCode: number
  readonly errorMessage: string | null
  readonly nodeId: number
  readonly host: string
  readonly port: number
}

/** A request for one key, in the form of the given version. */
export function findOneCoordinator(key: string, keyType: number, version: number): FindCoordinatorRequest {
  if (version >= 4) return { keyType, coordinatorKeys: [key] }
  return { key, ...(version >= 1 ? { keyType } : {}) }
}

/** The answer to `findOneCoordinator`; undefined if the broker did not answer for this key. */
export function foundCoordinator(
  response: FindCoordinatorResponse,
  key: string,
  version: number,
): FoundCoordinator | undefined {
  return version >= 4 ? response.coordinators.find(each => each.key === key) : response
}
