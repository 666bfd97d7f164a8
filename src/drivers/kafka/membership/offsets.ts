import { CommitError } from '../../../errors.js'
import { partitionName } from '../../../place.js'
import { kafkaError } from '../../../protocol/errors.js'
import { offsetCommit } from '../../../protocol/messages/offset-commit.js'
import { committedOffsets, fetchCommittedOffsets, offsetFetch } from '../../../protocol/messages/offset-fetch.js'
import type { Coordinator } from '../cluster/coordinator.js'
import type { KnownTopic } from '../cluster/metadata.js'
import { ProtocolFailure } from '../cluster/protocol-failure.js'
import { byTopic, PartitionMap } from '../topic-partition.js'
import type { CommittedPosition, PositionToCommit } from './member.js'

/** The member that commits. The coordinator refuses unknown members. */
export interface Membership {
  readonly memberId: string
  /** The generation of the classic protocol, or the member epoch of the consumer protocol. */
  readonly epoch: number
  readonly instanceId: string | undefined
}

/** The newest version that has topic names. */
const namedVersion = 9

/** The committed positions of a group. */
export class GroupOffsets {
  constructor(readonly coordinator: Coordinator) {}

  /**
   * The positions of all partitions of these topics, or of all topics of the group. Partitions without a position are left out.
   *
   * Rejects with a `ProtocolFailure` if the coordinator refuses the request: a stale epoch never counts as "no position".
   */
  async committed(
    topics: readonly KnownTopic[] | 'all',
    membership: () => Membership | undefined,
  ): Promise<PartitionMap<CommittedPosition>> {
    const { key: group } = this.coordinator
    let version = 0
    const query = ({ memberId, epoch }: { memberId: string | null; epoch: number }) => ({
      groupId: group,
      memberId,
      memberEpoch: epoch,
      // Wait for positions that a transaction is about to write (KIP-447).
      requireStable: true,
      topics:
        topics === 'all'
          ? null
          : topics.map(({ name, partitions }) => ({
              name,
              topicId: '',
              partitions: partitions.map((_, partition) => partition),
            })),
    })
    const answer = await this.coordinator.ask(
      offsetFetch,
      spoken => {
        version = spoken
        return fetchCommittedOffsets(query(membership() ?? noMember), spoken)
      },
      { maxVersion: namedVersion },
    )
    const found = committedOffsets(answer, group, version)
    if (found === undefined) throw new Error(`the coordinator of group '${group}' did not answer for it`)
    this.#check(found.errorCode)
    const positions = new PartitionMap<CommittedPosition>()
    for (const { name, partitions } of found.topics) {
      for (const { partitionIndex, committedOffset, committedLeaderEpoch, metadata, errorCode } of partitions) {
        this.#check(errorCode, name)
        if (committedOffset < 0) continue
        const place = { topic: name, partition: partitionIndex }
        positions.set(place, { offset: committedOffset, leaderEpoch: committedLeaderEpoch, metadata: metadata ?? '' })
      }
    }
    return positions
  }

  #check(errorCode: number, topic?: string): void {
    if (errorCode === 0) return
    const error = kafkaError(errorCode)
    if (error.has('coordinatorMoved')) this.coordinator.moved()
    throw new ProtocolFailure(error, `the committed positions of group '${this.coordinator.key}' are not known`, topic)
  }

  /**
   * Commits in one request. Rejects with a `ProtocolFailure` for the first partition that is refused.
   *
   * The coordinator accepts positions for partitions that other members own by now, and rewinds those. So `points` and
   * `membership` are called when the request is written and not before: until then a coordinator may have to be found, a
   * connection opened, and throttling waited for.
   */
  async commit(points: () => readonly PositionToCommit[], membership: () => Membership): Promise<void> {
    const { key: group } = this.coordinator
    const answer = await this.coordinator.ask(
      offsetCommit,
      version => {
        const now = points()
        if (now.length === 0) {
          throw new CommitError('the partitions of the commit are not assigned any more', { retriable: true })
        }
        const { memberId, epoch, instanceId } = membership()
        const request = { groupId: group, generationIdOrMemberEpoch: epoch, memberId, topics: topicsOf(now) }
        return version >= 7 ? { ...request, groupInstanceId: instanceId ?? null } : request
      },
      { maxVersion: namedVersion },
    )
    for (const { name, partitions } of answer.topics) {
      for (const { partitionIndex, errorCode } of partitions) {
        if (errorCode === 0) continue
        const error = kafkaError(errorCode)
        if (error.has('coordinatorMoved')) this.coordinator.moved()
        const place = partitionName({ topic: name, partition: partitionIndex })
        throw new ProtocolFailure(error, `group '${group}' could not commit ${place}`, name)
      }
    }
  }
}

const noMember = { memberId: null, epoch: -1 }

function topicsOf(points: readonly PositionToCommit[]) {
  return [...byTopic(points)].map(([name, each]) => ({
    name,
    partitions: each.map(({ partition, offset, leaderEpoch, metadata }) => ({
      partitionIndex: partition,
      committedOffset: Number(offset),
      committedLeaderEpoch: leaderEpoch,
      committedMetadata: metadata,
    })),
  }))
}

/** The error for the client if a commit fails. */
export function commitError(cause: unknown, group: string): CommitError {
  if (cause instanceof CommitError) return cause
  const message = cause instanceof Error ? cause.message : String(cause)
  const isFinal =
    cause instanceof ProtocolFailure && (cause.error.has('notAuthorized') || cause.error.name === 'INVALID_GROUP_ID')
  return new CommitError(`group '${group}' could not commit: ${message}`, { cause, retriable: !isFinal })
}
