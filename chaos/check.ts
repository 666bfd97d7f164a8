import { type Duplicates, duplicates } from './duplicates'
import { type Evidence, partitionLines, recordLines } from './evidence'
import { grouped } from './grouped'
import { type Hold, holdOf, holds } from './holds'
import { isMemberLine, partitionOf, placeOf, type RecordLine } from './journal'
import { notDrained } from './member-process'
import { duringOutage } from './outage'
import type { Violation } from './violation'
import { fate, retries, retryDelays, type WorkTopic, workTopics } from './workload'

export interface Verdict {
  readonly published: number
  readonly settlements: number
  readonly acked: number
  readonly deadLettered: number
  readonly duplicates: Duplicates
  readonly violations: readonly Violation[]
}

/** The rules that every run must keep. Lane: the records of one key, or of one partition, by the order of their topic. */
const rules: Readonly<Record<string, (evidence: Evidence) => Iterable<Omit<Violation, 'rule'>>>> = {
  'Kafka keeps what it acknowledged': keptByKafka,
  'every record is settled, or dead-lettered': settledOrDead,
  'records of a key, or of a partition, are handled in order': inOrder,
  'records of a lane are handled one at a time': oneAtATime,
  'within one assignment, records of a lane are handled in order': inOrderPerAssignment,
  'a retry is never early': neverEarly,
  'a copy equals its record': copiesEqualRecords,
  'a failed record has one dead letter': oneDeadLetterEach,
  'a position never falls back': noRewinds,
  'everything is committed at the end': allCommitted,
  'members end only when they are asked to': membersEnd,
}

export function check(evidence: Evidence): Verdict {
  const violations = Object.entries(rules).flatMap(([rule, test]) =>
    Array.from(test(evidence), violation => ({ rule, ...violation })),
  )
  const repeated = duplicates(evidence)
  const settlements = recordLines(evidence).filter(({ what }) => what !== 'begun')
  return {
    published: evidence.records.length,
    settlements: settlements.length,
    acked: new Set(settlements.filter(({ what }) => what === 'acked').map(({ id }) => id)).size,
    deadLettered: new Set(evidence.dead.map(({ work }) => work.id)).size,
    duplicates: repeated,
    violations: [...violations, ...repeated.violations],
  }
}

/** Kafka's own promise. It is checked because the other rules depend on it. */
function* keptByKafka({ acknowledged, records }: Evidence) {
  const ids = new Map(records.map(record => [record.work.id, record]))
  for (const [id, at] of acknowledged) {
    const found = ids.get(id)
    if (found === undefined) yield { id, text: `${id} was acknowledged at ${placeOf(at)}, but is not there` }
    else if (placeOf(found) !== placeOf(at)) yield { id, text: `${id} is at ${placeOf(found)}, not at ${placeOf(at)}` }
  }
}

function* settledOrDead(evidence: Evidence) {
  const acked = new Set(recordLines(evidence).flatMap(({ what, id }) => (what === 'acked' ? [id] : [])))
  const dead = new Set(evidence.dead.map(({ work }) => work.id))
  for (const { work, ...at } of evidence.records) {
    const { id } = work
    const doomed = fate(work) === 'dead'
    if (doomed && !dead.has(id)) yield { id, text: `${id}, at ${placeOf(at)}, should have a dead letter, but has none` }
    if (!doomed && !acked.has(id)) yield { id, text: `${id}, at ${placeOf(at)}, was never acked` }
    if (!doomed && dead.has(id))
      yield { id, text: `${id} has a dead letter, although it fails only ${work.failures} times` }
    if (doomed && acked.has(id)) yield { id, text: `${id} was acked, although it cannot succeed` }
  }
}

/**
 * When a record is handled for the first time, the record before it in its lane has been settled. This holds across members
 * too, because the next owner of a partition starts with the records that are not settled. Retries are not checked.
 */
function* inOrder(evidence: Evidence) {
  const firsts = new Map<string, { begun?: number; settled?: number }>()
  for (const { id, attempt, what, time } of recordLines(evidence)) {
    if (attempt > 1) continue
    const first = firsts.get(id) ?? {}
    firsts.set(id, first)
    if (what === 'begun') first.begun ??= time
    else first.settled ??= time
  }
  for (const topic of workTopics) {
    if (topic.order === 'none') continue
    const records = evidence.records.filter(record => record.topic === topic.name)
    for (const lane of grouped(records, record => laneOf(topic, record.partition, record.key)).values()) {
      lane.sort((one, other) => one.offset - other.offset)
      for (const [at, { work }] of lane.entries()) {
        if (at === 0) continue
        const before = lane[at - 1]!.work.id
        const { begun = Number.POSITIVE_INFINITY } = firsts.get(work.id) ?? {}
        const { settled = Number.POSITIVE_INFINITY } = firsts.get(before) ?? {}
        if (begun < settled) yield { id: work.id, text: `work on ${work.id} began before ${before} was settled` }
      }
    }
  }
}

/**
 * Within one assignment, the first attempts of a lane begin in the order of the log. That includes redelivered records, which
 * the former owner had handled but not committed.
 */
function* inOrderPerAssignment(evidence: Evidence) {
  const keys = new Map(evidence.records.map(({ work, key }) => [work.id, key]))
  const held = holds(evidence)
  const topics = new Map(workTopics.map(topic => [topic.name, topic]))
  const lanes = new Map<Hold, Map<string, RecordLine>>()
  for (const line of recordLines(evidence)) {
    const topic = topics.get(line.topic)
    if (line.what !== 'begun' || line.attempt > 1 || topic === undefined || topic.order === 'none') continue
    const hold = holdOf(held, line)
    if (hold === undefined) continue
    const last = lanes.get(hold) ?? new Map<string, RecordLine>()
    lanes.set(hold, last)
    const lane = laneOf(topic, line.partition, keys.get(line.id) ?? '')
    const before = last.get(lane)
    if (before !== undefined && before.offset >= line.offset) {
      yield { id: line.id, text: `${line.member} began ${line.id} after ${before.id} in one assignment` }
    }
    last.set(lane, line)
  }
}

/** A member handles one record of a lane at a time. */
function* oneAtATime(evidence: Evidence) {
  const keys = new Map(evidence.records.map(({ work, key, partition }) => [work.id, { key, partition }]))
  const topics = new Map(workTopics.map(topic => [topic.name, topic]))
  const underWay = new Map<string, RecordLine>()
  for (const line of recordLines(evidence)) {
    const { member, id, what } = line
    const topic = topics.get(id.slice(0, id.lastIndexOf('-')))!
    // Order 'partition' is by the partition that a record was read from. A retry is read from a partition of the retry topic.
    if (topic.order === 'none' || (topic.order === 'partition' && line.topic !== topic.name)) continue
    const { key, partition } = keys.get(id) ?? { key: '', partition: -1 }
    const lane = `${member} ${laneOf(topic, partition, key)}`
    const other = underWay.get(lane)
    if (what !== 'begun') {
      if (other?.id === id) underWay.delete(lane)
    } else if (other === undefined || settledLate(evidence, other)) underWay.set(lane, line)
    else yield { id, text: `${member} handled ${id} while it handled ${other.id}` }
  }
}

function laneOf({ name, order }: WorkTopic, partition: number, key: string): string {
  return order === 'key' ? `${name} ${key}` : `${name}/${partition}`
}

/** True if the record was settled after its partition was revoked or lost. Such a settlement has no record line. */
function settledLate({ lines }: Evidence, { member, topic, partition, offset }: RecordLine): boolean {
  return lines.some(
    line =>
      line.what === 'late-settlement' &&
      line.member === member &&
      line.offset === offset &&
      line.partition === partition &&
      line.topic === topic,
  )
}

/** Tolerance, ms: delays are measured by timers and the wall clock, which count whole ms. */
const clockError = 5

/** Delays are measured from the planned end of the failing handler, because the failure is written to the journal after they began. */
function* neverEarly(evidence: Evidence) {
  const works = new Map(evidence.records.map(({ work }) => [work.id, work]))
  const over = new Map<string, number>()
  for (const { id, attempt, what, time } of recordLines(evidence)) {
    if (what !== 'begun') continue
    const { ms } = works.get(id) ?? { ms: 0 }
    if (!over.has(`${id} ${attempt}`)) over.set(`${id} ${attempt}`, time + ms)
    if (attempt > retries + 1) yield { id, text: `${id} had ${attempt} attempts` }
    if (attempt === 1) continue
    const failed = over.get(`${id} ${attempt - 1}`) ?? Number.POSITIVE_INFINITY
    const delay = retryDelays[Math.min(attempt - 2, retryDelays.length - 1)]!
    if (time < failed + delay - clockError) {
      yield {
        id,
        text: `attempt ${attempt} of ${id} began ${Math.round(time - failed)} ms after the failure, not ${delay}`,
      }
    }
  }
}

function* copiesEqualRecords({ records, retried, dead }: Evidence) {
  const originals = new Map(records.map(record => [record.work.id, record]))
  for (const { work, key, value, ...at } of [...retried, ...dead]) {
    const original = originals.get(work.id)
    if (original?.key !== key || original.value !== value) {
      yield { id: work.id, text: `the copy at ${placeOf(at)} differs from its record` }
    }
  }
}

/** A second dead letter needs a second failure, or a broker outage that prevented the confirmation of the first one. */
function* oneDeadLetterEach(evidence: Evidence) {
  const failures = grouped(
    recordLines(evidence).filter(({ what }) => what === 'failed'),
    ({ id }) => id,
  )
  for (const [id, copies] of grouped(evidence.dead, ({ work }) => work.id)) {
    const failed = failures.get(id) ?? []
    const last = failed.filter(({ attempt }) => attempt === Math.max(...failed.map(line => line.attempt)))
    const unconfirmed = last.some(({ time }) => duringOutage(evidence.incidents, time, time + 1_000))
    if (copies.length > last.length && !unconfirmed) {
      yield { id, text: `${id} has ${copies.length} dead letters, but its last attempt failed ${last.length} times` }
    }
  }
}

/** No commit is below an earlier one, and no assignment starts below the committed position. */
function* noRewinds(evidence: Evidence) {
  const { incidents } = evidence
  const committed = new Map<string, { offset: number; member: string }>()
  for (const line of partitionLines(evidence)) {
    const name = partitionOf(line)
    const { offset, member } = line
    const last = committed.get(name)
    // A frozen member may write a commit to its journal after it wakes, when other members have committed more.
    const wasFrozen = incidents.some(({ kind, target }) => kind === 'freeze' && target === member)
    if (line.what === 'committed' && last !== undefined && offset < last.offset && !wasFrozen) {
      yield { text: `${member} committed ${offset} of ${name}, after ${last.member} had committed ${last.offset}` }
    }
    if (line.what === 'committed' && offset > (last?.offset ?? -1)) committed.set(name, { offset, member })
    if (line.what === 'assigned' && last !== undefined && offset < last.offset) {
      yield { text: `${member} was assigned ${name} at ${offset}, after ${last.member} had committed ${last.offset}` }
    }
  }
}

function* allCommitted({ progress }: Evidence) {
  for (const { offset, end, ...at } of progress) {
    if (Math.max(offset, 0) !== end) {
      yield { text: `${partitionOf(at)} is committed up to ${offset}, but its log ends at ${end}` }
    }
  }
}

function* membersEnd({ ends, incidents, overdue, lines }: Evidence) {
  const killed = new Set(incidents.flatMap(({ kind, target }) => (kind === 'kill' ? [target] : [])))
  const closing = new Map(lines.flatMap(({ what, member, time }) => (what === 'closing' ? [[member, time]] : [])))
  for (const member of overdue) yield { text: `${member} was asked to leave, but did not end` }
  for (const { member, code, signal, time } of ends) {
    if (overdue.includes(member) || (killed.has(member) && signal === 'SIGKILL')) continue
    if (!closing.has(member)) yield { text: `${member} ended by itself: ${signal ?? `exit code ${code}`}` }
    else if (code === notDrained) {
      const from = closing.get(member)!
      if (!duringOutage(incidents, from, time)) yield { text: `${member} left before its records were settled` }
    } else if (code !== 0) yield { text: `${member} failed while it left: ${signal ?? `exit code ${code}`}` }
  }
  for (const line of lines) {
    if (isMemberLine(line) && line.what === 'closed' && !closing.has(line.member)) {
      yield { text: `the client of ${line.member} closed by itself` }
    }
    if (line.what === 'leaked') yield { text: `${line.member} reported ${placeOf(line)} as leaked` }
  }
}
