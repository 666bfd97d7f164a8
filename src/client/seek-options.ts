import { types } from 'node:util'
import type { Seek } from '../driver.js'
import { checkInteger, checkOptions, invalid, type KnownOptions } from '../options.js'
import type { SeekOffset, SeekTo } from './client.js'
import { dated } from './read-options.js'

const known: KnownOptions<SeekOffset> = { partition: true, offset: true }
const rule = "must be 'earliest', 'latest', a valid Date or { partition?, offset }"
const maxOffset = BigInt(Number.MAX_SAFE_INTEGER)

/** The checked target of `seek`. Without a partition it is for all partitions. @throws ConfigurationError */
export function configureSeek(to: SeekTo): { readonly partition: number | undefined; readonly position: Seek['to'] } {
  if (to === 'earliest' || to === 'latest') return { partition: undefined, position: to }
  if (types.isDate(to) && !Number.isNaN(to.getTime())) return { partition: undefined, position: dated(to) }
  if (typeof to !== 'object' || to === null || types.isDate(to)) throw invalid('seek: to', to, rule)
  checkOptions('seek', to, known)
  const { partition, offset } = to
  if (partition !== undefined) checkInteger('seek: partition', partition, 0, 2 ** 31 - 1)
  if (typeof offset !== 'bigint' || offset < 0n) {
    throw invalid('seek: offset', offset, 'must be a bigint ≥ 0')
  }
  if (offset > maxOffset) throw invalid('seek: offset', offset, `must be at most ${maxOffset}`)
  return { partition, position: Number(offset) }
}
