import { type Clock, systemClock } from '../../clock.js'
import type { CommitPoint } from '../../commit-point.js'
import { type Coordinator, mayHaveMoved } from './coordinator.js'
import { within } from './deadline.js'
import type { Broker, HeartbeatRequest } from './kafkajs-internals.js'
import { longestSince, type Moment, momentOf } from './moment.js'
import { errorType, isConnectionFailure } from './protocol-error.js'

/** How a member is known to its group; another with every rebalance. */
export interface Membership {
  readonly memberId: string
  readonly generation: number
}

/** What a session tells its owner. None of these may throw. */
export interface SessionOwner {
  answered(): void
  unanswered(error: unknown): void
  /** The group was in doubt, and knows this member still. */
  confirmed(): void
  /** The group went on without this member. */
  kicked(error: unknown): void
}

/** How long one request may take before its outcome is taken for unknown, ms. */
const requestTimeout = 10_000

/** What a member asks of its group as a member: heartbeats, commits, and whether it is one still. */
export class GroupSession {
  /** From the moment kafkajs goes to join until it has: no commit passes in between. */
  joining = true
  #membership: Membership | undefined
  /** When we last asked something that the group answered to us as a member: from then on it counted a session at least. */
  #lastContact: Moment
  readonly #heartbeats = new WeakMap<Broker, Broker['heartbeat']>()

  constructor(
    readonly groupId: string,
    readonly sessionTimeout: number,
    readonly coordinator: Coordinator,
    readonly owner: SessionOwner,
    readonly clock: Clock = systemClock,
  ) {
    this.#lastContact = momentOf(clock)
  }

  get membership(): Membership | undefined {
    return this.#membership
  }

  /** True: the session may be over, and others may have what we hold. Only a heartbeat can tell. */
  get doubtful(): boolean {
    return longestSince(this.#lastContact, this.clock) > this.sessionTimeout
  }

  begin(membership: Membership): void {
    this.#contact(momentOf(this.clock))
    const { memberId } = membership
    if (this.#membership !== undefined && this.#membership.memberId !== memberId) {
      this.owner.kicked(new Error(`the group knows this member by a new id, ${memberId}`))
    }
    this.#membership = membership
  }

  /** @param asked When the question was sent. The answer may have lain about for as long as this process stood still. */
  #contact(asked: Moment): void {
    const { doubtful } = this
    // Answers need not come in the order of their questions.
    if (asked.monotonic >= this.#lastContact.monotonic) this.#lastContact = asked
    this.owner.answered()
    if (doubtful && !this.doubtful) this.owner.confirmed()
  }

  /** kafkajs sends its heartbeats to the coordinator that it knew when it joined. */
  redirectHeartbeats(broker: Broker): void {
    this.#heartbeats.set(broker, broker.heartbeat.bind(broker))
    broker.heartbeat = request => this.#kafkajsBeats(request)
  }

  /** What this throws ends kafkajs's fetching, and most of what it can throw has kafkajs join again. */
  async #kafkajsBeats(request: HeartbeatRequest): Promise<unknown> {
    const membership = this.#membership
    const asked = momentOf(this.clock)
    try {
      const answer = await this.#beat(request)
      this.#contact(asked)
      return answer
    } catch (error) {
      // A coordinator that is away or elsewhere is looked for, and fetching goes on meanwhile.
      if (mayHaveMoved(error)) {
        if (isConnectionFailure(error)) this.owner.unanswered(error)
        return undefined
      }
      this.#verdict(error, membership, asked)
      throw error
    }
  }

  /** Tells the group that we live, and learns whether it still knows us. Rejects when it does not, or does not answer. */
  async heartbeat(): Promise<void> {
    const membership = this.#membership
    if (membership === undefined) return
    const { memberId, generation } = membership
    const asked = momentOf(this.clock)
    const beat = this.#beat({ groupId: this.groupId, memberId, groupGenerationId: generation })
    try {
      await within(requestTimeout, beat, 'the heartbeat')
      this.#contact(asked)
    } catch (error) {
      this.#verdict(error, membership, asked)
      if (errorType(error) !== 'REBALANCE_IN_PROGRESS') throw error
    }
  }

  #beat(request: HeartbeatRequest): Promise<unknown> {
    return this.coordinator.ask(broker => this.#heartbeats.get(broker)!(request))
  }

  /** A heartbeat of before a join can be answered after it; what it says is about a generation that is over. */
  #verdict(error: unknown, membership: Membership | undefined, asked: Moment): void {
    if (membership !== this.#membership || this.joining) return
    const type = errorType(error)
    if (type === undefined) return
    this.owner.answered()
    if (type === 'REBALANCE_IN_PROGRESS') this.#contact(asked)
    else if (kickedTypes.has(type)) this.owner.kicked(error)
  }

  async commit(points: readonly CommitPoint[]): Promise<void> {
    const { memberId, generation } = this.#membership!
    const asked = momentOf(this.clock)
    const topics = new Map<string, { partition: number; offset: string; metadata: string | null }[]>()
    for (const { topic, partition, offset, metadata } of points) {
      const partitions = topics.get(topic) ?? []
      topics.set(topic, partitions)
      partitions.push({ partition, offset: String(offset), metadata: metadata ?? null })
    }
    const sent = this.coordinator.ask(broker =>
      broker.offsetCommit({
        groupId: this.groupId,
        memberId,
        groupGenerationId: generation,
        topics: [...topics].map(([topic, partitions]) => ({ topic, partitions })),
      }),
    )
    await within(requestTimeout, sent, 'the commit')
    this.#contact(asked)
  }
}

const kickedTypes = new Set(['UNKNOWN_MEMBER_ID', 'ILLEGAL_GENERATION', 'FENCED_INSTANCE_ID'])
