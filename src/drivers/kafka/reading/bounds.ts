import type { ReadRequest } from '../../../driver.js'
import { FetchError } from '../../../errors.js'
import { placeName } from '../../../place.js'
import { isolationLevel } from '../../../protocol/messages/fetch.js'
import type { Cluster } from '../cluster/cluster.js'
import { earliest, latest, offsetsAt } from '../positions/list-offsets.js'
import type { TopicPartition } from '../topic-partition.js'

/** What of a partition is to be read: offsets from `start` up to, and without, `end`. */
export interface Bounds {
  readonly place: TopicPartition
  readonly start: number
  /** `Infinity`: for ever. */
  readonly end: number
  /** A start that is not in the log. */
  readonly trouble?: FetchError
}

/**
 * The bounds of partitions as their logs are now. Rejects if one of their leaders does not answer.
 *
 * Ends are those of read committed: a transaction that is open ends the log for this read.
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
  // What an open transaction wrote is in the log, and no position in it is out of range.
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
