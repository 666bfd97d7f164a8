import type { Fault, Schedule } from './schedule.js'

/**
 * Smaller schedules than this one, the smallest first: fewer faults, fewer records, less latency, shorter and simpler choices,
 * earlier frames. The sequence is finite, and each schedule is smaller by the same measure, so shrinking ends.
 */
export function* smaller(schedule: Schedule): Generator<Schedule> {
  const { faults, records, starts, choices } = schedule
  for (const fewer of without(faults)) yield { ...schedule, faults: fewer }
  for (const fewer of without(records)) yield { ...schedule, records: fewer }
  for (const latency of below(schedule.latency)) yield { ...schedule, latency }
  yield* sooner(schedule)
  for (const [at, start] of starts.entries()) {
    for (const frame of below(start.frame)) yield { ...schedule, starts: starts.with(at, { ...start, frame }) }
  }
  for (const [letter, count] of Object.entries(choices.failures ?? {})) {
    for (const fewer of below(count)) {
      yield { ...schedule, choices: { ...choices, failures: { ...choices.failures, [letter]: fewer } } }
    }
  }
  for (const [letter, delays] of Object.entries(choices.delays ?? {})) {
    for (const [at, delay] of delays.entries()) {
      for (const shorter of below(delay)) {
        yield {
          ...schedule,
          choices: { ...choices, delays: { ...choices.delays, [letter]: delays.with(at, shorter) } },
        }
      }
    }
  }
  for (const [name, pick] of Object.entries(choices.picks ?? {})) {
    for (const lower of below(pick)) {
      yield { ...schedule, choices: { ...choices, picks: { ...choices.picks, [name]: lower } } }
    }
  }
  for (const [at, record] of records.entries()) {
    for (const partition of below(record.partition)) {
      yield { ...schedule, records: inOrder(records.with(at, { ...record, partition })) }
    }
    for (const frame of below(record.frame)) {
      yield { ...schedule, records: inOrder(records.with(at, { ...record, frame })) }
    }
  }
  for (const [at, fault] of faults.entries()) {
    for (const lesser of lesserFaults(fault)) yield { ...schedule, faults: faults.with(at, lesser) }
  }
}

/** The list without a half, a quarter, and so on down to one element. */
function* without<T>(list: readonly T[]): Generator<readonly T[]> {
  for (let size = list.length; size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < list.length; at += size) yield [...list.slice(0, at), ...list.slice(at + size)]
  }
}

/** 0, then half of the value, and so on up to the value minus one. */
function* below(value: number): Generator<number> {
  for (let step = value; step >= 1; step = Math.floor(step / 2)) yield value - step
}

/** Moves everything from some frame on to earlier frames. What happens together stays together. */
function* sooner(schedule: Schedule): Generator<Schedule> {
  const all = [...schedule.records, ...schedule.faults, ...schedule.starts].map(({ frame }) => frame)
  const frames = [...new Set([0, ...all])].sort((one, other) => one - other)
  for (let at = 1; at < frames.length; at++) {
    const from = frames[at]!
    for (const less of below(from - frames[at - 1]!)) {
      const by = from - frames[at - 1]! - less
      const earlier = <T extends { readonly frame: number }>(list: readonly T[]): T[] =>
        list.map(one => (one.frame >= from ? { ...one, frame: one.frame - by } : one))
      yield {
        ...schedule,
        records: earlier(schedule.records),
        faults: earlier(schedule.faults),
        starts: earlier(schedule.starts),
      }
    }
  }
}

function* lesserFaults(fault: Fault): Generator<Fault> {
  for (const frame of below(fault.frame)) yield { ...fault, frame }
  if ('lasts' in fault) for (const less of below(fault.lasts - 1)) yield { ...fault, lasts: less + 1 }
  if (fault.kind === 'setClock') for (const by of lesserSteps(fault.by)) yield { ...fault, by }
  if ('after' in fault) for (const less of below(fault.after - 1)) yield { ...fault, after: less + 1 }
  if ('partition' in fault) for (const partition of below(fault.partition)) yield { ...fault, partition }
}

/** Smaller steps in whole seconds, in the same direction. */
function* lesserSteps(by: number): Generator<number> {
  for (const less of below(Math.abs(by) / 1_000 - 1)) yield Math.sign(by) * (less + 1) * 1_000
}

/** Records of a partition must be in the order of their frames. */
function inOrder(records: Schedule['records']): Schedule['records'] {
  return [...records].sort((one, other) => one.frame - other.frame)
}
