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
  /** What it says that it has, as `id/partition`, and since which epoch. */
  owned: ReadonlyMap<string, number>
  /** What it was told last to have, as `id/partition`. */
  told: readonly string[]
  /** What it has, or was told to have and has not said yet that it has not. */
  held: ReadonlySet<string>
}

/** The coordinator of one group of the consumer protocol (KIP-848), without sessions. */
export class ConsumerGroup {
  readonly members = new Map<string, Member>()
  epoch = 0
  /** Topics that were made, and that it has not heard of yet. */
  readonly unheard = new Set<string>()
  /** By member what it is to have, as `id/partition`, where the test says so. */
  readonly wanted = new Map<string, readonly string[]>()
  /** By `id/partition` who is to have it. */
  #target: ReadonlyMap<string, string> = new Map()
  /** What there was to share out then. */
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
    // Topics are made, made again and grow.
    if (this.#allPlaces().join() !== this.#shared.join()) this.#changed()
    if (topicPartitions !== null) {
      const before = member.owned
      const places = topicPartitions.flatMap(each => each.partitions.map(at => `${each.topicId}/${at}`))
      member.owned = new Map(places.map(place => [place, before.get(place) ?? member.epoch]))
      member.held = new Set([...member.held].filter(place => member.owned.has(place) || member.told.includes(place)))
    }
    const share = this.#shareOf(memberId)
    // The epoch rises once what is to go is given up.
    if ([...member.owned.keys()].every(place => share.includes(place))) member.epoch = this.epoch
    const isChanged = share.join(' ') !== member.told.join(' ')
    // Who says everything is told everything: the answer of before may not have come.
    const isFull = topicPartitions !== null && subscribedTopicNames !== null
    const assignment = isChanged || isFull ? { topicPartitions: grouped(share) } : null
    member.told = share
    member.held = new Set([...member.held, ...share])
    return { ...nothing, memberId, memberEpoch: member.epoch, heartbeatIntervalMs: this.interval, assignment }
  }

  #allPlaces(): readonly string[] {
    return [...new Set([...this.members.values()].flatMap(({ topics }) => this.places(topics)))]
  }

  /** Somebody came or went: all is shared out anew, evenly, leaving with each what need not move. */
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

  /** What it is to have now: nothing that another has still. */
  #shareOf(memberId: string): readonly string[] {
    const others = [...this.members].flatMap(([id, { held }]) => (id === memberId ? [] : [...held]))
    return this.#wantedOf(memberId).filter(place => !others.includes(place))
  }

  #wantedOf(memberId: string): readonly string[] {
    const targeted = () => [...this.#target].flatMap(([place, id]) => (id === memberId ? [place] : []))
    return this.wanted.get(memberId) ?? targeted()
  }

  /** Whether the group waits for a member to give something up. */
  get reconciling(): boolean {
    return [...this.members].some(([id, { owned }]) =>
      [...owned.keys()].some(place => !this.#wantedOf(id).includes(place)),
    )
  }

  /** The group changes: every member's epoch is to rise. */
  change(memberId: string, wanted: readonly string[]): void {
    this.wanted.set(memberId, wanted)
    this.epoch++
  }

  /**
   * Brokers of 4.0 to 4.2 compare the epoch alone, whatever the partition. From 4.3 on (KIP-1251) a partition has to be the
   * member's, and the epoch may be any since it is.
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
