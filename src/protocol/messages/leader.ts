import { array } from '../schema/array.js'
import { defaulted } from '../schema/field.js'
import { int32, nullableString, string } from '../schema/primitives.js'
import { struct } from '../schema/struct.js'

// The new leader of a partition in answers to Fetch and Produce (KIP-951).

/** The current leader of a partition. -1: unknown. */
export const leader = struct({ leaderId: defaulted(int32, -1), leaderEpoch: defaulted(int32, -1) })

/** The addresses of the leaders in an answer. */
export const endpoints = array(
  struct({ nodeId: int32, host: string, port: int32, rack: defaulted(nullableString, null) }),
)
