import type { CommitPoint } from '../../commit-point.js'
import { partitionName } from '../../place.js'
import type { Assignment } from './assignment.js'
import type { Consumer } from './consumer.js'
import { Group } from './group.js'
import type { Log } from './log.js'
import { stickyAssignment } from './sticky-assignment.js'

/**
 * A group with the consumer protocol (KIP-848). A target assignment says which member gets which partition, and each member
 * moves towards it on its own: it gives up partitions that are not in its part, and gets those of its part once no other
 * member has them. Partitions that stay are read on, and a member that is slow to give up a partition delays only its next
 * owner.
 */
export class ConsumerGroup extends Group {
  #target: ReadonlyMap<string, Consumer> = new Map()
  #logs: ReadonlyMap<string, Log> = new Map()
  /** Members in the middle of a step: giving up partitions, or getting an assignment. */
  readonly #busy = new Set<Consumer>()

  join(member: Consumer): void {
    member.memberId = this.newMemberId(member)
    this.members.add(member)
    this.#busy.delete(member)
    this.#retarget()
    // A new member gets an assignment even if it is empty.
    if (!this.#busy.has(member)) this.#take(member)
  }

  leave(member: Consumer): void {
    if (!this.members.delete(member)) return
    this.#busy.delete(member)
    for (const [name, avoided] of this.avoid) if (avoided === member) this.avoid.delete(name)
    this.#retarget()
  }

  resubscribed(member: Consumer): void {
    if (this.members.has(member)) this.#retarget()
  }

  revoke(topic: string, partition: number): void {
    this.avoid.set(partitionName({ topic, partition }), this.owner(topic, partition))
    this.#retarget()
  }

  lose(topic: string, partition: number): void {
    const name = partitionName({ topic, partition })
    const owner = this.owner(topic, partition)
    this.avoid.set(name, owner)
    owner.lose(name)
    this.#retarget()
    // If there is no other member, the same one gets it as a new assignment.
    this.avoid.delete(name)
    this.#bringAll()
  }

  /** As brokers from 4.3 on do it (KIP-1251): commits are accepted for partitions that the member has, or has not given up yet. */
  protected refusal(member: Consumer, _epoch: number, point: CommitPoint): string | undefined {
    const name = partitionName(point)
    return member.assignments.has(name) ? undefined : `STALE_MEMBER_EPOCH: ${name} is not assigned to this member`
  }

  #retarget(): void {
    if (this.members.size === 0) {
      this.state = 'empty'
      this.avoid.clear()
      this.#target = new Map()
      return
    }
    this.generation++
    for (const member of this.members) member.generation = this.generation
    const claims = this.claims(name => this.holder(name) ?? this.#memberOf(this.#target.get(name)))
    this.#logs = new Map(claims.map(({ name, log }) => [name, log]))
    this.#target = stickyAssignment(claims)
    this.#bringAll()
  }

  #memberOf(member: Consumer | undefined): Consumer | undefined {
    return member !== undefined && this.members.has(member) ? member : undefined
  }

  #bringAll(): void {
    for (const member of [...this.members]) this.#bring(member)
    const isReached = [...this.#target].every(([name, member]) => member.assignments.has(name) && !this.avoid.has(name))
    this.state = isReached ? 'stable' : 'rebalancing'
  }

  /** Starts the next step of a member towards its part of the target. */
  #bring(member: Consumer): void {
    if (this.#busy.has(member)) return
    const surplus = [...member.assignments].flatMap(([name, assignment]) => {
      return this.#target.get(name) !== member || this.avoid.get(name) === member ? [assignment] : []
    })
    if (surplus.length > 0) this.#giveUp(member, surplus)
    else if (this.#free(member).length > 0) this.#take(member)
  }

  #giveUp(member: Consumer, surplus: readonly Assignment[]): void {
    this.#busy.add(member)
    member.giveUpSome(surplus, () => {
      if (!this.#isBusy(member)) return
      this.#busy.delete(member)
      for (const each of surplus) this.avoid.delete(partitionName(each))
      member.revoke(surplus.map(partitionName))
      member.assign([])
      this.#bringAll()
    })
  }

  /** Checks membership too, because the member may have left meanwhile, and even joined again. */
  #isBusy(member: Consumer): boolean {
    return this.members.has(member) && this.#busy.has(member)
  }

  /** Partitions of this member's part that no member has. */
  #free(member: Consumer): readonly Log[] {
    return [...this.#target].flatMap(([name, owner]) =>
      owner === member && this.holder(name) === undefined && this.avoid.get(name) !== member
        ? [this.#logs.get(name)!]
        : [],
    )
  }

  /** Assigns the free partitions, with the answer to the member's next heartbeat. */
  #take(member: Consumer): void {
    this.#busy.add(member)
    this.connection.reach(() => {
      if (!this.#isBusy(member)) return
      this.#busy.delete(member)
      try {
        member.assign(this.starts(member, this.#free(member)))
      } catch (error) {
        member.fail(error)
      }
      this.#bringAll()
    })
  }
}
