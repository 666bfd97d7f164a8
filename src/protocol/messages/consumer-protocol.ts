import { array } from '../schema/array.js'
import { defaulted, ignorable, since } from '../schema/field.js'
import { int32, nullableBytes, nullableString, string } from '../schema/primitives.js'
import type { Fields } from '../schema/struct.js'
import { type ReadStruct, type Struct, struct, type WrittenStruct } from '../schema/struct.js'
import { MalformedMessageError } from '../wire/malformed-message-error.js'
import { Reader } from '../wire/reader.js'
import { Writer } from '../wire/writer.js'

// The messages between members of the classic protocol: bytes within JoinGroup and SyncGroup. The coordinator also reads them
// if a group has both classic and consumer members (KIP-848). If they are malformed, it refuses the others with error 69,
// "embedded consumer protocol is malformed".

/** The newest version that is written. Newer ones are read as this one, because fields are only ever appended. */
export const CONSUMER_PROTOCOL_VERSION = 3

const topicPartitions = array(struct({ topic: string, partitions: array(int32) }))

/** Source: ConsumerProtocolSubscription.json of Apache Kafka 4.4.0. The version comes before it. */
export const subscription = struct({
  topics: array(string),
  userData: defaulted(nullableBytes, null),
  /** From version 1 on: the partitions that the member has, which a sticky assignor leaves with it. */
  ownedPartitions: ignorable(since(1, topicPartitions, [])),
  /** From version 2 on: the generation in which the member got them. -1: none. */
  generationId: ignorable(since(2, int32, -1)),
  /** From version 3 on (KIP-881). */
  rackId: ignorable(since(3, nullableString, null)),
})

/** Source: ConsumerProtocolAssignment.json of Apache Kafka 4.4.0. The version comes before it. */
export const assignment = struct({
  assignedPartitions: topicPartitions,
  userData: defaulted(nullableBytes, null),
})

/** The subscription and the partitions of a member: the metadata of JoinGroup's protocols. */
export type ConsumerSubscription = ReadStruct<typeof subscription.fields>
/** The partitions assigned to a member: the assignment of SyncGroup. */
export type ConsumerAssignment = ReadStruct<typeof assignment.fields>

export function encodeSubscription(
  value: WrittenStruct<typeof subscription.fields>,
  version = CONSUMER_PROTOCOL_VERSION,
): Buffer {
  return encode(subscription, value, version)
}

/** @throws MalformedMessageError */
export function decodeSubscription(bytes: Buffer): ConsumerSubscription {
  return decode(subscription, bytes)
}

export function encodeAssignment(
  value: WrittenStruct<typeof assignment.fields>,
  version = CONSUMER_PROTOCOL_VERSION,
): Buffer {
  return encode(assignment, value, version)
}

/**
 * Empty bytes are an empty assignment, which the coordinator sends to a member that the leader left out.
 *
 * @throws MalformedMessageError
 */
export function decodeAssignment(bytes: Buffer): ConsumerAssignment {
  return bytes.length === 0 ? { assignedPartitions: [], userData: null } : decode(assignment, bytes)
}

function encode<F extends Fields>(of: Struct<F>, value: WrittenStruct<F>, version: number): Buffer {
  const writer = new Writer()
  writer.int16(version)
  of.write(writer, value, { version, flexible: false })
  return writer.toBuffer()
}

function decode<F extends Fields>(of: Struct<F>, bytes: Buffer): ReadStruct<F> {
  const reader = new Reader(bytes)
  const version = reader.int16()
  if (version < 0) throw new MalformedMessageError(`version ${version} of the consumer protocol`)
  return of.read(reader, { version: Math.min(version, CONSUMER_PROTOCOL_VERSION), flexible: false })
}
