import type { Verdict } from './check'
import { type Evidence, partitionLines, recordLines } from './evidence'
import { grouped } from './grouped'
import { type Line, type PartitionLine, partitionOf, placeOf } from './journal'
import { workTopics } from './workload'

/** The figures of a run, as one row of a table. */
export function summary(
  evidence: Evidence,
  verdict: Verdict,
  run: { readonly seed: number; readonly minutes: number },
) {
  const { count, explained, oldestUncommitted } = verdict.duplicates
  return {
    seed: run.seed,
    minutes: run.minutes,
    faults: evidence.incidents.length,
    published: verdict.published,
    acked: verdict.acked,
    'dead letters': verdict.deadLettered,
    duplicates: count,
    killed: explained.killed,
    frozen: explained.frozen,
    outage: explained.outage,
    outlasted: explained.outlasted,
    followed: explained.followed,
    'oldest, ms': Math.round(oldestUncommitted),
    violations: verdict.violations.length,
  }
}

/** The same figures as one line of text, to compare a series of runs. */
export function summaryLine(
  run: { readonly seed: number; readonly minutes: number; readonly groupProtocol: string; readonly kafka: string },
  { violations, ...counts }: ReturnType<typeof summary>,
): string {
  const { seed, minutes, groupProtocol, kafka } = run
  const { faults, published, acked, duplicates } = counts
  const deadLetters = counts['dead letters']
  return (
    `chaos: ${violations === 0 ? 'ok' : `${violations} VIOLATIONS`}: seed ${seed}, ${groupProtocol}, Kafka ${kafka}, ${minutes} min: ` +
    `${faults} faults, ${published} published, ${acked} acked, ${deadLetters} dead letters, ${duplicates} duplicates`
  )
}

/** A pause of a partition is attributed to a fault if it begins at most this long after the fault's end, ms. */
const attributedAfter = 3_000

/** For each kind of fault: how often it happened, and the longest pause of a partition around it. */
export function recoveries(evidence: Evidence) {
  const begun = recordLines(evidence).filter(({ what, attempt }) => what === 'begun' && attempt === 1)
  const busy = new Set(workTopics.map(({ name }) => name))
  const gaps = [...grouped(begun, partitionOf).values()]
    .filter(([first]) => busy.has(first!.topic))
    .flatMap(lines => lines.slice(1).map(({ time }, at) => ({ from: lines[at]!.time, length: time - lines[at]!.time })))
  return [...grouped(evidence.incidents, ({ kind }) => kind)].map(([fault, incidents]) => {
    const lengths = incidents
      .map(({ from, until }) =>
        Math.max(
          0,
          ...gaps
            .filter(gap => gap.from <= until + attributedAfter && gap.from + gap.length >= from)
            .map(({ length }) => length),
        ),
      )
      .sort((one, other) => one - other)
    return {
      fault,
      times: incidents.length,
      'pause, median s': seconds(lengths[lengths.length >> 1]!),
      'longest s': seconds(lengths.at(-1)!),
    }
  })
}

const seconds = (ms: number) => Math.round(ms / 100) / 10

/** How often each kind of journal line occurs. Leaves out the kinds that every run has. */
export function unusualLines({ lines }: Evidence) {
  const life = ['assigned', 'committed', 'running', 'closing', 'closed']
  const ordinary = new Set(['begun', 'acked', 'failed', 'retried', 'dead-lettered', ...life])
  const unusual = lines.filter(({ what }) => !ordinary.has(what))
  const counts = [...grouped(unusual, line => nameOf(line))].map(([name, { length }]) => [name, length] as const)
  return Object.fromEntries(counts.sort(([, one], [, other]) => other - one))
}

/** The kind of the line; for an error, the name of its class. */
function nameOf(line: Line): string {
  return line.what === 'error' ? (line.detail ?? '').split(':')[0]! : line.what
}

/** The history of a record by time: its own lines and copies, and the events of its partitions and the faults around them. */
export function history(evidence: Evidence, id: string): string[] {
  const own = recordLines(evidence).filter(line => line.id === id)
  const copies = [...evidence.records, ...evidence.retried, ...evidence.dead].filter(({ work }) => work.id === id)
  const partitions = new Set([...own, ...copies].map(partitionOf))
  const began = (own[0]?.time ?? 0) - historyBefore
  const ended = (own.at(-1)?.time ?? Number.POSITIVE_INFINITY) + historyAfter
  const events = partitionLines(evidence).filter(line => partitions.has(partitionOf(line)))
  const moments: Moment[] = [
    ...own.map(line => ({
      time: line.time,
      text: `${line.member} ${line.what} attempt ${line.attempt} at ${placeOf(line)}`,
    })),
    ...withoutSteadyCommits(events.filter(({ time }) => time >= began && time <= ended)).map(line => ({
      time: line.time,
      text: `${line.member} ${line.what} ${placeOf(line)}`,
    })),
    ...evidence.incidents.flatMap(({ kind, target, from, until }) => [
      { time: from, text: `── ${kind} ${target}` },
      { time: until, text: `── ${kind} ${target} ended` },
    ]),
  ]
  return [
    `${id}: ${copies[0]?.value ?? 'not in the log'}`,
    ...copies.map(copy => `in the log at ${placeOf(copy)}`),
    ...moments
      .filter(({ time }) => time >= began && time <= ended)
      .sort((one, other) => one.time - other.time)
      .map(({ time, text }) => `${((time - began) / 1_000).toFixed(3).padStart(9)} s  ${text}`),
  ]
}

interface Moment {
  readonly time: number
  readonly text: string
}

/** How long before and after the record's own lines its history reaches, ms. */
const historyBefore = 15_000
const historyAfter = 3_000

/** Keeps only the last of consecutive commits: there are ten a second. */
function withoutSteadyCommits(lines: readonly PartitionLine[]): PartitionLine[] {
  return [...grouped(lines, partitionOf).values()].flatMap(events =>
    events.filter((line, at) => line.what !== 'committed' || events[at + 1]?.what !== 'committed'),
  )
}
