import type { ReadRequest } from '../../../driver.js'
import { FetchError } from '../../../errors.js'
import { placeName } from '../../../place.js'
import { isolationLevel } from '../../../protocol/messages/fetch.js'
import type { Cluster } from '../cluster/cluster.js'
import { earliest, latest, offsetsAt } from '../positions/list-offsets.js'
import type { TopicPartition } from '../topic-partition.js'

/** The part of a partition to read: offsets from `start` up to `end`, which is excluded. */
export interface Bounds {
  readonly place: TopicPartition
  readonly start: number
  /** `Infinity`: without end. */
  readonly end: number
  /** The error if the requested start is not in the log. */
  readonly trouble?: FetchError
}

/**
 * The bounds of partitions by the present state of their logs. Rejects if one of their leaders does not answer.
 *
 * Ends are those of read committed: an open transaction ends the log for this read.
 */
export async function boundsOf(
  cluster: Cluster,
  places: readonly TopicPartition[],
  { from, until }: Pick<ReadRequest, 'from' | 'until'>,
): Promise<readonly Bounds[]> {
  const at = (timestamp: number) => offsetsAt(cluster, places, timestamp)
  const [beginnings, ends, begin, stop] = await Promise.all([
    at(earliest),
    at(latest),
    from instanceof Date ? at(from.getTime()) : undefined,
    until instanceof Date ? at(until.getTime()) : undefined,
  ])
  const bounds = places.map(place => {
    const beginning = beginnings.get(place)!.offset
    const end = ends.get(place)!.offset
    const begun = begin?.get(place)?.offset ?? -1
    const stopped = stop?.get(place)?.offset ?? -1
    const start = from === 'earliest' ? beginning : isPositions(from) ? from.get(place.partition)! : begun
    return {
      place,
      start: start < 0 ? end : Math.max(start, beginning),
      end: until === 'forever' ? Number.POSITIVE_INFINITY : stopped < 0 ? end : Math.min(stopped, end),
    }
  })
  const beyond = bounds.filter(({ place, start }) => start > ends.get(place)!.offset)
  if (beyond.length === 0) return bounds
  // A position within an open transaction is in the log, and not out of range.
  const marks = await offsetsAt(
    cluster,
    beyond.map(({ place }) => place),
    latest,
    isolationLevel.readUncommitted,
  )
  return bounds.map(each => {
    const mark = marks.get(each.place)?.offset
    return mark === undefined || each.start <= mark ? each : { ...each, start: mark, trouble: outOfRange(each, mark) }
  })
}

function outOfRange({ place, start }: Bounds, end: number): FetchError {
  const offset = BigInt(start)
  const message = `the position ${placeName({ ...place, offset })} is beyond the end of the log; reading goes on at ${end}`
  return new FetchError(message, { ...place, offset })
}

export function isPositions(from: ReadRequest['from']): from is ReadonlyMap<number, number> {
  return typeof from === 'object' && 'get' in from
}
