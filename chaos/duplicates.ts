import { type Evidence, partitionLines, recordLines } from './evidence'
import { grouped } from './grouped'
import { type Hold, holdOf, holds } from './holds'
import { partitionOf, placeOf, type RecordLine } from './journal'
import { duringOutage } from './outage'
import type { Violation } from './violation'
import { rebalanceTimeout } from './workload'

/**
 * Why a record was settled again. `killed`: whoever settled it was killed, and had not committed that. `frozen`: the
 * group went on without whoever settled it, who stood still. `outage`: what was settled could not be committed, or its
 * copy not be confirmed, for the broker was away. `outlasted`: the rebalance that took the partition had waited all the time that it waits
 * for what is in flight, and this was not completed by then (acked, or failed and its copy confirmed). `followed`: an earlier attempt of it was settled twice, so there are two
 * copies. No other reason is good enough; least of all that a member joined or left.
 */
export type Reason = 'killed' | 'frozen' | 'outage' | 'outlasted' | 'followed'

export interface Duplicates {
  /** Of all settlements, those of an attempt that had been settled before. */
  readonly count: number
  readonly explained: Readonly<Record<Reason, number>>
  /** Of those by a kill or a freeze: how long before it the oldest was settled, ms. */
  readonly oldestUncommitted: number
  readonly violations: readonly Violation[]
}

/** After it is woken, a frozen member learns with its next heartbeat that it is out, ms. */
const wakingUp = 5_000
/** The longest time in which nothing can be committed without an outage: letting go, and a join that waits for a session, ms. */
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

/** One copy, settled twice. */
function explain(evidence: Evidence, one: Settled, other: Settled): Explanation {
  if (one.hold === undefined || other.hold === undefined) {
    return { unexplained: 'one of them did not hold its partition' }
  }
  // The earlier hold is the one that should have committed it; a frozen member may settle later than its successor.
  const [line, hold] =
    one.hold.from <= other.hold.from ? ([one.line, one.hold] as const) : ([other.line, other.hold] as const)
  if (one.hold === other.hold) return { unexplained: 'it was delivered twice within one assignment' }
  if (isCommitted(evidence, line, hold)) return { unexplained: 'it had been acked, and committed' }
  const { incidents } = evidence
  const freeze = incidents.find(
    ({ kind, target, from, until }) =>
      kind === 'freeze' && target === line.member && from <= hold.until && line.time <= until + wakingUp,
  )
  const outage = duringOutage(incidents, line.time, hold.until)
  if (hold.end === 'killed' || (freeze !== undefined && hold.end === 'lost')) {
    const uncommittedFor = Math.max(0, (freeze?.from ?? hold.until) - line.time)
    if (!outage && uncommittedFor > longestRebalance) {
      return { unexplained: `it had been settled for ${Math.round(uncommittedFor)} ms, and not been committed` }
    }
    return { reason: freeze === undefined ? 'killed' : 'frozen', uncommittedFor }
  }
  if (outage) return { reason: 'outage' }
  if (hold.end === 'revoked' && outlasted(evidence, line, hold)) return { reason: 'outlasted' }
  return { unexplained: `it was settled, and then its partition was ${hold.end}, without a fault` }
}

/** The rebalance that took the partition waited all of its time, and the record was not completed within that. */
function outlasted(evidence: Evidence, line: RecordLine, { until }: Hold): boolean {
  const begun = partitionLines(evidence).findLast(({ member, what, time, ...at }) => {
    const isTurn = what === 'giving-up' || what === 'kept' || what === 'assigned'
    return isTurn && member === line.member && partitionOf(at) === partitionOf(line) && time <= until
  })
  // One that the partition was kept in is no excuse for the next.
  if (begun?.what !== 'giving-up' || until - begun.time >= longestRebalance) return false
  return Math.min(completed(evidence, line), until) >= begun.time + rebalanceTimeout
}

/** A failed record is completed once its copy is confirmed; where that is never told, it is not. */
function completed(evidence: Evidence, { member, what, time, ...at }: RecordLine): number {
  if (what !== 'failed') return time
  const copied = partitionLines(evidence).find(line => {
    const isCopy = line.what === 'retried' || line.what === 'dead-lettered'
    return isCopy && line.member === member && line.time >= time && placeOf(line) === placeOf(at)
  })
  return copied?.time ?? Number.POSITIVE_INFINITY
}

/**
 * Commits go one after the other, and each has in it, or beside it, all that is finished. When a record is acked one may be
 * under way and one may wait for that; the third that is confirmed after it, at the latest, has it. No fault undoes it.
 */
function isCommitted(evidence: Evidence, { what, time, ...at }: RecordLine, hold: Hold): boolean {
  if (what !== 'acked') return false
  const after = partitionLines(evidence).filter(line => {
    const mine = line.member === hold.member && partitionOf(line) === partitionOf(at)
    return mine && hold.from <= line.time && line.time <= hold.until
  })
  if (after.some(line => line.what === 'forgotten')) return false
  return after.filter(line => line.what === 'committed' && line.time > time).length > 2
}

/** Two copies of one attempt. */
function explainCopies(evidence: Evidence, before: RecordLine, repeated: ReadonlySet<number>): Explanation {
  for (const earlier of repeated) if (earlier < before.attempt) return { reason: 'followed' }
  // The copy was written, and the confirmation got lost.
  const source = recordLines(evidence).find(
    ({ id, attempt, what }) => id === before.id && attempt === before.attempt - 1 && what === 'failed',
  )
  if (source !== undefined && duringOutage(evidence.incidents, source.time, source.time + 1_000)) {
    return { reason: 'outage' }
  }
  return { unexplained: 'there are two copies of it' }
}
