// Exposes client.metrics() with prom-client. The metrics have the names that those of rxmika/opentelemetry get in Prometheus.
import { Counter, Gauge, type Registry } from 'prom-client'
import type { Client, Stall, StallReason, TopicMetrics } from 'rxmika'

const outcomes: readonly (readonly [keyof TopicMetrics, string])[] = [
  ['delivered', 'delivered'],
  ['acked', 'acked'],
  ['failed', 'failed'],
  ['retried', 'retried'],
  ['deadLettered', 'dead_lettered'],
  ['discarded', 'discarded'],
  ['leaked', 'leaked'],
]

const reasons: readonly StallReason[] = [
  'unsettled',
  'routing',
  'unroutable',
  'not-due',
  'no-subscriber',
  'paused',
  'committing',
]

const partitionOf = ({ topic, partition }: Pick<Stall, 'topic' | 'partition'>) => `${topic}-${partition}`

/** Registers the metrics of a client. Each scrape takes one snapshot. */
export function register(client: Client, registry: Registry): void {
  const into = { registers: [registry] }
  const deadLetters = new Counter({
    ...{ name: 'rxmika_dead_letters_total', help: 'Records copied to the DLQ topic, by error' },
    ...{ labelNames: ['messaging_destination_name', 'error_type'] as const, ...into },
  })
  /** The partitions that were reported as stalled. */
  const stalled = new Map<string, Stall>()
  client.events.subscribe(event => {
    if (event.type === 'stalled') stalled.set(partitionOf(event), event)
    else if (event.type === 'unstalled') stalled.delete(partitionOf(event))
    if (event.type !== 'dead-lettered') return
    const { topic } = event.origin ?? event
    const error = event.reason instanceof Error ? event.reason.name : typeof event.reason
    deadLetters.inc({ messaging_destination_name: topic, error_type: error })
  })
  const place = ['messaging_destination_name', 'messaging_destination_partition_id'] as const
  new Counter({
    ...{ name: 'rxmika_records_total', help: 'Records by outcome, under the topic first published to' },
    ...{ labelNames: ['messaging_destination_name', 'rxmika_outcome'] as const, ...into },
    // This metric is registered first, so a scrape collects it first. It takes one snapshot and sets all other metrics.
    collect() {
      const metrics = client.metrics()
      this.reset()
      for (const [topic, counts] of Object.entries(metrics.topics)) {
        for (const [count, outcome] of outcomes) {
          this.inc({ messaging_destination_name: topic, rxmika_outcome: outcome }, counts[count])
        }
      }
      // Removes partitions that are no longer assigned to this member.
      for (const gauge of [lag, unfinished, inFlight, oldest, delayed, held]) gauge.reset()
      for (const partition of metrics.partitions) {
        const { endOffset, position, finishedBehind, oldestUnsettledSince: since } = partition
        const labels = {
          messaging_destination_name: partition.topic,
          messaging_destination_partition_id: String(partition.partition),
        }
        if (partition.lag !== undefined) lag.set(labels, Number(partition.lag))
        if (endOffset !== undefined) unfinished.set(labels, Math.max(0, Number(endOffset - position) - finishedBehind))
        inFlight.set(labels, partition.inFlight)
        oldest.set(labels, since === undefined ? 0 : Math.max(0, (Date.now() - since) / 1000))
        delayed.set(labels, partition.delayed)
        held.set(labels, partition.held)
      }
      // A reason may change while its partition stays stalled. A reason without stalls is set to 0, so that its series does not
      // keep its last value.
      for (const reason of reasons) stalls.set({ rxmika_stall_reason: reason }, 0)
      const now = new Map(client.stalls().map(stall => [partitionOf(stall), stall]))
      for (const [place, stall] of stalled) stalls.inc({ rxmika_stall_reason: (now.get(place) ?? stall).why })
      ready.set(client.health().ready ? 1 : 0)
      for (const counter of [published, commits, rebalances]) counter.reset()
      published.inc(metrics.published)
      commits.inc(metrics.commits)
      rebalances.inc(metrics.rebalances)
    },
  })
  const lag = new Gauge({
    name: 'rxmika_partition_lag',
    help: 'End of the log minus committed position',
    labelNames: place,
    ...into,
  })
  const unfinished = new Gauge({
    ...{ name: 'rxmika_partition_unfinished', help: 'Lag behind finished work', labelNames: place, ...into },
  })
  const inFlight = new Gauge({
    name: 'rxmika_partition_in_flight',
    help: 'Records in flight',
    labelNames: place,
    ...into,
  })
  const oldest = new Gauge({
    ...{ name: 'rxmika_partition_oldest_unsettled_seconds', help: 'Age of the oldest record in a pipeline' },
    ...{ labelNames: place, ...into },
  })
  const delayed = new Gauge({
    name: 'rxmika_partition_delayed',
    help: 'Retries that are not due',
    labelNames: place,
    ...into,
  })
  const held = new Gauge({
    name: 'rxmika_partition_held',
    help: 'Records that are unroutable, or held by a step',
    labelNames: place,
    ...into,
  })
  const stalls = new Gauge({
    ...{ name: 'rxmika_stalls', help: 'Partitions reported as stalled, by reason' },
    ...{ labelNames: ['rxmika_stall_reason'] as const, ...into },
  })
  const ready = new Gauge({ name: 'rxmika_ready', help: '1 while the client is ready', ...into })
  const published = new Counter({ name: 'rxmika_published_total', help: 'Records acknowledged by the broker', ...into })
  const commits = new Counter({ name: 'rxmika_commits_total', help: 'OffsetCommit requests confirmed', ...into })
  const rebalances = new Counter({ name: 'rxmika_rebalances_total', help: 'Rebalances of this member', ...into })
}
