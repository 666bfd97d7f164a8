import { type Evidence, partitionLines, recordLines } from './evidence'
import { grouped } from './grouped'
import { type Hold, holdOf, holds } from './holds'
import { partitionOf, placeOf, type RecordLine } from './journal'
import { duringOutage } from './outage'
import type { Violation } from './violation'
import { rebalanceTimeout } from './workload'

/**
 * Why an attempt may be settled twice.
 *
 * - `killed`: the first member was killed before it had committed the record.
 * - `frozen`: the first member was frozen, and the group continued without it.
 * - `outage`: a broker was away, so that the record could not be committed, or its copy could not be confirmed.
 * - `outlasted`: the record was not completed (acked, or failed with its copy confirmed) within `rebalanceTimeout`, and the
 *   rebalance then took its partition.
 * - `followed`: an earlier attempt was settled twice, so there are two copies of this one.
 *
 * Every other duplicate is a violation. In particular, a member that joins or leaves explains none.
 */
export type Reason = 'killed' | 'frozen' | 'outage' | 'outlasted' | 'followed'

export interface Duplicates {
  /** The settlements of an attempt that had been settled before. */
  readonly count: number
  readonly explained: Readonly<Record<Reason, number>>
  /** For kills and freezes: the longest time between a settlement that was not committed and the fault, ms. */
  readonly oldestUncommitted: number
  readonly violations: readonly Violation[]
}

/** A frozen member learns by a heartbeat that the group has removed it, at most this long after it wakes, ms. */
const wakingUp = 5_000
/** The longest time without commits while all brokers run, ms: revoking partitions, and a join that waits until a session ends. */
const longestRebalance = 16_000

export function duplicates(evidence: Evidence): Duplicates {
  const explained: Record<Reason, number> = { killed: 0, frozen: 0, outage: 0, outlasted: 0, followed: 0 }
  const violations: Violation[] = []
  let count = 0
  let oldestUncommitted = 0
  const held = holds(evidence)

  const settlements = recordLines(evidence).filter(({ what }) => what !== 'begun')
  for (const attempts of grouped(settlements, ({ id }) => id).values()) {
    if (attempts.length === 1) continue
    const repeated = new Set<number>()
    for (const same of grouped(attempts, ({ attempt }) => `${attempt}`).values()) {
      for (const [at, again] of same.entries()) {
        if (at === 0) continue
        count++
        repeated.add(again.attempt)
        const before = same[at - 1]!
        const sameCopy = placeOf(before) === placeOf(again)
        const why = sameCopy
          ? explain(evidence, { line: before, hold: holdOf(held, before) }, { line: again, hold: holdOf(held, again) })
          : explainCopies(evidence, before, repeated)
        if ('reason' in why) {
          explained[why.reason]++
          oldestUncommitted = Math.max(oldestUncommitted, why.uncommittedFor ?? 0)
        } else {
          const text = `attempt ${again.attempt} of ${again.id} was settled by ${before.member} and by ${again.member}: ${why.unexplained}`
          violations.push({ rule: 'duplicates are explained', id: again.id, text })
        }
      }
    }
  }
  return { count, explained, oldestUncommitted, violations }
}

interface Settled {
  readonly line: RecordLine
  readonly hold: Hold | undefined
}

type Explanation = { readonly reason: Reason; readonly uncommittedFor?: number } | { readonly unexplained: string }

/** Explains why one copy was settled twice. */
function explain(evidence: Evidence, one: Settled, other: Settled): Explanation {
  if (one.hold === undefined || other.hold === undefined) {
    return { unexplained: 'one of them was not assigned its partition' }
  }
  // Compared by the starts of their assignments, because a frozen member may settle later than the next owner. The earlier
  // assignment should have committed the record.
  const [line, hold] =
    one.hold.from <= other.hold.from ? ([one.line, one.hold] as const) : ([other.line, other.hold] as const)
  if (one.hold === other.hold) return { unexplained: 'it was delivered twice within one assignment' }
  if (isCommitted(evidence, line, hold)) return { unexplained: 'it had been acked and committed' }
  const { incidents } = evidence
  const freeze = incidents.find(
    ({ kind, target, from, until }) =>
      kind === 'freeze' && target === line.member && from <= hold.until && line.time <= until + wakingUp,
  )
  const outage = duringOutage(incidents, line.time, hold.until)
  if (hold.end === 'killed' || (freeze !== undefined && hold.end === 'lost')) {
    const uncommittedFor = Math.max(0, (freeze?.from ?? hold.until) - line.time)
    if (!outage && uncommittedFor > longestRebalance) {
      return { unexplained: `it was not committed for ${Math.round(uncommittedFor)} ms after it was settled` }
    }
    return { reason: freeze === undefined ? 'killed' : 'frozen', uncommittedFor }
  }
  if (outage) return { reason: 'outage' }
  if (hold.end === 'revoked' && outlasted(evidence, line, hold)) return { reason: 'outlasted' }
  return { unexplained: `it was settled before its partition was ${hold.end}, and there was no fault` }
}

/** True if the rebalance that took the partition waited for `rebalanceTimeout`, and the record was not completed by then. */
function outlasted(evidence: Evidence, line: RecordLine, { until }: Hold): boolean {
  const begun = partitionLines(evidence).findLast(({ member, what, time, ...at }) => {
    const isRebalance = what === 'giving-up' || what === 'kept' || what === 'assigned'
    return isRebalance && member === line.member && partitionOf(at) === partitionOf(line) && time <= until
  })
  // If the partition was kept in that rebalance, that rebalance does not explain what was revoked in a later one.
  if (begun?.what !== 'giving-up' || until - begun.time >= longestRebalance) return false
  return Math.min(completed(evidence, line), until) >= begun.time + rebalanceTimeout
}

/** When the record was completed: for a failed record, when its copy was confirmed. Infinity if that was never reported. */
function completed(evidence: Evidence, { member, what, time, ...at }: RecordLine): number {
  if (what !== 'failed') return time
  const copied = partitionLines(evidence).find(line => {
    const isCopy = line.what === 'retried' || line.what === 'dead-lettered'
    return isCopy && line.member === member && line.time >= time && placeOf(line) === placeOf(at)
  })
  return copied?.time ?? Number.POSITIVE_INFINITY
}

/**
 * True if the record was certainly committed. Then no fault explains a duplicate.
 *
 * Each commit contains all finished work, in its position or in its metadata. When a record is acked, one commit may be in
 * flight and one may wait for it. So the third commit that is confirmed after the ack contains the record, at the latest.
 */
function isCommitted(evidence: Evidence, { what, time, ...at }: RecordLine, hold: Hold): boolean {
  if (what !== 'acked') return false
  const after = partitionLines(evidence).filter(line => {
    const isSame = line.member === hold.member && partitionOf(line) === partitionOf(at)
    return isSame && hold.from <= line.time && line.time <= hold.until
  })
  if (after.some(line => line.what === 'forgotten')) return false
  return after.filter(line => line.what === 'committed' && line.time > time).length > 2
}

/** Explains why there are two copies of one attempt. */
function explainCopies(evidence: Evidence, before: RecordLine, repeated: ReadonlySet<number>): Explanation {
  for (const earlier of repeated) if (earlier < before.attempt) return { reason: 'followed' }
  // The copy was written, but its confirmation was lost.
  const source = recordLines(evidence).find(
    ({ id, attempt, what }) => id === before.id && attempt === before.attempt - 1 && what === 'failed',
  )
  if (source !== undefined && duringOutage(evidence.incidents, source.time, source.time + 1_000)) {
    return { reason: 'outage' }
  }
  return { unexplained: 'there are two copies of it' }
}
