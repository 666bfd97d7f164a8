import type { TopicMetrics } from '../metrics.js'

/** What is counted of one topic. One object, written on the hot path. */
export class TopicCounts implements TopicMetrics {
  delivered = 0
  acked = 0
  failed = 0
  retried = 0
  deadLettered = 0
  discarded = 0
  leaked = 0
}

/** Topics that are counted apart: names are read from the headers of copies, too, and may be any. */
const maxTopics = 10_000

/** What a client counts, from its making to its end. */
export class Counters {
  published = 0
  rebalances = 0
  /** By name, as users have it. */
  readonly #topics = new Map<string, TopicCounts>()
  readonly #others = new TopicCounts()

  /** The counts of a topic: always the same object, which may be kept. */
  of(topic: string): TopicCounts {
    let counts = this.#topics.get(topic)
    if (counts === undefined) {
      if (this.#topics.size >= maxTopics) return this.#others
      counts = new TopicCounts()
      this.#topics.set(topic, counts)
    }
    return counts
  }

  get topics(): Iterable<readonly [topic: string, counts: TopicCounts]> {
    return this.#topics
  }
}
