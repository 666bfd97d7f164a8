import { stickyAssignment } from '../../src/drivers/memory/sticky-assignment'
import { errorCode } from '../../src/protocol/errors'
import { type consumerGroupHeartbeat, memberEpoch } from '../../src/protocol/messages/consumer-group-heartbeat'
import type { ReceivedRequestOf, SentResponseOf } from '../../src/protocol/schema/message'
import type { Uuid } from '../../src/protocol/wire/uuid'

type Heartbeat = ReceivedRequestOf<typeof consumerGroupHeartbeat>
type Answer = SentResponseOf<typeof consumerGroupHeartbeat>

interface Member {
  epoch: number
  topics: readonly string[]
  /** The partitions that the member reports, as `id/partition`, and the epoch in which it got each. */
  owned: ReadonlyMap<string, number>
  /** The last assignment sent to the member, as `id/partition`. */
  told: readonly string[]
  /** Partitions that the member may own: assigned, and not reported as revoked. */
  held: ReadonlySet<string>
}

/** The coordinator of one group of the consumer protocol (KIP-848), without sessions. */
export class ConsumerGroup {
  readonly members = new Map<string, Member>()
  epoch = 0
  /** Existing topics that the coordinator does not know yet. */
  readonly unheard = new Set<string>()
  /** The target assignment by member, as `id/partition`, if the test sets it. */
  readonly wanted = new Map<string, readonly string[]>()
  /** The target owner of each `id/partition`. */
  #target: ReadonlyMap<string, string> = new Map()
  /** The partitions and members for which the target was computed. */
  #shared: readonly string[] = []

  constructor(
    readonly interval: number,
    /** Every partition of these topics, as `id/partition`. */
    readonly existing: (topics: readonly string[]) => readonly string[],
  ) {}

  places(topics: readonly string[]): readonly string[] {
    return this.existing(topics.filter(topic => !this.unheard.has(topic)))
  }

  heartbeat({ memberId, memberEpoch: epoch, topicPartitions, subscribedTopicNames }: Heartbeat): Answer {
    if (epoch === memberEpoch.leave || epoch === memberEpoch.leaveStatic) {
      if (this.members.delete(memberId)) this.#changed()
      return { ...nothing, memberEpoch: epoch, heartbeatIntervalMs: this.interval }
    }
    if (epoch === memberEpoch.join) {
      this.members.set(memberId, {
        epoch: 0,
        topics: subscribedTopicNames ?? [],
        owned: new Map(),
        told: [],
        held: new Set(),
      })
      this.#changed()
    }
    const member = this.members.get(memberId)
    if (member === undefined) return refusal(errorCode.UNKNOWN_MEMBER_ID)
    if (epoch !== memberEpoch.join && epoch !== member.epoch) return refusal(errorCode.FENCED_MEMBER_EPOCH)
    if (subscribedTopicNames !== null && subscribedTopicNames.join() !== member.topics.join()) {
      member.topics = subscribedTopicNames
      this.#changed()
    }
    // Topics may be created, created again, and get partitions.
    if (this.#allPlaces().join() !== this.#shared.join()) this.#changed()
    if (topicPartitions !== null) {
      const before = member.owned
      const places = topicPartitions.flatMap(each => each.partitions.map(at => `${each.topicId}/${at}`))
      member.owned = new Map(places.map(place => [place, before.get(place) ?? member.epoch]))
      member.held = new Set([...member.held].filter(place => member.owned.has(place) || member.told.includes(place)))
    }
    const share = this.#shareOf(memberId)
    // The epoch rises once the member has revoked what it has to.
    if ([...member.owned.keys()].every(place => share.includes(place))) member.epoch = this.epoch
    const isChanged = share.join(' ') !== member.told.join(' ')
    // A full heartbeat gets a full answer, because the former answer may have been lost.
    const isFull = topicPartitions !== null && subscribedTopicNames !== null
    const assignment = isChanged || isFull ? { topicPartitions: grouped(share) } : null
    member.told = share
    member.held = new Set([...member.held, ...share])
    return { ...nothing, memberId, memberEpoch: member.epoch, heartbeatIntervalMs: this.interval, assignment }
  }

  #allPlaces(): readonly string[] {
    return [...new Set([...this.members.values()].flatMap(({ topics }) => this.places(topics)))]
  }

  /** Computes a new target after a member has joined or left: even, and with as few moves as possible. */
  #changed(): void {
    this.epoch++
    const members = [...this.members]
    this.#shared = this.#allPlaces()
    this.#target = stickyAssignment(
      this.#shared.map(name => ({
        name,
        eligible: members.flatMap(([id, { topics }]) => (this.places(topics).includes(name) ? [id] : [])),
        owner: members.find(([, { owned }]) => owned.has(name))?.[0],
        avoid: undefined,
      })),
    )
  }

  /** The partitions that the member may own now: those of its target that no other member still owns. */
  #shareOf(memberId: string): readonly string[] {
    const others = [...this.members].flatMap(([id, { held }]) => (id === memberId ? [] : [...held]))
    return this.#wantedOf(memberId).filter(place => !others.includes(place))
  }

  #wantedOf(memberId: string): readonly string[] {
    const targeted = () => [...this.#target].flatMap(([place, id]) => (id === memberId ? [place] : []))
    return this.wanted.get(memberId) ?? targeted()
  }

  /** Whether the group waits for a member to revoke partitions. */
  get reconciling(): boolean {
    return [...this.members].some(([id, { owned }]) =>
      [...owned.keys()].some(place => !this.#wantedOf(id).includes(place)),
    )
  }

  /** Starts a new epoch, which every member has to reach. */
  change(memberId: string, wanted: readonly string[]): void {
    this.wanted.set(memberId, wanted)
    this.epoch++
  }

  /**
   * Brokers from 4.0 to 4.2 compare only the epoch. From 4.3 on (KIP-1251) the partition has to be the member's, and the epoch
   * may be any since the member got it.
   */
  fencing: 'by member' | 'by partition' = 'by member'

  /** @param place As `id/partition`. */
  commitCode(memberId: string, epoch: number, place: string): number {
    const member = this.members.get(memberId)
    if (member === undefined) return errorCode.UNKNOWN_MEMBER_ID
    const since = this.fencing === 'by member' ? member.epoch : (member.owned.get(place) ?? Number.POSITIVE_INFINITY)
    return since <= epoch && epoch <= member.epoch ? 0 : errorCode.STALE_MEMBER_EPOCH
  }
}

const nothing = { throttleTimeMs: 0, errorCode: 0, memberEpoch: 0, heartbeatIntervalMs: 0, assignment: null }

function refusal(code: number): Answer {
  return { ...nothing, errorCode: code }
}

function grouped(places: readonly string[]): { topicId: Uuid; partitions: number[] }[] {
  const topics = new Map<string, number[]>()
  for (const place of places) {
    const [id, partition] = place.split('/') as [string, string]
    topics.set(id, [...(topics.get(id) ?? []), Number(partition)])
  }
  return [...topics].map(([topicId, partitions]) => ({ topicId, partitions }))
}
