import type { Client } from '../client/client.js'
import type { Clock } from '../clock.js'
import type { Stall } from '../events.js'
import type { TopicMetrics } from '../metrics.js'
import { partitionName, placeName } from '../place.js'
import { readableBytes } from '../readable.js'
import type { HappeningCounts, Identity, PartitionState, StallState, Standing } from './messages.js'

/** How many of the retries that are due next are listed. */
const maxRetries = 50
/** The next scan of all held records waits this many times as long as the last one took, so scans use at most 2 % of the time. */
const restFactor = 50

/** Reads the current state of a client. */
export class Standings {
  /** The earliest time of the next scan for retries, by the monotonic clock. */
  #nextScanAt = 0
  #retries: readonly StallState[] = []

  constructor(
    readonly client: Client,
    readonly identity: Pick<Identity, 'retryTopic' | 'dlqTopic'>,
    readonly clock: Pick<Clock, 'monotonic'>,
  ) {}

  now(happened: HappeningCounts): Standing {
    const { client } = this
    const { topics, partitions, published, commits, rebalances } = client.metrics()
    const waiting = partitions.reduce((sum, { delayed }) => sum + delayed, 0)
    const sum = (field: keyof TopicMetrics) => Object.values(topics).reduce((all, topic) => all + topic[field], 0)
    return {
      happened,
      state: client.currentState,
      health: client.health(),
      partitions: partitions
        .map(
          (of): PartitionState => ({
            ...{ name: partitionName(of), topic: of.topic, partition: of.partition },
            ...{ position: String(of.position), committed: text(of.committed) },
            ...{ endOffset: text(of.endOffset), lag: text(of.lag) },
            ...{ inFlight: of.inFlight, oldestUnsettledSince: of.oldestUnsettledSince ?? null },
            ...{ delayed: of.delayed, held: of.held, finishedBehind: of.finishedBehind },
          }),
        )
        .sort((one, other) => this.#rank(one) - this.#rank(other) || byTopic(one, other)),
      stalls: client.stalls().map(stallState).sort(byTopic),
      retries: { waiting, next: this.#nextRetries(waiting) },
      totals: {
        ...{ delivered: sum('delivered'), acked: sum('acked'), failed: sum('failed') },
        ...{ retried: sum('retried'), deadLettered: sum('deadLettered') },
        ...{ published, commits, rebalances },
      },
    }
  }

  /** Sorts the registered topics first, then the retry topic, then the DLQ topic. */
  #rank({ topic }: PartitionState): number {
    const { retryTopic, dlqTopic } = this.identity
    return topic === dlqTopic ? 2 : topic === retryTopic ? 1 : 0
  }

  /** Hundreds of thousands of retries may wait, so scans are limited by `restFactor`. Returns the last result in between. */
  #nextRetries(waiting: number): readonly StallState[] {
    const began = this.clock.monotonic()
    if (waiting === 0) this.#retries = []
    else if (began >= this.#nextScanAt) {
      const dues = this.client.stalls({ all: true }).filter(({ why }) => why === 'not-due')
      dues.sort((one, other) => (one.due ?? one.since) - (other.due ?? other.since))
      this.#retries = dues.slice(0, maxRetries).map(stallState)
      const now = this.clock.monotonic()
      this.#nextScanAt = now + restFactor * (now - began)
    }
    return this.#retries
  }
}

export function stallState(stall: Stall): StallState {
  const { topic, partition, offset, origin, key, attempt, since, why, due } = stall
  return {
    ...{ place: placeName(stall), topic, partition, offset: String(offset) },
    ...{ origin: origin === undefined ? null : placeName(origin), key: key === null ? null : readableBytes(key) },
    ...{ attempt, since, why, due: due ?? null },
  }
}

function text(offset: bigint | undefined): string | null {
  return offset === undefined ? null : String(offset)
}

interface Partition {
  readonly topic: string
  readonly partition: number
}

function byTopic(one: Partition, other: Partition): number {
  if (one.topic === other.topic) return one.partition - other.partition
  return one.topic < other.topic ? -1 : 1
}
