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

/** What must hold whatever happened. */
const rules: Readonly<Record<string, (evidence: Evidence) => Iterable<Omit<Violation, 'rule'>>>> = {
  'Kafka keeps what it acknowledged': keptByKafka,
  'every record is settled, or dead-lettered': settledOrDead,
  'records of a key, or of a partition, are worked on in order': inOrder,
  'one at a time': oneAtATime,
  'who takes over goes through a lane in order': inOrderAgain,
  'a retry is never early': neverEarly,
  'a copy is the record': copiesAreTheRecord,
  'one failure, one dead letter': oneDeadLetterEach,
  'a position never falls back': noRewinds,
  'what is committed is the end of the log': allCommitted,
  'members end when they are told to, and not otherwise': membersEnd,
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

/** Not ours to prove, but without it nothing else means anything. */
function* keptByKafka({ acknowledged, records }: Evidence) {
  const ids = new Map(records.map(record => [record.work.id, record]))
  for (const [id, at] of acknowledged) {
    const found = ids.get(id)
    if (found === undefined) yield { id, text: `${id} was acknowledged at ${placeOf(at)}, and is not there` }
    else if (placeOf(found) !== placeOf(at)) yield { id, text: `${id} is at ${placeOf(found)}, not at ${placeOf(at)}` }
  }
}

function* settledOrDead(evidence: Evidence) {
  const acked = new Set(recordLines(evidence).flatMap(({ what, id }) => (what === 'acked' ? [id] : [])))
  const dead = new Set(evidence.dead.map(({ work }) => work.id))
  for (const { work, ...at } of evidence.records) {
    const { id } = work
    const doomed = fate(work) === 'dead'
    if (doomed && !dead.has(id)) yield { id, text: `${id}, at ${placeOf(at)}, is to be dead-lettered, and is not` }
    if (!doomed && !acked.has(id)) yield { id, text: `${id}, at ${placeOf(at)}, was never acked` }
    if (!doomed && dead.has(id)) yield { id, text: `${id} is on the DLQ topic, though it fails ${work.failures} times` }
    if (doomed && acked.has(id)) yield { id, text: `${id} was acked, though it cannot succeed` }
  }
}

/**
 * The first time that work on a record begins, the one before it in its lane was settled; and that across members, for
 * whoever takes over begins with what was not settled. Retries come when they are due.
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
 * Within one assignment, also of what others had done and not committed: the first attempts of a lane begin in the order
 * of the log.
 */
function* inOrderAgain(evidence: Evidence) {
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
      yield { id: line.id, text: `${line.member} began ${line.id} after ${before.id}, in one assignment` }
    }
    last.set(lane, line)
  }
}

/** Within one member: its handler is not called for a record while it works on another of the same lane. */
function* oneAtATime(evidence: Evidence) {
  const keys = new Map(evidence.records.map(({ work, key, partition }) => [work.id, { key, partition }]))
  const topics = new Map(workTopics.map(topic => [topic.name, topic]))
  const underWay = new Map<string, RecordLine>()
  for (const line of recordLines(evidence)) {
    const { member, id, what } = line
    const topic = topics.get(id.slice(0, id.lastIndexOf('-')))!
    // By partition means the partition it was read from, and a retry is read from another.
    if (topic.order === 'none' || (topic.order === 'partition' && line.topic !== topic.name)) continue
    const { key, partition } = keys.get(id) ?? { key: '', partition: -1 }
    const lane = `${member} ${laneOf(topic, partition, key)}`
    const other = underWay.get(lane)
    if (what !== 'begun') {
      if (other?.id === id) underWay.delete(lane)
    } else if (other === undefined || settledLate(evidence, other)) underWay.set(lane, line)
    else yield { id, text: `${member} worked on ${id} while it worked on ${other.id}` }
  }
}

function laneOf({ name, order }: WorkTopic, partition: number, key: string): string {
  return order === 'key' ? `${name} ${key}` : `${name}/${partition}`
}

/** The end of work whose partition was taken away meanwhile counts for nothing, and is written down without its record. */
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

/** Timers and the wall's clock, by which delays are counted, go by whole ms. */
const clockError = 5

/** From the end of the work that failed; when that was written down, the delay had begun. */
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
        text: `attempt ${attempt} of ${id} came ${Math.round(time - failed)} ms after it failed, not ${delay}`,
      }
    }
  }
}

function* copiesAreTheRecord({ records, retried, dead }: Evidence) {
  const originals = new Map(records.map(record => [record.work.id, record]))
  for (const { work, key, value, ...at } of [...retried, ...dead]) {
    const original = originals.get(work.id)
    if (original?.key !== key || original.value !== value) {
      yield { id: work.id, text: `the copy at ${placeOf(at)} is not the record` }
    }
  }
}

/** A second dead letter takes a second failure, or a broker that was away and did not confirm the first. */
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
      yield { id, text: `${id} has ${copies.length} dead letters, and failed for good ${last.length} times` }
    }
  }
}

/** Nobody commits less than was committed, and whoever takes up a partition begins where the group stands, or further on. */
function* noRewinds(evidence: Evidence) {
  const { incidents } = evidence
  const committed = new Map<string, { offset: number; member: string }>()
  for (const line of partitionLines(evidence)) {
    const name = partitionOf(line)
    const { offset, member } = line
    const last = committed.get(name)
    // What a member that stands still had committed before is written down when it wakes.
    const stoodStill = incidents.some(({ kind, target }) => kind === 'freeze' && target === member)
    if (line.what === 'committed' && last !== undefined && offset < last.offset && !stoodStill) {
      yield { text: `${member} committed ${offset} of ${name}, after ${last.member} had committed ${last.offset}` }
    }
    if (line.what === 'committed' && offset > (last?.offset ?? -1)) committed.set(name, { offset, member })
    if (line.what === 'assigned' && last !== undefined && offset < last.offset) {
      yield { text: `${member} took up ${name} at ${offset}, after ${last.member} had committed ${last.offset}` }
    }
  }
}

function* allCommitted({ progress }: Evidence) {
  for (const { offset, end, ...at } of progress) {
    if (Math.max(offset, 0) !== end) {
      yield { text: `${partitionOf(at)} is committed up to ${offset}, and its log ends at ${end}` }
    }
  }
}

function* membersEnd({ ends, incidents, overdue, lines }: Evidence) {
  const killed = new Set(incidents.flatMap(({ kind, target }) => (kind === 'kill' ? [target] : [])))
  const closing = new Map(lines.flatMap(({ what, member, time }) => (what === 'closing' ? [[member, time]] : [])))
  for (const member of overdue) yield { text: `${member} was told to leave, and did not end` }
  for (const { member, code, signal, time } of ends) {
    if (overdue.includes(member) || (killed.has(member) && signal === 'SIGKILL')) continue
    if (!closing.has(member)) yield { text: `${member} ended by itself: ${signal ?? `exit code ${code}`}` }
    else if (code === notDrained) {
      const from = closing.get(member)!
      if (!duringOutage(incidents, from, time)) yield { text: `${member} left before its work was done` }
    } else if (code !== 0) yield { text: `${member} left badly: ${signal ?? `exit code ${code}`}` }
  }
  for (const line of lines) {
    if (isMemberLine(line) && line.what === 'closed' && !closing.has(line.member)) {
      yield { text: `the client of ${line.member} closed by itself` }
    }
    if (line.what === 'leaked') yield { text: `${line.member} says that ${placeOf(line)} leaked` }
  }
}
