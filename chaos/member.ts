// One member of the group, in its own process. It handles records, and writes a journal.
import { tracingChannel } from 'node:diagnostics_channel'
import { setTimeout as sleep } from 'node:timers/promises'
import pino from 'pino'
import { defer, merge, mergeMap, type Observable, tap, timer } from 'rxjs'
import {
  type ClientEvent,
  type ConsumeRecord,
  createClient,
  type GroupProtocol,
  handle,
  type RebalanceMessage,
  steps,
} from 'rxmika'
import { openJournal, type RecordLine } from './journal'
import { notDrained } from './member-process'
import {
  dlqTopic,
  group,
  heartbeatInterval,
  rebalanceTimeout,
  retries,
  retryDelays,
  retryTopic,
  sessionTimeout,
  type Work,
  type WorkTopic,
  workTopics,
} from './workload'

export interface MemberTask {
  readonly name: string
  readonly brokers: readonly string[]
  readonly groupProtocol: GroupProtocol
  /** The path of the member's journal. */
  readonly journal: string
}

const { name, brokers, groupProtocol, journal }: MemberTask = JSON.parse(process.argv[2]!)
const write = openJournal(journal, name)

/** The rebalance in progress. */
let rebalance: RebalanceMessage | undefined

function noteAll(what: 'giving-up' | 'kept', places: RebalanceMessage['revoking']): void {
  for (const { topic, partition } of places) write({ what, topic, partition, offset: -1 })
}

const rebalances = tracingChannel<unknown, RebalanceMessage>('rxmika:rebalance')
rebalances.start.subscribe(message => {
  rebalance = message as RebalanceMessage
})
rebalances.asyncEnd.subscribe(message => {
  const { revoking, retained } = message as RebalanceMessage
  const wasRevoking = ({ topic, partition }: (typeof retained)[number]) =>
    revoking.some(place => place.topic === topic && place.partition === partition)
  noteAll('kept', retained.filter(wasRevoking))
})

const client = createClient({
  env: {},
  brokers,
  clientId: name,
  group,
  groupProtocol,
  retryTopic,
  dlqTopic,
  sessionTimeout,
  heartbeatInterval,
  rebalanceTimeout,
  stallAfter: 15_000,
  logger: pino(
    {
      hooks: {
        logMethod(message, log) {
          // No event reports the start of a rebalance. The log has a line for it, and the channel's message has the partitions.
          if (String(message[1]).startsWith('a rebalance begins')) noteAll('giving-up', rebalance?.revoking ?? [])
          log.apply(this, message)
        },
      },
    },
    pino.destination({ dest: 2, sync: true }),
  ),
})

const workOf = (record: ConsumeRecord): Work => JSON.parse(String(record.value))

function note(what: RecordLine['what'], record: ConsumeRecord): void {
  const { topic, partition, offset } = record.source
  write({ what, id: workOf(record).id, attempt: record.attempt, topic, partition, offset: Number(offset) })
}

class PlannedFailure extends Error {}

async function work(record: ConsumeRecord): Promise<void> {
  note('begun', record)
  const { ms, failures } = workOf(record)
  await sleep(ms)
  if (record.attempt <= failures) throw new PlannedFailure(`failure ${record.attempt} of ${failures}`)
}

/** Settles a record by `ack` and `fail`, without `handle`, in any order. */
function byHand(record: ConsumeRecord): Observable<unknown> {
  const { ms, failures, hopeless } = workOf(record)
  return defer(() => {
    note('begun', record)
    return timer(ms)
  }).pipe(
    tap(() => {
      if (record.attempt > failures) {
        if (record.ack()) note('acked', record)
      } else if (record.fail(new PlannedFailure(), { retry: !hopeless })) note('failed', record)
    }),
  )
}

function handled({ name, order }: WorkTopic): Observable<unknown> {
  const records = client.topic(name, { retries, backoff: steps(retryDelays), dlq: true, maxInFlight: 1_000 })
  if (order === 'none') return records.pipe(mergeMap(byHand, 32))
  return records.pipe(
    handle(work, { order, concurrency: 64 }),
    tap(({ record, status }) => note(status, record)),
  )
}

function noteEvent(event: ClientEvent): void {
  switch (event.type) {
    case 'assigned':
    case 'revoked':
    case 'lost':
    case 'committed':
    case 'forgotten':
    case 'late-settlement':
    case 'leaked':
    case 'stalled':
    case 'retried':
    case 'dead-lettered':
      return write({
        what: event.type,
        topic: event.topic,
        partition: event.partition,
        offset: Number(event.offset),
      })
    case 'disconnected':
    case 'restarted':
      return write({ what: event.type, detail: String(event.error) })
    case 'reconnected':
      return write({ what: event.type })
    case 'state':
      if (event.state === 'running') process.send?.('running')
  }
}

client.events.subscribe(noteEvent)
merge(...workTopics.map(handled)).subscribe({ error: error => write({ what: 'error', detail: String(error) }) })
client.start().subscribe(error => write({ what: 'error', detail: `${error.name}: ${error.message}` }))

// A warning of Node ends the member, which the check reports as a violation.
process.on('warning', warning => {
  throw warning
})
process.once('SIGTERM', () => {
  write({ what: 'closing' })
  client.closeGracefully({ timeout: 10_000 })
})
process.send?.('up')
// When the parent process has ended.
process.once('disconnect', () => process.exit(1))

const { drained, unsettled } = await client.closed
write({ what: 'closed', detail: `drained: ${drained}, unsettled: ${unsettled}` })
process.exit(drained ? 0 : notDrained)
