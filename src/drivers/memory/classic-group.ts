import type { Subscription } from 'rxjs'
import { partitionName } from '../../place.js'
import type { Consumer } from './consumer.js'
import { Group } from './group.js'
import { stickyAssignment } from './sticky-assignment.js'

/**
 * A group with the classic, eager protocol. When members join or leave, all members give up their partitions; once the last
 * one has rejoined, the partitions are assigned again, in a new generation.
 */
export class ClassicGroup extends Group {
  readonly #rejoined = new Set<Consumer>()
  #completion: Subscription | undefined

  join(member: Consumer): void {
    member.memberId = this.newMemberId(member)
    this.members.add(member)
    if (this.state === 'rebalancing') this.#rejoin(member)
    else this.#rebalance()
  }

  leave(member: Consumer): void {
    if (!this.members.delete(member)) return
    this.#rejoined.delete(member)
    this.#rebalance()
  }

  resubscribed(member: Consumer): void {
    if (this.members.has(member)) this.#rebalance()
  }

  revoke(topic: string, partition: number): void {
    this.avoid.set(partitionName({ topic, partition }), this.owner(topic, partition))
    this.#rebalance()
  }

  lose(topic: string, partition: number): void {
    const owner = this.owner(topic, partition)
    owner.lose(partitionName({ topic, partition }))
    owner.memberId = this.newMemberId(owner)
    this.avoid.set(partitionName({ topic, partition }), owner)
    this.#rebalance()
  }

  protected refusal(_member: Consumer, generation: number): string | undefined {
    if (generation === this.generation) return undefined
    return `ILLEGAL_GENERATION: the commit is of generation ${generation}, the group is at ${this.generation}`
  }

  #rebalance(): void {
    if (this.members.size === 0) {
      this.state = 'empty'
      this.avoid.clear()
      this.#completion?.unsubscribe()
      this.#completion = undefined
      return
    }
    if (this.state !== 'rebalancing') {
      this.state = 'rebalancing'
      for (const member of this.members) member.giveUp(() => this.#rejoin(member))
    }
    this.#completeOnceAllRejoined()
  }

  #rejoin(member: Consumer): void {
    if (!this.members.has(member)) return
    this.#rejoined.add(member)
    this.#completeOnceAllRejoined()
  }

  #completeOnceAllRejoined(): void {
    if (this.#completion !== undefined || [...this.members].some(member => !this.#rejoined.has(member))) return
    this.#completion = this.connection.reach(() => {
      this.#completion = undefined
      this.#complete()
    })
  }

  /** Runs no client code: members get their events in turns of their own. */
  #complete(): void {
    this.state = 'stable'
    this.generation++
    this.#rejoined.clear()
    const claims = this.claims(name => this.holder(name))
    const assignment = stickyAssignment(claims)
    this.avoid.clear()

    for (const member of this.members) {
      member.generation = this.generation
      const avoided = new Set(claims.filter(({ avoid }) => avoid === member).map(({ name }) => name))
      // Partitions of a deleted topic, or of one without a subscriber, are not claimed by anybody.
      const taken = [...member.assignments.keys()].filter(name => avoided.has(name) || assignment.get(name) !== member)
      member.revoke(taken)
    }
    const failures: [Consumer, unknown][] = []
    for (const member of this.members) {
      const added = claims.filter(claim => assignment.get(claim.name) === member && !member.assignments.has(claim.name))
      try {
        member.assign(
          this.starts(
            member,
            added.map(({ log }) => log),
          ),
        )
      } catch (error) {
        failures.push([member, error])
      }
    }
    for (const [member, error] of failures) member.fail(error)
  }
}
