import { type Evidence, partitionLines } from './evidence'
import { partitionOf, type RecordLine } from './journal'

/** How an assignment ended. `held`: it had not ended at the end of the run. */
export type HoldEnd = 'revoked' | 'lost' | 'closed' | 'killed' | 'held'

/** One assignment of a partition to a member, according to the member's journal. */
export interface Hold {
  readonly member: string
  readonly from: number
  until: number
  end: HoldEnd
}

/** The assignment during which the line was written, according to the member's journal. */
export function holdOf(held: ReadonlyMap<string, readonly Hold[]>, line: RecordLine): Hold | undefined {
  return held.get(partitionOf(line))?.findLast(({ member, from, until }) => {
    return member === line.member && from <= line.time && line.time <= until
  })
}

/** All assignments by partition, in the order of time. */
export function holds(evidence: Evidence): Map<string, Hold[]> {
  const all = new Map<string, Hold[]>()
  const open = new Map<string, Hold>()
  for (const line of partitionLines(evidence)) {
    const name = partitionOf(line)
    const owned = `${line.member} ${name}`
    if (line.what === 'assigned') {
      const hold: Hold = { member: line.member, from: line.time, until: Number.POSITIVE_INFINITY, end: 'held' }
      open.set(owned, hold)
      const before = all.get(name) ?? []
      all.set(name, before)
      before.push(hold)
    } else if (line.what === 'revoked' || line.what === 'lost') {
      const hold = open.get(owned)
      open.delete(owned)
      if (hold !== undefined) Object.assign(hold, { until: line.time, end: line.what })
    }
  }
  for (const { member, time, signal } of evidence.ends) {
    const end: HoldEnd = signal === 'SIGKILL' ? 'killed' : 'closed'
    for (const hold of [...all.values()].flat()) {
      if (hold.member === member && hold.end === 'held') Object.assign(hold, { until: time, end })
    }
  }
  return all
}
