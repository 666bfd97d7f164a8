import type { StartFrom } from '../../driver.js'
import { ConfigurationError, FetchError } from '../../errors.js'
import { partitionName, placeName } from '../../place.js'
import type { Log } from './log.js'

/** Where reading starts if there is no committed position. */
export function startPosition(log: Log, startFrom: StartFrom): number {
  if (startFrom === 'earliest') return log.start
  if (startFrom === 'latest') return log.end
  if (startFrom instanceof Date) return log.offsetAt(startFrom.getTime())
  throw new ConfigurationError(
    `startFrom is 'committed', and there is no committed position that can be read for ${partitionName(log)}`,
  )
}

/** The error for a position that retention has deleted, or that was never written. */
export function outOfRange(log: Log, from: number, to: number): FetchError {
  const place = { topic: log.topic, partition: log.partition, offset: BigInt(from) }
  return new FetchError(
    `the position ${placeName(place)} is out of range (${log.start} to ${log.end}); reading goes on at ${to}`,
    place,
  )
}
