import { types } from 'node:util'
import type { ReadRequest } from '../driver.js'
import { checkOptions, invalid, type KnownOptions } from '../options.js'
import type { ReadOptions } from './client.js'

const known: KnownOptions<ReadOptions> = { partitions: true, from: true, until: true }

/** The checked options of `read`. @throws ConfigurationError */
export function configureRead(options: ReadOptions = {}): Pick<ReadRequest, 'partitions' | 'from' | 'until'> {
  checkOptions('read', options, known)
  const { partitions, from = 'earliest', until = 'caught-up' } = options
  const list = partitions === undefined ? undefined : partitionList(partitions)
  return { partitions: list, from: beginning(from), until: end(until) }
}

function partitionList(partitions: readonly number[]): readonly number[] {
  const rule = 'must be an array of partition numbers'
  if (!Array.isArray(partitions)) throw invalid('read: partitions', partitions, rule)
  for (const partition of partitions) if (!isPartition(partition)) throw invalid('read: partitions', partition, rule)
  return [...new Set(partitions)]
}

function beginning(from: NonNullable<ReadOptions['from']>): ReadRequest['from'] {
  if (from === 'earliest' || from === 'latest') return from
  if (types.isDate(from) && !Number.isNaN(from.getTime())) return dated(from)
  if (types.isMap(from)) return positions(from)
  throw invalid('read: from', from, "must be 'earliest', 'latest', a valid Date or a Map of offsets by partition")
}

function positions(from: ReadonlyMap<unknown, unknown>): ReadonlyMap<number, number> {
  const found = new Map<number, number>()
  for (const [partition, offset] of from) {
    if (!isPartition(partition)) throw invalid('read: a partition in from', partition, 'must be an integer ≥ 0')
    if (typeof offset !== 'bigint' || offset < 0n) {
      throw invalid(`read: the offset of partition ${partition} in from`, offset, 'must be a bigint ≥ 0')
    }
    if (offset > maxOffset) {
      throw invalid(`read: the offset of partition ${partition} in from`, offset, `must be at most ${maxOffset}`)
    }
    found.set(partition, Number(offset))
  }
  return found
}

function end(until: NonNullable<ReadOptions['until']>): ReadRequest['until'] {
  if (until === 'caught-up' || until === 'forever') return until
  if (types.isDate(until) && !Number.isNaN(until.getTime())) return dated(until)
  throw invalid('read: until', until, "must be 'caught-up', 'forever' or a valid Date")
}

/** A date in 1970 or later, because Kafka gives negative timestamps other meanings. Copied, to convert Dates of other realms. */
export function dated(date: Date): Date {
  return new Date(Math.max(0, date.getTime()))
}

function isPartition(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 31
}

const maxOffset = BigInt(Number.MAX_SAFE_INTEGER)
