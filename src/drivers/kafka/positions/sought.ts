import type { Seek, StartFrom } from '../../../driver.js'
import { FetchError } from '../../../errors.js'
import { placeName } from '../../../place.js'
import { isolationLevel } from '../../../protocol/messages/fetch.js'
import type { Cluster } from '../cluster/cluster.js'
import type { Assignment } from '../fetching/assignment.js'
import { PartitionMap } from '../topic-partition.js'
import { earliest, type ListedOffset, latest, offsetsAt } from './list-offsets.js'
import { startOf } from './reset.js'

/** The target of a seek. */
export interface Sought {
  readonly assignment: Assignment
  readonly offset: number
  /** The error if the requested offset is not in the log. */
  readonly trouble?: FetchError
}

/** The target positions of seeks. Rejects if one of the leaders does not answer. */
export async function soughtPositions(
  cluster: Cluster,
  seeks: readonly (Seek & { readonly assignment: Assignment })[],
  startFrom: StartFrom,
): Promise<readonly Sought[]> {
  const assignments = seeks.map(({ assignment }) => assignment)
  const [beginnings, ends, marks, dated] = await Promise.all([
    offsetsAt(cluster, assignments, earliest),
    offsetsAt(cluster, assignments, latest),
    // A position within an open transaction is in the log, and not out of range.
    offsetsAt(cluster, assignments, latest, isolationLevel.readUncommitted),
    datedOffsets(cluster, seeks),
  ])
  return Promise.all(
    seeks.map(async ({ assignment, to }): Promise<Sought> => {
      const beginning = beginnings.get(assignment)!
      const end = ends.get(assignment)!.offset
      if (to === 'earliest') return { assignment, offset: beginning.offset }
      if (to === 'latest') return { assignment, offset: end }
      if (typeof to !== 'number') {
        const found = dated.get(assignment)!.offset
        return { assignment, offset: found < 0 ? end : found }
      }
      if (to >= beginning.offset && to <= marks.get(assignment)!.offset) return { assignment, offset: to }
      const { offset } = await startOf(assignment, beginning, startFrom, cluster)
      return { assignment, offset, trouble: outOfRange(assignment, to, offset) }
    }),
  )
}

async function datedOffsets(
  cluster: Cluster,
  seeks: readonly (Seek & { readonly assignment: Assignment })[],
): Promise<PartitionMap<ListedOffset>> {
  const byTime = new Map<number, Assignment[]>()
  for (const { assignment, to } of seeks) {
    if (!(to instanceof Date)) continue
    const same = byTime.get(to.getTime())
    if (same === undefined) byTime.set(to.getTime(), [assignment])
    else same.push(assignment)
  }
  const all = new PartitionMap<ListedOffset>()
  for (const [time, assignments] of byTime) {
    const found = await offsetsAt(cluster, assignments, time)
    for (const assignment of assignments) all.set(assignment, found.get(assignment)!)
  }
  return all
}

function outOfRange({ topic, partition }: Assignment, from: number, to: number): FetchError {
  const offset = BigInt(from)
  const message = `the position ${placeName({ topic, partition, offset })} is out of range; reading goes on at ${to}`
  return new FetchError(message, { topic, partition, offset })
}
