import type { Clock } from '../../../clock.js'
import { type Uuid, ZERO_UUID } from '../../../protocol/wire/uuid.js'
import type { KnownPartition, KnownTopic } from './metadata.js'

/** For how long, ms, and by how many answers in a row an earlier state must be named before it counts again. */
const minDoubtTime = 3_000
const minDoubts = 3
/** Answers that are further apart are not in a row, ms: nothing is wrong with the present leader, so nobody asks. */
const maxDoubtGap = 15_000
/** The maximum number of remembered ids of one topic. The oldest is removed first. */
const maxFormer = 100

/** What was learnt about one topic. */
interface Newest {
  topic: KnownTopic
  /** Ids that the topic had before. */
  readonly former: Set<Uuid>
  /** Answers with a former id since the last one with the present id. */
  readonly formerId: Doubt
  /** Answers with a leader of an earlier epoch since the last one without. */
  readonly formerLeader: Doubt
}

/** Answers in a row that name an earlier state. */
class Doubt {
  #count = 0
  #since = 0
  #last = 0

  constructor(readonly clock: Clock) {}

  /** Another such answer. Returns whether the present state may be the older one. */
  grows(maxGap = Number.POSITIVE_INFINITY): boolean {
    const now = this.clock.monotonic()
    if (this.#count === 0 || now - this.#last > maxGap) {
      this.#count = 0
      this.#since = now
    }
    this.#last = now
    return ++this.#count >= minDoubts && now - this.#since >= minDoubtTime
  }

  ends(): void {
    this.#count = 0
  }
}

/**
 * Recognizes answers that are out of date. Brokers learn of changes one after the other, so a broker that is behind answers
 * with an earlier state:
 *
 * - Partitions are never removed from a topic. An answer with fewer partitions of the same topic id is out of date about their
 *   number, and the others stay.
 * - A topic id is never used again. An answer with an id that the topic had before is out of date as a whole. But the id that
 *   was heard last may be the older one, if a broker that is behind was the last to answer. So a former id counts again once
 *   several answers in a row name it.
 * - A leader's epoch only rises. A leader of an earlier epoch does not lead any more, and may not have heard of that: without
 *   the controller it goes on with a log in which what was read since is missing. But the epochs of a restored cluster are
 *   lower, so an earlier one counts again once several answers in a row name it.
 *
 * Without ids (brokers before 2.8) a topic with fewer partitions may be another one, so every answer counts.
 */
export class NewestTopics {
  readonly #newest = new Map<string, Newest>()

  constructor(readonly clock: Clock) {}

  /** Returns the topic as it is known after this answer; undefined if the answer is out of date. */
  take(answer: KnownTopic): KnownTopic | undefined {
    // A topic that is missing for a moment is remembered.
    if (answer.id === ZERO_UUID || answer.partitions.length === 0) return answer
    const newest = this.#newest.get(answer.name)
    if (newest === undefined) {
      this.#newest.set(answer.name, {
        topic: answer,
        former: new Set(),
        formerId: new Doubt(this.clock),
        formerLeader: new Doubt(this.clock),
      })
      return answer
    }
    const { topic, former } = newest
    if (former.has(answer.id) && !newest.formerId.grows()) return undefined
    newest.formerId.ends()
    newest.topic = topic.id === answer.id ? withLeaders(withAll(answer, topic), newest) : answer
    if (topic.id !== answer.id) remember(former, topic.id, answer.id)
    return newest.topic
  }

  forget(name: string): void {
    this.#newest.delete(name)
  }
}

function withAll(answer: KnownTopic, before: KnownTopic): KnownTopic {
  if (answer.partitions.length >= before.partitions.length) return answer
  return { ...answer, partitions: [...answer.partitions, ...before.partitions.slice(answer.partitions.length)] }
}

/** With the known leaders in place of those of an earlier epoch, unless these count again. */
function withLeaders(answer: KnownTopic, { topic, formerLeader }: Newest): KnownTopic {
  const isFormer = ({ leaderEpoch }: KnownPartition, partition: number) =>
    leaderEpoch >= 0 && leaderEpoch < (topic.partitions[partition]?.leaderEpoch ?? -1)
  if (answer.partitions.some(isFormer) && !formerLeader.grows(maxDoubtGap)) {
    const partitions = answer.partitions.map((each, at) => (isFormer(each, at) ? topic.partitions[at]! : each))
    return { ...answer, partitions }
  }
  formerLeader.ends()
  return answer
}

function remember(former: Set<Uuid>, before: Uuid, now: Uuid): void {
  former.delete(now)
  former.add(before)
  if (former.size > maxFormer) former.delete(former.values().next().value!)
}
