import type { Clock } from '../../../clock.js'
import { type Uuid, ZERO_UUID } from '../../../protocol/wire/uuid.js'
import type { KnownTopic } from './metadata.js'

/** For how long, ms, and by how many answers a former id must be named before it counts again. */
const minDoubtTime = 3_000
const minDoubts = 3
/** The maximum number of remembered ids of one topic. The oldest is removed first. */
const maxFormer = 100

/** What was learnt about one topic. */
interface Newest {
  topic: KnownTopic
  /** Ids that the topic had before. */
  readonly former: Set<Uuid>
  /** Answers with a former id since the last one with the present id: how many, and since when. */
  doubts: number
  doubtedSince: number
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
 *
 * Without ids (brokers before 2.8) a topic with fewer partitions may be another one, so every answer counts. Leaders are taken
 * from every answer: a broker that does not lead any more says so.
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
      this.#newest.set(answer.name, { topic: answer, former: new Set(), doubts: 0, doubtedSince: 0 })
      return answer
    }
    const { topic, former } = newest
    if (former.has(answer.id) && !this.#isDoubtful(newest)) return undefined
    newest.doubts = 0
    newest.topic = topic.id === answer.id ? withAll(answer, topic) : answer
    if (topic.id !== answer.id) remember(former, topic.id, answer.id)
    return newest.topic
  }

  /** Called for an answer with a former id. Returns whether the present id may be the older one. */
  #isDoubtful(newest: Newest): boolean {
    const now = this.clock.monotonic()
    if (newest.doubts++ === 0) newest.doubtedSince = now
    return newest.doubts >= minDoubts && now - newest.doubtedSince >= minDoubtTime
  }

  forget(name: string): void {
    this.#newest.delete(name)
  }
}

function withAll(answer: KnownTopic, before: KnownTopic): KnownTopic {
  if (answer.partitions.length >= before.partitions.length) return answer
  return { ...answer, partitions: [...answer.partitions, ...before.partitions.slice(answer.partitions.length)] }
}

function remember(former: Set<Uuid>, before: Uuid, now: Uuid): void {
  former.delete(now)
  former.add(before)
  if (former.size > maxFormer) former.delete(former.values().next().value!)
}
