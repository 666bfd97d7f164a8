import { partitionName } from '../../../place.js'
import type { TopicPartition } from '../topic-partition.js'

export interface StickyMember {
  readonly id: string
  readonly topics: readonly string[]
  /** The partitions that it had when it joined. */
  readonly owned: readonly TopicPartition[]
  /** The generation in which it had them. If two members claim a partition, the later generation counts. */
  readonly generation: number
}

/** The partitions by member and topic, in ascending order. */
export type StickyAssignment = ReadonlyMap<string, ReadonlyMap<string, readonly number[]>>

/**
 * Assigns the partitions: first evenly, then with as few moves as possible, then in a fixed order, so that the same group always
 * gets the same assignment.
 *
 * Even means that no partition, and no chain of them, can be passed on so that the giver still has at least as many as the
 * receiver. If all members subscribe to the same topics, their counts differ by at most one.
 */
export function stickyAssignment(
  members: readonly StickyMember[],
  partitionCounts: ReadonlyMap<string, number>,
): StickyAssignment {
  const shares = [...members].sort((one, other) => compare(one.id, other.id)).map(member => new Share(member))
  const topics = [...partitionCounts.keys()].sort(compare)
  const owners = claims(shares)

  const unowned: TopicPartition[] = []
  for (const topic of topics) {
    for (let partition = 0; partition < partitionCounts.get(topic)!; partition++) {
      const owner = owners.get(partitionName({ topic, partition }))
      if (owner !== undefined) owner.take(topic, partition)
      else unowned.push({ topic, partition })
    }
  }
  for (const { topic, partition } of unowned) leastLoaded(shares, topic)?.take(topic, partition)
  while (evenOut(shares, topics)) {}

  return new Map(shares.map(share => [share.id, share.partitions()]))
}

/** The partitions of one member. */
class Share {
  readonly id: string
  readonly topics: ReadonlySet<string>
  readonly #taken = new Map<string, number[]>()
  count = 0

  constructor(readonly member: StickyMember) {
    this.id = member.id
    this.topics = new Set(member.topics)
  }

  of(topic: string): readonly number[] {
    return this.#taken.get(topic) ?? []
  }

  take(topic: string, partition: number): void {
    const partitions = this.#taken.get(topic)
    if (partitions === undefined) this.#taken.set(topic, [partition])
    else partitions.push(partition)
    this.count++
  }

  /** Gives away the partition that was taken last, so that partitions it had before stay as long as possible. */
  give(topic: string): number {
    this.count--
    return this.#taken.get(topic)!.pop()!
  }

  partitions(): ReadonlyMap<string, readonly number[]> {
    const sorted = [...this.#taken].filter(([, partitions]) => partitions.length > 0).sort(([a], [b]) => compare(a, b))
    return new Map(sorted.map(([topic, partitions]) => [topic, [...partitions].sort((a, b) => a - b)]))
  }
}

/** The members that had each partition, if they may keep it. */
function claims(shares: readonly Share[]): Map<string, Share> {
  const owners = new Map<string, Share>()
  for (const share of shares) {
    for (const { topic, partition } of share.member.owned) {
      if (!share.topics.has(topic)) continue
      const rival = owners.get(partitionName({ topic, partition }))
      if (rival === undefined || rival.member.generation < share.member.generation) {
        owners.set(partitionName({ topic, partition }), share)
      }
    }
  }
  return owners
}

function leastLoaded(shares: readonly Share[], topic: string): Share | undefined {
  let least: Share | undefined
  for (const share of shares) {
    if (!share.topics.has(topic)) continue
    if (least === undefined || share.count < least.count) least = share
    else if (share.count === least.count && share.of(topic).length < least.of(topic).length) least = share
  }
  return least
}

interface Step {
  readonly from: Share
  readonly topic: string
  readonly to: Share
}

/**
 * Passes one partition on, from the member with the most partitions from which any can be taken; through other members if the
 * two have no topic in common. Returns false if nothing is left to even out.
 */
function evenOut(shares: readonly Share[], topics: readonly string[]): boolean {
  const byLoad = [...shares].sort((one, other) => other.count - one.count || compare(one.id, other.id))
  for (const from of byLoad) {
    const chain = chainToLess(from, shares, topics)
    if (chain === undefined) continue
    for (const step of chain) step.to.take(step.topic, step.from.give(step.topic))
    return true
  }
  return false
}

/** The shortest chain from a member to one with at least two fewer partitions; among those, to the one with the fewest. */
function chainToLess(from: Share, shares: readonly Share[], topics: readonly string[]): readonly Step[] | undefined {
  const reached = new Map<Share, readonly Step[]>([[from, []]])
  let edge = [from]
  while (edge.length > 0) {
    const next: Share[] = []
    for (const giver of edge) {
      for (const to of shares) {
        if (reached.has(to)) continue
        const topic = topicToGive(giver, to, topics)
        if (topic === undefined) continue
        reached.set(to, [...reached.get(giver)!, { from: giver, topic, to }])
        next.push(to)
      }
    }
    const least = next.reduce<Share | undefined>(
      (found, share) => (found === undefined || share.count < found.count ? share : found),
      undefined,
    )
    if (least !== undefined && least.count <= from.count - 2) return reached.get(least)
    edge = next
  }
  return undefined
}

/** Among the topics that both have, the one that this evens out most. */
function topicToGive(giver: Share, to: Share, topics: readonly string[]): string | undefined {
  let best: string | undefined
  let most = Number.NEGATIVE_INFINITY
  for (const topic of topics) {
    if (!to.topics.has(topic) || giver.of(topic).length === 0) continue
    const difference = giver.of(topic).length - to.of(topic).length
    if (difference > most) {
      best = topic
      most = difference
    }
  }
  return best
}

function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0
}
