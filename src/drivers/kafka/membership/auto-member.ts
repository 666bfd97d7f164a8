import type { Clock } from '../../../clock.js'
import { CommitError } from '../../../errors.js'
import type { Cluster } from '../cluster/cluster.js'
import type { KnownTopic } from '../cluster/metadata.js'
import type { PartitionMap } from '../topic-partition.js'
import { ClassicMember } from './classic-member.js'
import { ConsumerMember } from './consumer-member.js'
import type { CommittedPosition, Member, MemberOwner, MemberSettings, PositionToCommit } from './member.js'

/**
 * A member by the consumer protocol where its group can be joined by that, and else by the classic one:
 *
 * - brokers before 4.0 do not serve its heartbeat, or list it and refuse it (3.9); so do newer ones with `group.version` 0;
 * - a classic group whose members do not allow it, or whose brokers do not (`group.consumer.migration.policy`), is not
 *   changed over.
 *
 * What can be done is tried, for versions tell less than the coordinator's answer. Once classic, it stays that for as long
 * as this member lives: a member of each kind can be in one group.
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
    /** The group is joined by the classic protocol, for that reason. */
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
      const message = `group '${this.settings.group}' is joined anew, by the classic protocol`
      throw new CommitError(message, { cause: error, retriable: true })
    }
  }

  committed(topics: readonly KnownTopic[]): Promise<PartitionMap<CommittedPosition>> {
    return this.#member.committed(topics)
  }

  subscribe(topics: readonly string[]): void {
    this.#topics = topics
    this.#member.subscribe(topics)
  }

  leave(): Promise<void> {
    return this.#member.leave()
  }
}
