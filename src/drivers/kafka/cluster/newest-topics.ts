import { type Uuid, ZERO_UUID } from '../../../protocol/wire/uuid.js'
import type { KnownTopic } from './metadata.js'

/** The maximum of remembered ids of one topic. The oldest is removed first. */
const maxFormer = 100

interface Newest {
  readonly topic: KnownTopic
  /** Ids that the topic had before. */
  readonly former: Set<Uuid>
}

/**
 * Tells answers that are out of date. Brokers learn of changes one after the other, so a broker that is behind answers what
 * was true before:
 *
 * - Partitions are never removed from a topic. An answer with fewer partitions of the same topic id is out of date about their
 *   number, and the others stay.
 * - A topic id is never used again. An answer with an id that the topic had before is out of date as a whole.
 *
 * Without ids (brokers before 2.8) a topic with fewer partitions may be another one, so every answer counts. Leaders are taken
 * from every answer: a broker that does not lead any more says so.
 */
export class NewestTopics {
  readonly #newest = new Map<string, Newest>()

  /** What is known with this answer; undefined if it is out of date. */
  take(answer: KnownTopic): KnownTopic | undefined {
    // A topic that is missing for a moment is remembered.
    if (answer.id === ZERO_UUID || answer.partitions.length === 0) return answer
    const before = this.#newest.get(answer.name)
    if (before?.former.has(answer.id)) return undefined
    const topic = before?.topic.id === answer.id ? withAll(answer, before.topic) : answer
    const former = before?.former ?? new Set()
    if (before !== undefined && before.topic.id !== answer.id) remember(former, before.topic.id)
    this.#newest.set(answer.name, { topic, former })
    return topic
  }

  forget(name: string): void {
    this.#newest.delete(name)
  }
}

function withAll(answer: KnownTopic, before: KnownTopic): KnownTopic {
  if (answer.partitions.length >= before.partitions.length) return answer
  return { ...answer, partitions: [...answer.partitions, ...before.partitions.slice(answer.partitions.length)] }
}

function remember(former: Set<Uuid>, id: Uuid): void {
  former.add(id)
  if (former.size > maxFormer) former.delete(former.values().next().value!)
}
