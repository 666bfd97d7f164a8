import { isRxMikaError } from '../errors.js'
import type { Failed } from '../failure.js'
import type { ProduceRecord } from '../publish.js'
import { type DeliveredRecord, deliveryOf } from '../record.js'
import type { Routing } from '../routing.js'
import type { Concessions } from './concessions.js'
import { type FieldValues, type GroupHeaders, isInRange, isWellFormed } from './headers.js'
import { messageOf, nameOf, stackOf } from './reason.js'

/** Headers that are written with the first copy and never changed after that. */
const lasting = [
  'org_topic',
  'org_partition',
  'org_offset',
  'org_timestamp',
  'first_failed_at',
  'redriven_at',
  'redriven_by',
] as const

/** The length of a shortened message, in UTF-16 units. */
const shortMessage = 64

/** The history of a record, from its own headers if it is a copy. */
interface History {
  readonly retries: number
  readonly malformed: boolean
  readonly timestamp: number
  readonly lasting: FieldValues
}

/**
 * The copy of a failed record for the retry topic. Key, value, timestamp and foreign headers are copied byte for byte; this
 * group's headers are replaced.
 *
 * @param now When the record failed.
 * @param delay How long after that it must not be delivered, ms.
 */
export function retryCopy(
  failed: Failed,
  routing: Routing,
  own: GroupHeaders,
  topic: string,
  now: number,
  delay: number,
  without: Concessions,
): ProduceRecord {
  const record = deliveredBy(failed)
  const history = historyOf(record, routing, own, now)
  return copyOf(failed, record, topic, history, own, timestampOf(history, routing, without), without, {
    retries: history.retries + 1,
    now,
    not_before: delay > 0 ? now + delay : undefined,
    // A stack trace is most of a copy's bytes. It is left out here, because the dead letter has its own.
    error_stack: undefined,
    disposition: undefined,
  })
}

/** The copy of a failed record for the DLQ topic. Its count of retries stays, so that a replay does not start again at 0. */
export function deadLetterCopy(
  failed: Failed,
  routing: Routing,
  own: GroupHeaders,
  topic: string,
  now: number,
  without: Concessions,
): ProduceRecord {
  const record = deliveredBy(failed)
  const history = historyOf(record, routing, own, now)
  return copyOf(failed, record, topic, history, own, timestampOf(history, routing, without), without, {
    retries: history.retries,
    now,
    not_before: undefined,
    error_stack: stackOf(failed.reason),
    disposition: dispositionOf(failed, history),
  })
}

interface Newest {
  readonly retries: number
  readonly now: number
  readonly not_before: number | undefined
  readonly error_stack: string | undefined
  readonly disposition: string | undefined
}

function copyOf(
  { reason, stage }: Failed,
  record: DeliveredRecord,
  topic: string,
  { lasting, malformed }: History,
  own: GroupHeaders,
  timestamp: number,
  { detail, compression }: Concessions,
  { retries, now, not_before, error_stack, disposition }: Newest,
): ProduceRecord {
  const isMinimal = detail === 'minimal'
  const headers = own.replace(record.headerPairs, {
    org_topic: lasting.org_topic,
    retries,
    // MiKa's clients always write it; empty, it takes few bytes.
    msg: isMinimal ? '' : detail === 'short' ? messageOf(reason).slice(0, shortMessage) : messageOf(reason),
    org_partition: lasting.org_partition,
    org_offset: lasting.org_offset,
    org_timestamp: lasting.org_timestamp,
    first_failed_at: isMinimal ? undefined : lasting.first_failed_at,
    redriven_at: isMinimal ? undefined : lasting.redriven_at,
    redriven_by: isMinimal ? undefined : lasting.redriven_by,
    // Needed if there is a delay, which counts from it.
    failed_at: isMinimal && not_before === undefined ? undefined : now,
    not_before,
    error_name: isMinimal ? undefined : nameOf(reason),
    error_stack: detail === 'full' ? error_stack : undefined,
    stage: isMinimal ? undefined : malformed ? 'route' : stageOf(reason, stage ?? 'handle'),
    disposition,
  })
  const copy = { topic, key: record.key, value: record.value, timestamp, headers }
  return compression === undefined ? copy : { ...copy, compression }
}

function timestampOf({ timestamp }: History, routing: Routing, without: Concessions): number {
  return without.timestamp(timestamp, routing.clock)
}

function deliveredBy(failed: Failed): DeliveredRecord {
  const record = deliveryOf(failed.record)
  if (record === undefined) throw new TypeError('only a record that a client delivered can be copied to a topic')
  return record
}

function stageOf(reason: unknown, stage: string): string {
  if (isRxMikaError(reason, 'RXMIKA_DECODE')) return 'decode'
  return isRxMikaError(reason, 'RXMIKA_RECORD_WITHOUT_CONSUMER') ? 'route' : stage
}

function dispositionOf({ reason, retryable }: Failed, { malformed }: History): string {
  if (malformed) return 'malformed'
  if (isRxMikaError(reason, 'RXMIKA_DECODE')) return 'undecodable'
  if (isRxMikaError(reason, 'RXMIKA_RECORD_WITHOUT_CONSUMER')) return 'no-consumer'
  return retryable ? 'exhausted' : 'not-retryable'
}

/**
 * A record of an ordinary topic has no history, whatever its headers say: it was moved there, and its copy must be delivered
 * to the consumer of this topic again.
 */
function historyOf(record: DeliveredRecord, routing: Routing, own: GroupHeaders, now: number): History {
  const { owner, batch, index } = record
  const fullName = routing.fullName(owner.topic)
  const at = { partition: owner.partition, offset: batch.offset(index), timestamp: batch.timestamp(index) }
  const fresh = {
    org_topic: fullName,
    org_partition: at.partition,
    org_offset: at.offset,
    // A broker accepts any 64 bits as a timestamp. The header must be in the range that can be read again.
    org_timestamp: isInRange('org_timestamp', at.timestamp) ? at.timestamp : undefined,
    first_failed_at: now,
  }
  const isCopy = record.origin !== undefined || fullName === routing.retryTopic || fullName === routing.dlqTopic
  const headers = isCopy ? own.read(record.headerPairs, { kind: 'retry', ...at }) : undefined
  if (headers === undefined || headers.kind === 'foreign') {
    return { retries: 0, malformed: false, timestamp: at.timestamp, lasting: fresh }
  }
  const kept: { -readonly [field in keyof FieldValues]: Buffer } = {}
  for (const [field, value] of own.values(record.headerPairs)) {
    if ((lasting as readonly string[]).includes(field) && isWellFormed(field, value)) kept[field] = value
  }
  if (headers.kind === 'own') {
    const { timestamp } = headers.origin
    // From the origin first: a replay may deliver the record as if it had never been retried.
    const retries = record.origin?.retries ?? headers.origin.retries
    return { retries, malformed: false, timestamp, lasting: kept }
  }
  // Malformed headers are left out of the dead letter, so that it can be replayed.
  const readable = kept.org_topic === undefined ? fresh : kept
  return { retries: 0, malformed: true, timestamp: at.timestamp, lasting: readable }
}
