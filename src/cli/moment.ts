import { isInCalendar } from '../rfc3339.js'
import { wrongUse } from './failure.js'

const units = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const ago = /^(\d{1,9})([smhd])$/
/** RFC 3339: a date, or a date with a time and its offset from UTC. */
const rfc3339 = /^\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([Zz]|[+-]\d{2}:\d{2}))?$/

/**
 * A moment as a flag has it, ms since 1970: RFC 3339, or how long ago (`90s`, `15m`, `2h`, `3d`).
 *
 * @throws CommandFailure naming the flag if it is neither.
 */
export function moment(flag: string, text: string, now: number): number {
  const found = ago.exec(text)
  if (found !== null) return now - Number(found[1]) * units[found[2] as keyof typeof units]
  const at = rfc3339.test(text) && isInCalendar(text) ? Date.parse(text) : Number.NaN
  if (!Number.isNaN(at)) return at
  throw wrongUse(`${flag} must be RFC 3339 (2026-11-28T12:00:00Z) or a time ago (90s, 15m, 2h, 3d) (got '${text}')`)
}
