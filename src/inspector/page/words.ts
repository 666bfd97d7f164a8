import type { StallReason } from '../../events.js'
import type { Happening, PartitionState, StallState } from '../messages.js'
import { type Lane, type Mark, shownFor } from './store.js'

// Texts of the page, visible ones and those for screen readers.

/** Explains each reason for a stall. */
export const reasons: Readonly<Record<StallReason, string>> = {
  unsettled: 'in the pipeline, neither acked nor failed',
  routing: 'failed; its copy is not acknowledged yet, or a step of the failure route holds it',
  unroutable: 'failed; no step of the failure route handles it',
  'not-due': 'a retry that is not due yet',
  'no-subscriber': 'its topic has no subscriber',
  paused: 'its topic is paused',
  committing: 'completed; the commit is not confirmed yet',
}

/** A position counts as held back from this time on, ms. Ordinary work takes less. */
export const heldAfter = 1_000

export function duration(ms: number): string {
  const left = Math.max(0, ms)
  if (Math.round(left) < 1_000) return `${Math.round(left)} ms`
  if (left < 10_000) return `${(left / 1_000).toFixed(1)} s`
  if (left < 120_000) return `${Math.round(left / 1_000)} s`
  if (left < 7_200_000) return `${Math.round(left / 60_000)} min`
  return `${Math.round(left / 3_600_000)} h`
}

export function time(at: number): string {
  const date = new Date(at)
  const two = (value: number) => String(value).padStart(2, '0')
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
}

const numbers = new Intl.NumberFormat('en', { maximumFractionDigits: 1, notation: 'compact' })
export function short(value: number): string {
  return Math.abs(value) < 10_000 ? String(Math.round(value)) : numbers.format(value)
}

/** Describes what a partition waits for. Empty if it does not wait. */
export function waitsFor(stall: StallState | undefined, now: number): string {
  if (stall === undefined) return ''
  if (stall.why === 'not-due') return stall.due === null ? 'retry not due' : `retry due in ${duration(stall.due - now)}`
  if (now - stall.since < heldAfter) return ''
  return `@${stall.offset} ${stall.why} ${duration(now - stall.since)}`
}

/** Describes a mark: `@1042 acked`. */
export function markText({ kind, offset, attempt }: Mark): string {
  return `@${offset} ${kind}${attempt > 1 ? `, attempt ${attempt}` : ''}`
}

/** The text alternative of a partition's diagram. */
export function summary(
  lane: Lane | undefined,
  partition: PartitionState,
  stall: StallState | undefined,
  now: number,
): string {
  const sum = { delivered: 0, acked: 0, failed: 0 }
  for (const { delivered, acked, failed } of lane?.counts ?? []) {
    sum.delivered += delivered
    sum.acked += acked
    sum.failed += failed
  }
  const special = new Map<string, number>()
  for (const { kind, at } of lane?.marks ?? []) {
    if (now - at > shownFor || kind === 'delivered' || kind === 'acked' || kind === 'failed' || kind === 'committed')
      continue
    special.set(kind, (special.get(kind) ?? 0) + 1)
  }
  const others = [...special].map(([kind, count]) => `, ${count} ${kind}`).join('')
  const waits = waitsFor(stall, now)
  return (
    `${partition.name}, last ${shownFor / 1_000} s: ${sum.delivered} delivered, ${sum.acked} acked, ${sum.failed} failed${others}; ` +
    `committed ${partition.committed ?? 'nothing'}${waits === '' ? '' : `; held back: ${waits}`}`
  )
}

/** The announcement for screen readers. Undefined if the happening is not announced. */
export function spoken({ type, place, text }: Happening): string | undefined {
  switch (type) {
    case 'dead-lettered':
      return `dead letter of ${place}: ${text}`
    case 'stalled':
      return `held back at ${place}: ${text}`
    case 'error':
      return `error: ${text}`
    case 'disconnected':
      return 'the brokers cannot be reached'
    case 'reconnected':
      return 'the brokers answer again'
    case 'state':
      return `the client is ${text}`
    default:
      return undefined
  }
}
