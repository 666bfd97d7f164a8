import type { Clock } from '../../clock.js'
import { FetchError } from '../../errors.js'
import type { Cluster } from './cluster/cluster.js'

/** How long brokers must deny that a topic exists, ms: a topic that is being recreated is missing for a moment. */
const reportAfter = 3_000

/** Reports topics that existed and were deleted. Each is reported once until it exists again. */
export class GoneTopics {
  readonly #seen = new Set<string>()
  readonly #goneSince = new Map<string, number>()
  readonly #reported = new Set<string>()

  constructor(
    readonly cluster: Cluster,
    readonly clock: Clock,
    readonly report: (error: FetchError) => void,
  ) {}

  /** Called whenever metadata was received. */
  onMetadata(topics: readonly string[]): void {
    for (const topic of topics) {
      const known = this.cluster.topic(topic)
      if (known === undefined) continue
      if (known.error?.name === 'UNKNOWN_TOPIC_OR_PARTITION') this.#missing(topic)
      else if (known.error === undefined) {
        this.#seen.add(topic)
        this.#goneSince.delete(topic)
        this.#reported.delete(topic)
      }
    }
  }

  #missing(topic: string): void {
    if (!this.#seen.has(topic) || this.#reported.has(topic)) return
    const now = this.clock.monotonic()
    const since = this.#goneSince.get(topic)
    if (since === undefined) this.#goneSince.set(topic, now)
    else if (now - since >= reportAfter) {
      this.#reported.add(topic)
      const message = `topic '${topic}' is gone: the brokers do not know it any more; it is read again once it is made again`
      this.report(new FetchError(message, { topic }))
    }
  }
}
