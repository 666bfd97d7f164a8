import { array } from '../schema/array.js'
import { defaulted } from '../schema/field.js'
import { int32, nullableString, string } from '../schema/primitives.js'
import { struct } from '../schema/struct.js'

// What answers to Fetch and Produce say of a leader that has moved (KIP-951).

/** Who leads a partition now. -1: not known. */
export const leader = struct({ leaderId: defaulted(int32, -1), leaderEpoch: defaulted(int32, -1) })

/** Where the leaders are that an answer names. */
export const endpoints = array(
  struct({ nodeId: int32, host: string, port: int32, rack: defaulted(nullableString, null) }),
)
