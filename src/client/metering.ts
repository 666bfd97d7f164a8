import { Subscription } from 'rxjs'
import type { Clock } from '../clock.js'
import type { Driver } from '../driver.js'
import type { ClientMetrics, PartitionMetrics, TopicMetrics } from '../metrics.js'
import { Readable } from '../readable.js'
import type { Assignment } from './assignment.js'
import type { Counters } from './counters.js'

/** How often the end of a topic is asked for that no fetch tells, ms. */
const askEvery = 2_000

export interface MeteringHost {
  readonly driver: Pick<Driver, 'endOffsets'>
  readonly clock: Clock
  readonly counters: Counters
  /** Offset commits that were confirmed. */
  commits(): number
  assignments(): Iterable<Assignment>
}

/** A snapshot as users get it: its fields are its own, and it reads well in a log. */
class MetricsObject extends Readable {}

/** Its own fields are what a contract has; what is known beyond is a getter. */
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
 * What `client.metrics()` returns. The ends of logs come with fetches. Those of partitions that are not fetched, because they
 * are paused, without a subscriber or full, are asked for when a snapshot is taken, so the next one has them.
 */
export class Metering {
  readonly #asking = new Subscription()
  /** By full name: when a topic's ends were asked for. */
  readonly #askedAt = new Map<string, number>()

  constructor(readonly host: MeteringHost) {}

  snapshot(): ClientMetrics {
    const { counters, commits } = this.host
    const partitions: PartitionMetrics[] = []
    const unheard = new Set<string>()
    for (const assignment of this.host.assignments()) {
      const { endOffset, topic } = assignment.handle
      if (endOffset !== undefined) assignment.endOffset = endOffset
      else unheard.add(topic)
      partitions.push(new PartitionObject(assignment.metrics()) as unknown as PartitionMetrics)
    }
    for (const topic of unheard) this.#ask(topic)
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
      // The brokers are away, which is reported elsewhere: the next snapshot asks again.
      error: () => {},
    })
    this.#asking.add(asking)
    asking.add(() => this.#asking.remove(asking))
  }
}
