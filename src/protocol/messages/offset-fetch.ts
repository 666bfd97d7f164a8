import { array, nullableArray } from '../schema/array.js'
import { between, ignorable, since } from '../schema/field.js'
import { message, type RequestOf, type ResponseOf } from '../schema/message.js'
import { nullableSince } from '../schema/nullable-since.js'
import { bool, int16, int32, nullableString, offset, string, uuid } from '../schema/primitives.js'
import { struct } from '../schema/struct.js'
import { type Uuid, ZERO_UUID } from '../wire/uuid.js'

/**
 * Committed offsets of groups. Up to version 7 of one group, from 8 on of several. From 9 on the request has the member,
 * which the consumer protocol (KIP-848) needs. From 10 on topics have ids instead of names.
 *
 * A `committedOffset` of -1 means that there is none. An answer with STALE_MEMBER_EPOCH says nothing: ask again.
 *
 * Source: OffsetFetchRequest.json and OffsetFetchResponse.json of Apache Kafka 4.4.0.
 */
export const offsetFetch = message({
  name: 'OffsetFetch',
  key: 9,
  versions: [1, 10],
  flexibleSince: 6,
  request: struct({
    groupId: between(0, 7, string, ''),
    topics: between(
      0,
      7,
      nullableSince(2, nullableArray(struct({ name: string, partitionIndexes: array(int32) }))),
      [],
    ),
    groups: since(
      8,
      array(
        struct({
          groupId: string,
          memberId: ignorable(since(9, nullableString, null)),
          memberEpoch: ignorable(since(9, int32, -1)),
          topics: nullableArray(
            struct({
              name: ignorable(between(8, 9, string, '')),
              topicId: ignorable(since(10, uuid, ZERO_UUID)),
              partitionIndexes: array(int32),
            }),
          ),
        }),
      ),
      [],
    ),
    requireStable: since(7, bool, false),
  }),
  response: struct({
    throttleTimeMs: ignorable(since(3, int32, 0)),
    topics: between(
      0,
      7,
      array(
        struct({
          name: string,
          partitions: array(
            struct({
              partitionIndex: int32,
              committedOffset: offset,
              committedLeaderEpoch: ignorable(since(5, int32, -1)),
              metadata: nullableString,
              errorCode: int16,
            }),
          ),
        }),
      ),
      [],
    ),
    errorCode: ignorable(between(2, 7, int16, 0)),
    groups: since(
      8,
      array(
        struct({
          groupId: string,
          topics: array(
            struct({
              name: ignorable(between(8, 9, string, '')),
              topicId: ignorable(since(10, uuid, ZERO_UUID)),
              partitions: array(
                struct({
                  partitionIndex: int32,
                  committedOffset: offset,
                  committedLeaderEpoch: since(8, int32, -1),
                  metadata: nullableString,
                  errorCode: int16,
                }),
              ),
            }),
          ),
          errorCode: since(8, int16, 0),
        }),
      ),
      [],
    ),
  }),
})

export type OffsetFetchRequest = RequestOf<typeof offsetFetch>
export type OffsetFetchResponse = ResponseOf<typeof offsetFetch>

/** A query for one group, in the same form for every version. */
export interface CommittedOffsetsQuery {
  readonly groupId: string
  /** The member that asks. Sent from version 9 on. */
  readonly memberId?: string | null
  readonly memberEpoch?: number
  /** Null: all topics of the group; from version 2 on. */
  readonly topics:
    | readonly { readonly name: string; readonly topicId: Uuid; readonly partitions: readonly number[] }[]
    | null
  /** From version 7 on: answer UNSTABLE_OFFSET_COMMIT while transactions are open. */
  readonly requireStable: boolean
}

/** The committed offsets of one group, in the same form for every version. */
export interface CommittedOffsets {
  readonly errorCode: number
  readonly topics: readonly {
    /** Empty from version 10 on. */
    readonly name: string
    /** The zero UUID before version 10. */
    readonly topicId: Uuid
    readonly partitions: OffsetFetchResponse['topics'][number]['partitions']
  }[]
}

/** A request for one group, in the form of the given version. */
export function fetchCommittedOffsets(query: CommittedOffsetsQuery, version: number): OffsetFetchRequest {
  const { groupId, memberId, memberEpoch, topics } = query
  const requireStable = version >= 7 && query.requireStable
  if (version >= 8) {
    const asked = topics?.map(({ name, topicId, partitions }) => ({ name, topicId, partitionIndexes: partitions }))
    return { groups: [{ groupId, memberId, memberEpoch, topics: asked ?? null }], requireStable }
  }
  const asked = topics?.map(({ name, partitions }) => ({ name, partitionIndexes: partitions }))
  return { groupId, topics: asked ?? null, requireStable }
}

/** The answer to `fetchCommittedOffsets`; undefined if the broker did not answer for this group. */
export function committedOffsets(
  response: OffsetFetchResponse,
  groupId: string,
  version: number,
): CommittedOffsets | undefined {
  if (version >= 8) return response.groups.find(group => group.groupId === groupId)
  const { errorCode } = response
  return { errorCode, topics: response.topics.map(topic => ({ ...topic, topicId: ZERO_UUID })) }
}
