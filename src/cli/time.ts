import { isInCalendar } from '../rfc3339.js'
import { wrongUse } from './failure.js'

const units = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const span = /^(\d{1,9})([smhd])$/
/** RFC 3339: a date, or a date with a time and its offset from UTC. */
const rfc3339 = /^\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([Zz]|[+-]\d{2}:\d{2}))?$/

function spanOf(text: string): number | undefined {
  const found = span.exec(text)
  return found === null ? undefined : Number(found[1]) * units[found[2] as keyof typeof units]
}

/**
 * Reads the moment that a flag names, ms since 1970: RFC 3339, or how long ago (`90s`, `15m`, `2h`, `3d`).
 *
 * @throws CommandFailure naming the flag if it is neither.
 */
export function moment(flag: string, text: string, now: number): number {
  const ago = spanOf(text)
  if (ago !== undefined) return now - ago
  const at = rfc3339.test(text) && isInCalendar(text) ? Date.parse(text) : Number.NaN
  if (!Number.isNaN(at)) return at
  throw wrongUse(`${flag} must be RFC 3339 (2026-11-28T12:00:00Z) or a time ago (90s, 15m, 2h, 3d) (got '${text}')`)
}

/**
 * Reads the duration that a flag names, ms.
 *
 * @throws CommandFailure naming the flag if it is not one.
 */
export function duration(flag: string, text: string): number {
  const found = spanOf(text)
  if (found !== undefined) return found
  throw wrongUse(`${flag} must be a number of seconds, minutes, hours or days (90s, 15m, 2h, 3d) (got '${text}')`)
}

/** A moment as JSON has it: RFC 3339 with ms. */
export function isoTime(at: number): string {
  const date = new Date(at)
  return Number.isNaN(date.getTime()) ? String(at) : date.toISOString()
}

/** A moment to the second: a table of 80 columns has room for two. */
export function shortTime(at: number): string {
  return isoTime(at)
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z')
}

/** The time of the day, UTC. */
export function clockTime(at: number): string {
  return isoTime(at).slice('2026-11-29T'.length)
}

/** A duration for people, with its two largest units: `850 ms`, `12 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`. */
export function shownDuration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`
  const seconds = Math.floor(ms / 1_000)
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ] as const
  const first = parts.findIndex(([count]) => count > 0)
  const shown = parts.slice(first, first + 2).filter(([count]) => count > 0)
  return shown.map(([count, unit]) => `${count} ${unit}`).join(' ')
}
