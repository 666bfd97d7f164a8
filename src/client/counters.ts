import type { TopicMetrics } from '../metrics.js'

/** The counts of one topic. One object, written on the hot path. */
export class TopicCounts implements TopicMetrics {
  delivered = 0
  acked = 0
  failed = 0
  retried = 0
  deadLettered = 0
  discarded = 0
  leaked = 0
}

/** How many topics are counted separately. Names also come from headers of copies, so there may be any number. */
const maxTopics = 10_000

/** The counts of a client. */
export class Counters {
  published = 0
  rebalances = 0
  /** By topic, as users name it. */
  readonly #topics = new Map<string, TopicCounts>()
  readonly #others = new TopicCounts()

  /** The counts of a topic: always the same object, so callers may keep it. */
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
