import type { HeaderPair } from '../record-batch.js'
import { GroupHeaders } from '../retry/headers.js'
import type { DeadLetterRecord } from './pending-dead-letters.js'

export interface Redriving {
  /** ms since 1970. */
  readonly at: number
  readonly by: string
}

/**
 * Whether this library or MiKa wrote the dead letter for its group. Only their clients look for their records on a retry
 * topic.
 */
export function hasRetries({ record, deadLetter }: DeadLetterRecord): boolean {
  return (
    deadLetter.group !== undefined &&
    record.headerPairs.some(([name]) => name === `mika_err_${deadLetter.group}_org_topic`)
  )
}

/**
 * The headers of a copy for the group's retry topic. The copy is delivered to that group only, as attempt 1. Headers of other
 * groups are left out, because they would make it a record of those groups too.
 */
export function retryHeaders({ record, deadLetter }: DeadLetterRecord, { at, by }: Redriving): HeaderPair[] {
  const own = new GroupHeaders(deadLetter.group!)
  const others = otherGroups(record.headerPairs, deadLetter.group)
  const foreign = record.headerPairs.filter(([name]) => !others.some(other => other.isOwn(name)))
  const before = own.values(record.headerPairs)
  const kept = (field: 'org_partition' | 'org_offset' | 'org_timestamp' | 'first_failed_at' | 'msg') =>
    before.get(field) ?? undefined
  return own.replace(foreign, {
    org_topic: deadLetter.topic,
    retries: 0,
    msg: kept('msg') ?? deadLetter.reason,
    org_partition: kept('org_partition'),
    org_offset: kept('org_offset'),
    org_timestamp: kept('org_timestamp'),
    first_failed_at: kept('first_failed_at'),
    redriven_at: at,
    redriven_by: by,
  })
}

/** The headers that describe a failure: those of Spring Kafka, of its retry topics too, and those of brokers. */
const failureHeaders = /^(kafka_dlt-|kafka_original-|kafka_exception-|retry_topic-|__dlq\.errors\.)/

/** The headers of a copy for the original topic: those of the record, without the headers that describe failures. */
export function originalHeaders({ record, deadLetter }: DeadLetterRecord, { at, by }: Redriving): HeaderPair[] {
  const groups = otherGroups(record.headerPairs, undefined)
  const clean = record.headerPairs.filter(
    ([name]) => !failureHeaders.test(name) && !groups.some(group => group.isOwn(name)),
  )
  return new GroupHeaders(deadLetter.group ?? '').replace(clean, { redriven_at: at, redriven_by: by })
}

const marker = /^mika_err_(.+)_org_topic$/s

function otherGroups(pairs: readonly HeaderPair[], group: string | undefined): GroupHeaders[] {
  const names = new Set(pairs.flatMap(([name]) => marker.exec(name)?.[1] ?? []))
  if (group !== undefined) names.delete(group)
  return [...names].map(name => new GroupHeaders(name))
}
