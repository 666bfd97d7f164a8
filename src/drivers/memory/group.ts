import type { CommitPoint } from '../../commit-point.js'
import { CommitError, ConfigurationError } from '../../errors.js'
import { partitionName } from '../../place.js'
import type { Connection } from './connection.js'
import type { Consumer, Start } from './consumer.js'
import type { Log } from './log.js'
import { outOfRange, startPosition } from './start-position.js'
import type { Claim } from './sticky-assignment.js'
import type { Topics } from './topics.js'

export interface CommittedOffset {
  readonly offset: number
  readonly metadata: string
}

export type GroupState = 'empty' | 'rebalancing' | 'stable'

/** The default of Kafka's `offset.metadata.max.bytes`. */
const maxMetadataBytes = 4096

/** A consumer group: its members and its committed positions. Subclasses define how it rebalances. */
export abstract class Group {
  state: GroupState = 'empty'
  /** The generation of the classic protocol, or the group epoch. Rises with each rebalance. */
  generation = 0
  readonly members = new Set<Consumer>()
  /** Partitions that a test has taken from a member, and that should not go back to it. */
  protected readonly avoid = new Map<string, Consumer>()
  #memberCount = 0

  constructor(
    readonly name: string,
    readonly topics: Topics,
    readonly connection: Connection,
    /** The committed offsets. They are kept if the protocol changes. */
    readonly offsets: Map<string, CommittedOffset> = new Map(),
  ) {}

  abstract join(member: Consumer): void

  /** Called when a member leaves, and when the session of a dead member is over. */
  abstract leave(member: Consumer): void

  /** The subscription of the member has changed, or a subscribed topic was created or deleted. */
  abstract resubscribed(member: Consumer): void

  /** Removes the committed positions of a deleted topic. */
  forget(topic: string): void {
    for (const log of this.topics.find(topic)?.logs ?? []) this.offsets.delete(partitionName(log))
  }

  /** Starts a graceful rebalance that revokes the partition from its member. */
  abstract revoke(topic: string, partition: number): void

  /** Takes the partition from its member without asking. The member's commits in flight are refused. */
  abstract lose(topic: string, partition: number): void

  /** Why this position is refused; undefined if it is accepted. */
  protected abstract refusal(member: Consumer, generation: number, point: CommitPoint): string | undefined

  committed(place: { readonly topic: string; readonly partition: number }): CommittedOffset | undefined {
    return this.offsets.get(partitionName(place))
  }

  commit(memberId: string, generation: number, points: readonly CommitPoint[]): void {
    const member = [...this.members].find(each => each.memberId === memberId)
    if (member === undefined) throw this.#refused(`UNKNOWN_MEMBER_ID: ${memberId} is not a member`)
    for (const point of points) {
      const refusal = this.refusal(member, generation, point)
      if (refusal !== undefined) throw this.#refused(refusal)
      const bytes = Buffer.byteLength(point.metadata ?? '')
      if (bytes > maxMetadataBytes) {
        throw this.#refused(`OFFSET_METADATA_TOO_LARGE: ${bytes} bytes beside the position of ${partitionName(point)}`)
      }
    }
    for (const point of points) {
      this.offsets.set(partitionName(point), { offset: Number(point.offset), metadata: point.metadata ?? '' })
    }
  }

  /** Every partition of the topics that members subscribe to. */
  protected claims(
    ownerOf: (name: string) => Consumer | undefined,
  ): readonly (Claim<Consumer> & { readonly log: Log })[] {
    const members = [...this.members]
    const names = new Set(members.flatMap(member => member.topics))
    return [...names].sort().flatMap(name => {
      const eligible = members.filter(member => member.topics.includes(name))
      return (this.topics.find(name)?.logs ?? []).map(log => {
        const name = partitionName(log)
        return { name, log, eligible, owner: ownerOf(name), avoid: this.avoid.get(name) }
      })
    })
  }

  /** The member that has the partition. */
  protected holder(name: string): Consumer | undefined {
    return [...this.members].find(member => member.assignments.has(name))
  }

  /** The starting positions of the member; its `fail` is called if there is none. */
  protected starts(member: Consumer, logs: readonly Log[]): readonly Start[] {
    return logs.map(log => ({ log, ...this.#position(member, log) }))
  }

  #position(member: Consumer, log: Log): { readonly position: number; readonly metadata: string } {
    const startFrom = member.startFromOf(log)
    const committed = this.committed(log)
    if (committed !== undefined && log.inRange(committed.offset)) {
      return { position: committed.offset, metadata: committed.metadata }
    }
    const position = startPosition(log, startFrom)
    if (committed !== undefined) member.trouble(outOfRange(log, committed.offset, position))
    // Committed at once. If the partition were assigned again before the first commit, the end would have moved, and records
    // written in between would be skipped.
    if (startFrom !== 'earliest') this.offsets.set(partitionName(log), { offset: position, metadata: '' })
    return { position, metadata: '' }
  }

  protected owner(topic: string, partition: number): Consumer {
    const name = partitionName({ topic, partition })
    const owner = this.holder(name)
    if (owner === undefined) throw new ConfigurationError(`${name} is assigned to no member of group '${this.name}'`)
    return owner
  }

  protected newMemberId(member: Consumer): string {
    return `${member.clientId}-${++this.#memberCount}`
  }

  #refused(why: string): CommitError {
    return new CommitError(`group '${this.name}' refuses the commit: ${why}`, { retriable: true })
  }
}
