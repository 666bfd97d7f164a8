import type { Clock } from '../../../clock.js'
import { CommitError } from '../../../errors.js'
import type { Cluster } from '../cluster/cluster.js'
import type { KnownTopic } from '../cluster/metadata.js'
import type { PartitionMap, TopicPartition } from '../topic-partition.js'
import { ClassicMember } from './classic-member.js'
import { ConsumerMember } from './consumer-member.js'
import type { CommittedPosition, Member, MemberOwner, MemberSettings, PositionToCommit } from './member.js'

/**
 * A member that uses the consumer protocol if its group can be joined by it, and else the classic protocol:
 *
 * - Brokers before 4.0 do not have its heartbeat, or list and refuse it (3.9); so do newer ones with `group.version` 0.
 * - A classic group is not converted if its members or its brokers do not allow it (`group.consumer.migration.policy`).
 *
 * The consumer protocol is tried first, because listed versions say less than the coordinator's answer. Once the member is
 * classic it stays so: members of both kinds can be in one group.
 */
export class AutoMember implements Member {
  #member: Member
  #topics: readonly string[]

  constructor(
    readonly cluster: Cluster,
    readonly settings: MemberSettings,
    memberId: string,
    topics: readonly string[],
    readonly owner: MemberOwner,
    readonly clock: Clock,
    /** Called when the group is joined by the classic protocol, with the reason. */
    readonly onClassic: (why: Error) => void,
  ) {
    this.#topics = topics
    this.#member = new ConsumerMember(cluster, settings, memberId, topics, owner, clock, why => this.#fallBack(why))
  }

  #fallBack(why: Error): void {
    this.onClassic(why)
    this.#member = new ClassicMember(this.cluster, this.settings, this.#topics, this.owner, this.clock)
    this.#member.start()
  }

  start(): void {
    this.#member.start()
  }

  get doubtful(): boolean {
    return this.#member.doubtful
  }

  settleDoubt(): Promise<void> {
    return this.#member.settleDoubt()
  }

  async commit(points: () => readonly PositionToCommit[]): Promise<void> {
    const member = this.#member
    try {
      await member.commit(points)
    } catch (error) {
      if (member === this.#member) throw error
      const message = `group '${this.settings.group}' is joined again, by the classic protocol`
      throw new CommitError(message, { cause: error, retriable: true })
    }
  }

  committed(topics: readonly KnownTopic[]): Promise<PartitionMap<CommittedPosition>> {
    return this.#member.committed(topics)
  }

  get owns(): ((place: TopicPartition) => boolean) | undefined {
    return this.#member.owns?.bind(this.#member)
  }

  subscribe(topics: readonly string[]): void {
    this.#topics = topics
    this.#member.subscribe(topics)
  }

  leave(): Promise<void> {
    return this.#member.leave()
  }
}
