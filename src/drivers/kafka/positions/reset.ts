import type { StartFrom } from '../../../driver.js'
import { FetchError, type RxMikaError } from '../../../errors.js'
import { partitionName } from '../../../place.js'
import type { Cluster } from '../cluster/cluster.js'
import type { Assignment } from '../fetching/assignment.js'
import type { Diverged } from '../fetching/fetching.js'
import { endOfEpoch } from './end-of-epoch.js'
import { earliest, type ListedOffset, latest, offsetsAt } from './list-offsets.js'

/** How long the partition is not fetched while its new position is looked up, ms. After that it is refused and looked up again. */
const hold = 2_000

export interface ResetHost {
  readonly cluster: Cluster
  readonly startFrom: StartFrom
  /** The position up to which all records are completed for sure. */
  completed(): Promise<ListedOffset>
  /** Continues reading there. */
  move(to: ListedOffset): void
  trouble(error: RxMikaError): void
  /** No new position is known; it will be looked up again. */
  failed(why: string, cause: unknown): void
}

/**
 * Moves a position that is not in its partition's log, and reports from where to where.
 *
 * If retention has deleted the records, reading continues where `startFrom` says. If the log was truncated (an unclean election,
 * a cluster restored from a backup), reading continues where the present log diverges from the one that was read, as far as
 * leader epochs tell (KIP-320).
 *
 * @param diverged Where they diverge, if the leader said so.
 */
export async function resetPosition(
  assignment: Assignment,
  diverged: Diverged | undefined,
  { cluster, startFrom, completed, move, trouble, failed }: ResetHost,
): Promise<void> {
  const from = assignment.next
  const { jumps } = assignment
  assignment.hold(hold)
  const { topic, partition } = assignment
  try {
    const beginning = (await offsetsAt(cluster, [assignment], earliest)).get(assignment)!
    const cut = diverged ?? (from > beginning.offset ? await divergenceOf(assignment, cluster) : undefined)
    const found =
      cut !== undefined && cut.endOffset >= beginning.offset && cut.endOffset < from
        ? { offset: cut.endOffset, leaderEpoch: cut.epoch }
        : await startOf(assignment, beginning, startFrom, cluster)
    const to = found.offset < from ? lower(found, await completed(), beginning) : found
    // If a rebalance does not take it away, it is refused and looked up again.
    if (assignment.resting) return
    if (assignment.ended || assignment.jumps !== jumps || assignment.next !== from) return
    move(to)
    const why =
      cut === undefined ? 'is out of range' : 'is beyond the offset where the log diverges from the one that was read'
    const message = `the position ${partitionName(assignment)}@${from} ${why}; reading goes on at ${to.offset}`
    trouble(new FetchError(message, { topic, partition, offset: BigInt(from) }))
  } catch (error) {
    // The next fetch will be refused, and the position looked up again.
    const why = `its position is out of range, and a new one is not known: ${(error as Error).message}`
    if (!assignment.ended) failed(why, error)
  }
}

/** The records that were read and are not completed are read again as well, if they are still in the log. */
function lower(found: ListedOffset, completed: ListedOffset, beginning: ListedOffset): ListedOffset {
  if (completed.offset >= found.offset) return found
  return completed.offset >= beginning.offset ? completed : { ...beginning, leaderEpoch: -1 }
}

/** Where the present log diverges from the one that was read; undefined if that is not known. */
export async function divergenceOf(assignment: Assignment, cluster: Cluster): Promise<Diverged | undefined> {
  const { lastEpoch } = assignment
  return lastEpoch < 0 ? undefined : endOfEpoch(cluster, assignment, lastEpoch)
}

export async function startOf(
  assignment: Assignment,
  beginning: ListedOffset,
  startFrom: StartFrom,
  cluster: Cluster,
): Promise<ListedOffset> {
  if (startFrom === 'earliest' || startFrom === 'committed') return { ...beginning, leaderEpoch: -1 }
  const at = startFrom === 'latest' ? latest : startFrom.getTime()
  const found = (await offsetsAt(cluster, [assignment], at)).get(assignment)!
  if (found.offset >= 0) return { ...found, leaderEpoch: -1 }
  return { ...(await offsetsAt(cluster, [assignment], latest)).get(assignment)!, leaderEpoch: -1 }
}
