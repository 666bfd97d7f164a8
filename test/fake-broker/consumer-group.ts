import { errorCode } from '../../src/protocol/errors'
import { type consumerGroupHeartbeat, memberEpoch } from '../../src/protocol/messages/consumer-group-heartbeat'
import type { ReceivedRequestOf, SentResponseOf } from '../../src/protocol/schema/message'
import type { Uuid } from '../../src/protocol/wire/uuid'

type Heartbeat = ReceivedRequestOf<typeof consumerGroupHeartbeat>
type Answer = SentResponseOf<typeof consumerGroupHeartbeat>

interface Member {
  epoch: number
  /** What it says that it has, as `id/partition`. */
  owned: ReadonlySet<string>
  told: string
}

/** The coordinator of one group of the consumer protocol (KIP-848), for some members that read the same topics. */
export class ConsumerGroup {
  readonly members = new Map<string, Member>()
  epoch = 0
  /** By member what it is to have, as `id/partition`, where the test says so. */
  readonly wanted = new Map<string, readonly string[]>()

  constructor(
    readonly interval: number,
    /** Every partition of these topics, as `id/partition`. */
    readonly places: (topics: readonly string[]) => readonly string[],
  ) {}

  #topics: readonly string[] = []

  heartbeat({ memberId, memberEpoch: epoch, topicPartitions, subscribedTopicNames }: Heartbeat): Answer {
    if (epoch === memberEpoch.leave || epoch === memberEpoch.leaveStatic) {
      if (this.members.delete(memberId)) this.epoch++
      return { ...nothing, memberEpoch: epoch, heartbeatIntervalMs: this.interval }
    }
    this.#topics = subscribedTopicNames ?? this.#topics
    if (epoch === memberEpoch.join) {
      this.epoch++
      this.members.set(memberId, { epoch: this.epoch, owned: new Set(), told: '' })
    }
    const member = this.members.get(memberId)
    if (member === undefined) return refusal(errorCode.UNKNOWN_MEMBER_ID)
    if (epoch !== memberEpoch.join && epoch !== member.epoch) return refusal(errorCode.FENCED_MEMBER_EPOCH)
    if (topicPartitions !== null) {
      member.owned = new Set(topicPartitions.flatMap(each => each.partitions.map(at => `${each.topicId}/${at}`)))
    }
    const share = this.#shareOf(memberId)
    const isSettled = [...member.owned].every(place => share.includes(place))
    // The epoch rises once what is to go is given up.
    if (isSettled) member.epoch = this.epoch
    const told = share.join(' ')
    const assignment = told === member.told && epoch !== memberEpoch.join ? null : { topicPartitions: grouped(share) }
    member.told = told
    return { ...nothing, memberId, memberEpoch: member.epoch, heartbeatIntervalMs: this.interval, assignment }
  }

  /** What it is to have now: nothing that another has still. */
  #shareOf(memberId: string): readonly string[] {
    const ids = [...this.members.keys()]
    const others = [...this.members].filter(([id]) => id !== memberId).flatMap(([, { owned }]) => [...owned])
    const wanted =
      this.wanted.get(memberId) ?? this.places(this.#topics).filter((_, at) => ids[at % ids.length] === memberId)
    return wanted.filter(place => !others.includes(place))
  }

  /** The group changes: every member's epoch is to rise. */
  change(memberId: string, wanted: readonly string[]): void {
    this.wanted.set(memberId, wanted)
    this.epoch++
  }

  commitCode(memberId: string, epoch: number): number {
    const member = this.members.get(memberId)
    if (member === undefined) return errorCode.UNKNOWN_MEMBER_ID
    return epoch === member.epoch ? 0 : errorCode.STALE_MEMBER_EPOCH
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
