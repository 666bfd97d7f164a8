import type { Subscription } from 'rxjs'
import type { CommitPoint } from '../../commit-point.js'
import { CommitError, ConfigurationError } from '../../errors.js'
import { partitionName } from '../../place.js'
import type { Connection } from './connection.js'
import type { Consumer } from './consumer.js'
import type { Log } from './log.js'
import { outOfRange, startPosition } from './start-position.js'
import { type Claim, stickyAssignment } from './sticky-assignment.js'
import type { Topics } from './topics.js'

export interface CommittedOffset {
  readonly offset: number
  readonly metadata: string
}

export type GroupState = 'empty' | 'rebalancing' | 'stable'

/** Kafka's default of `offset.metadata.max.bytes`. */
const maxMetadataBytes = 4096

/**
 * A consumer group under the eager protocol: when members come or go everyone gives up, and once the last has joined
 * again the partitions are shared out anew, under the next generation.
 */
export class Group {
  state: GroupState = 'empty'
  generation = 0
  readonly members = new Set<Consumer>()
  readonly #rejoined = new Set<Consumer>()
  readonly #offsets = new Map<string, CommittedOffset>()
  /** Partitions on their way from a member that a test took them from. */
  readonly #avoid = new Map<string, Consumer>()
  #completion: Subscription | undefined
  #memberCount = 0

  constructor(
    readonly name: string,
    readonly topics: Topics,
    readonly connection: Connection,
  ) {}

  join(member: Consumer): void {
    member.memberId = this.#newMemberId(member)
    this.members.add(member)
    if (this.state === 'rebalancing') this.#rejoin(member)
    else this.#rebalance()
  }

  /** On leaving, and when the session of a dead member is over. */
  leave(member: Consumer): void {
    if (!this.members.delete(member)) return
    this.#rejoined.delete(member)
    this.#rebalance()
  }

  committed(place: { readonly topic: string; readonly partition: number }): CommittedOffset | undefined {
    return this.#offsets.get(partitionName(place))
  }

  commit(memberId: string, generation: number, points: readonly CommitPoint[]): void {
    if (![...this.members].some(member => member.memberId === memberId)) {
      throw this.#refused(`UNKNOWN_MEMBER_ID: ${memberId} is no member`)
    }
    if (generation !== this.generation) {
      throw this.#refused(`ILLEGAL_GENERATION: generation ${generation} is over, now is ${this.generation}`)
    }
    for (const point of points) {
      const bytes = Buffer.byteLength(point.metadata ?? '')
      if (bytes > maxMetadataBytes) {
        throw this.#refused(`OFFSET_METADATA_TOO_LARGE: ${bytes} bytes beside the position of ${partitionName(point)}`)
      }
    }
    for (const point of points) {
      this.#offsets.set(partitionName(point), { offset: Number(point.offset), metadata: point.metadata ?? '' })
    }
  }

  /** A graceful rebalance that takes the partition from its member. */
  revoke(topic: string, partition: number): void {
    this.#avoid.set(partitionName({ topic, partition }), this.#owner(topic, partition))
    this.#rebalance()
  }

  /** The member learns that the group went on without it, for this partition; commits it has under way are refused. */
  lose(topic: string, partition: number): void {
    const owner = this.#owner(topic, partition)
    owner.lose(partitionName({ topic, partition }))
    owner.memberId = this.#newMemberId(owner)
    this.#avoid.set(partitionName({ topic, partition }), owner)
    this.#rebalance()
  }

  #rebalance(): void {
    if (this.members.size === 0) {
      this.state = 'empty'
      this.#avoid.clear()
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

  /** Nothing here runs code of the members' clients: what they are told, they are told in turns of their own. */
  #complete(): void {
    this.state = 'stable'
    this.generation++
    this.#rejoined.clear()
    const claims = this.#claims()
    const assignment = stickyAssignment(claims)
    this.#avoid.clear()

    for (const member of this.members) {
      member.generation = this.generation
      const taken = claims.filter(
        claim => claim.owner === member && (claim.avoid === member || assignment.get(claim.name) !== member),
      )
      member.revoke(taken.map(claim => claim.name))
    }
    const failures: [Consumer, unknown][] = []
    for (const member of this.members) {
      const added = claims.filter(claim => assignment.get(claim.name) === member && !member.assignments.has(claim.name))
      try {
        member.assign(added.map(claim => ({ log: claim.log, ...this.#position(member, claim.log) })))
      } catch (error) {
        failures.push([member, error])
      }
    }
    for (const [member, error] of failures) member.fail(error)
  }

  #claims(): readonly (Claim<Consumer> & { readonly log: Log })[] {
    const members = [...this.members]
    const names = new Set(members.flatMap(member => member.request.topics))
    return [...names].sort().flatMap(name => {
      const eligible = members.filter(member => member.request.topics.includes(name))
      return (this.topics.find(name)?.logs ?? []).map(log => {
        const name = partitionName(log)
        const owner = members.find(member => member.assignments.has(name))
        return { name, log, eligible, owner, avoid: this.#avoid.get(name) }
      })
    })
  }

  #position(member: Consumer, log: Log): { readonly position: number; readonly metadata: string } {
    const { startFrom } = member.request
    const committed = this.committed(log)
    if (committed !== undefined && log.inRange(committed.offset)) {
      return { position: committed.offset, metadata: committed.metadata }
    }
    const position = startPosition(log, startFrom)
    if (committed !== undefined) member.trouble(outOfRange(log, committed.offset, position))
    // Kept at once: were the partition taken up again before the first commit, the end would be another, and what was
    // written in between would be passed over.
    if (startFrom !== 'earliest') this.#offsets.set(partitionName(log), { offset: position, metadata: '' })
    return { position, metadata: '' }
  }

  #owner(topic: string, partition: number): Consumer {
    const name = partitionName({ topic, partition })
    const owner = [...this.members].find(member => member.assignments.has(name))
    if (owner === undefined) throw new ConfigurationError(`${name} is assigned to no member of group '${this.name}'`)
    return owner
  }

  #newMemberId(member: Consumer): string {
    return `${member.clientId}-${++this.#memberCount}`
  }

  #refused(why: string): CommitError {
    return new CommitError(`group '${this.name}' refuses the commit: ${why}`, { retriable: true })
  }
}
