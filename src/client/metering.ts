import { Subscription } from 'rxjs'
import type { Clock } from '../clock.js'
import type { Driver } from '../driver.js'
import type { ClientMetrics, PartitionMetrics, TopicMetrics } from '../metrics.js'
import { Readable } from '../readable.js'
import type { Assignment } from './assignment.js'
import type { Counters } from './counters.js'

/** The shortest time between two requests for a topic's end offsets, ms. */
const askEvery = 2_000

export interface MeteringHost {
  readonly driver: Pick<Driver, 'endOffsets'>
  readonly clock: Clock
  readonly counters: Counters
  /** How many offset commits were confirmed. */
  commits(): number
  assignments(): Iterable<Assignment>
}

/** A snapshot of metrics, printable in a log. */
class MetricsObject extends Readable {}

/** Has the fields of the contract as own properties; additional values are getters. */
class PartitionObject extends Readable {
  readonly #finishedBehind: number

  constructor({ finishedBehind, ...fields }: PartitionMetrics) {
    super()
    this.#finishedBehind = finishedBehind
    Object.assign(this, fields)
  }

  get finishedBehind(): number {
    return this.#finishedBehind
  }
}

/**
 * The snapshots of `client.metrics()`. End offsets come with fetches. Those of partitions that are not fetched (paused,
 * without a subscriber, full) are requested when a snapshot is taken, so the next snapshot has them.
 */
export class Metering {
  readonly #asking = new Subscription()
  /** When the end offsets of a topic, by its full name, were last requested. */
  readonly #askedAt = new Map<string, number>()

  constructor(readonly host: MeteringHost) {}

  snapshot(): ClientMetrics {
    const { counters, commits } = this.host
    const partitions: PartitionMetrics[] = []
    const withoutEnd = new Set<string>()
    for (const assignment of this.host.assignments()) {
      const { endOffset, topic } = assignment.handle
      if (endOffset !== undefined) assignment.endOffset = endOffset
      else withoutEnd.add(topic)
      partitions.push(new PartitionObject(assignment.metrics()) as unknown as PartitionMetrics)
    }
    for (const topic of withoutEnd) this.#ask(topic)
    const topics: Record<string, TopicMetrics> = Object.create(null)
    for (const [topic, counts] of counters.topics) topics[topic] = { ...counts }
    const { published, rebalances } = counters
    const metrics = { topics, partitions, published, commits: commits(), rebalances }
    return Object.assign(new MetricsObject(), metrics) as unknown as ClientMetrics
  }

  end(): void {
    this.#asking.unsubscribe()
  }

  #ask(topic: string): void {
    const now = this.host.clock.monotonic()
    if (this.#asking.closed || now - (this.#askedAt.get(topic) ?? Number.NEGATIVE_INFINITY) < askEvery) return
    this.#askedAt.set(topic, now)
    const asking = this.host.driver.endOffsets(topic).subscribe({
      next: ends => {
        for (const assignment of this.host.assignments()) {
          const end = assignment.handle.topic === topic ? ends.get(assignment.partition) : undefined
          if (end !== undefined) assignment.endOffset = end
        }
      },
      // The brokers are away, which is reported elsewhere. The next snapshot asks again.
      error: () => {},
    })
    this.#asking.add(asking)
    asking.add(() => this.#asking.remove(asking))
  }
}
