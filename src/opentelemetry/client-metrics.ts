import type { Attributes, BatchObservableCallback, Observable as Instrument, Meter } from '@opentelemetry/api'
import { Subscription } from 'rxjs'
import type { Client } from '../client/client.js'
import { systemClock } from '../clock.js'
import type { ClientEvent, Stall } from '../events.js'
import type { PartitionMetrics, TopicMetrics } from '../metrics.js'
import { errorType } from './attributes.js'

const outcomes: readonly (readonly [keyof TopicMetrics, string])[] = [
  ['delivered', 'delivered'],
  ['acked', 'acked'],
  ['failed', 'failed'],
  ['retried', 'retried'],
  ['deadLettered', 'dead_lettered'],
  ['discarded', 'discarded'],
  ['leaked', 'leaked'],
]

/** The metrics beyond the conventions, from `client.metrics()` and events. Read once per collection. */
export function observeClient(meter: Meter, client: Client): Subscription {
  const gauge = (name: string, unit: string, description: string) =>
    meter.createObservableGauge(name, { unit, description })
  const counter = (name: string, unit: string, description: string) =>
    meter.createObservableCounter(name, { unit, description })

  const lag = gauge('rxmika.partition.lag', '{record}', 'End of the log minus committed position.')
  const unfinished = gauge(
    'rxmika.partition.unfinished',
    '{record}',
    'End of the log minus the first record that is not completed: lag without completed work that is not committed yet.',
  )
  const inFlight = gauge('rxmika.partition.in_flight', '{record}', 'Records in a pipeline or on their failure route.')
  const oldest = gauge('rxmika.partition.oldest_unsettled', 's', 'Age of the oldest record in a pipeline.')
  const delayed = gauge('rxmika.partition.delayed', '{record}', 'Retries whose time has not come.')
  const held = gauge('rxmika.partition.held', '{record}', 'Records that are unroutable, or held by a step.')
  const stalled = gauge('rxmika.stalls', '{partition}', 'Partitions reported as stalled, by reason.')
  const ready = gauge('rxmika.ready', '', '1 while the client is ready, 0 while it is not.')
  const records = counter('rxmika.records', '{record}', 'Records by outcome, under the topic first published to.')
  const commits = counter('rxmika.commits', '{request}', 'OffsetCommit requests that the broker confirmed.')
  const rebalances = counter('rxmika.rebalances', '{rebalance}', 'How often this member received an assignment.')
  const deadLetters = meter.createCounter('rxmika.dead_letters', {
    unit: '{record}',
    description: 'Records that were copied to the DLQ topic, by the error with which they failed.',
  })

  const stalls = new Map<string, Stall>()
  const listening = new Subscription()
  listening.add(client.events.subscribe(event => noteEvent(event)))

  function noteEvent(event: ClientEvent): void {
    if (event.type === 'dead-lettered') {
      const topic = (event.origin ?? event).topic
      deadLetters.add(1, { 'messaging.destination.name': topic, 'error.type': errorType(event.reason) })
    } else if (event.type === 'stalled') stalls.set(`${event.topic}-${event.partition}`, event)
    else if (event.type === 'unstalled') stalls.delete(`${event.topic}-${event.partition}`)
  }

  const instruments: Instrument[] = [
    lag,
    unfinished,
    inFlight,
    oldest,
    delayed,
    held,
    stalled,
    ready,
    records,
    commits,
    rebalances,
  ]
  const observe: BatchObservableCallback = result => {
    const metrics = client.metrics()
    for (const partition of metrics.partitions) {
      const attributes = attributesOf(partition)
      if (partition.lag !== undefined) result.observe(lag, Number(partition.lag), attributes)
      if (partition.endOffset !== undefined) result.observe(unfinished, unfinishedOf(partition), attributes)
      result.observe(inFlight, partition.inFlight, attributes)
      result.observe(oldest, ageOf(partition), attributes)
      result.observe(delayed, partition.delayed, attributes)
      result.observe(held, partition.held, attributes)
    }
    for (const [reason, count] of stallsByReason(stalls, client)) {
      result.observe(stalled, count, { 'rxmika.stall.reason': reason })
    }
    result.observe(ready, client.health().ready ? 1 : 0)
    for (const [topic, counts] of Object.entries(metrics.topics)) {
      for (const [count, outcome] of outcomes) {
        result.observe(records, counts[count], { 'messaging.destination.name': topic, 'rxmika.outcome': outcome })
      }
    }
    result.observe(commits, metrics.commits)
    result.observe(rebalances, metrics.rebalances)
  }
  meter.addBatchObservableCallback(observe, instruments)
  listening.add(() => meter.removeBatchObservableCallback(observe, instruments))
  return listening
}

function attributesOf({ topic, partition }: PartitionMetrics): Attributes {
  return { 'messaging.destination.name': topic, 'messaging.destination.partition.id': String(partition) }
}

function unfinishedOf({ endOffset, position, finishedBehind }: PartitionMetrics): number {
  return Math.max(0, Number(endOffset! - position) - finishedBehind)
}

function ageOf({ oldestUnsettledSince }: PartitionMetrics): number {
  return oldestUnsettledSince === undefined ? 0 : Math.max(0, (systemClock.wall() - oldestUnsettledSince) / 1000)
}

/** The current reasons of reported stalls. A reason that is over is reported as 0, so that its line ends. */
function stallsByReason(reported: ReadonlyMap<string, Stall>, client: Client): ReadonlyMap<string, number> {
  const counts = new Map<string, number>(
    ['unsettled', 'routing', 'unroutable', 'not-due', 'no-subscriber', 'paused', 'committing'].map(why => [why, 0]),
  )
  if (reported.size === 0) return counts
  const now = new Map(client.stalls().map(stall => [`${stall.topic}-${stall.partition}`, stall]))
  for (const [place, stall] of reported) {
    const { why } = now.get(place) ?? stall
    counts.set(why, (counts.get(why) ?? 0) + 1)
  }
  return counts
}
