import type { Figures } from './figures.js'

/** A target: a bound in the column's unit, or relative to another contender of the row. */
export interface Target {
  /** Defaults to the row's `figure`. */
  readonly column?: string
  readonly bound: 'at least' | 'at most'
  readonly value: number
  /** The bound is `value` times the figure of this contender. */
  readonly times?: string
  /** The bound is the figure of this contender plus `value`. */
  readonly over?: string
}

export const atLeast = (value: number, rest: Omit<Target, 'bound' | 'value'> = {}): Target => ({
  ...{ bound: 'at least', value },
  ...rest,
})

export const atMost = (value: number, rest: Omit<Target, 'bound' | 'value'> = {}): Target => ({
  ...{ bound: 'at most', value },
  ...rest,
})

/** Compares the medians with the target. Returns the cell of the table: `≥ 2.5 × kafkajs eachBatch: reached, 2.61`. */
export function judged(target: Target, contender: string, figure: string, figures: Figures): string {
  const { bound, value, times, over } = target
  const column = target.column ?? figure
  const sign = bound === 'at least' ? '≥' : '≤'
  const name = target.column === undefined ? '' : `${column.split(',')[0]} `
  const other = times ?? over
  const comparison = times !== undefined ? ` × ${times}` : over !== undefined ? ` over ${over}` : ''
  const asked = `${name}${sign} ${value.toLocaleString('en')}${comparison}`
  const own = figures.median(contender, column)
  const theirs = other === undefined ? undefined : figures.median(other, column)
  if (own === undefined || (other !== undefined && theirs === undefined)) return `${asked}: not measured`
  const compared = times !== undefined ? own / theirs! : over !== undefined ? own - theirs! : own
  const reached = bound === 'at least' ? compared >= value : compared <= value
  return `${asked}: ${reached ? 'reached' : '**missed**'}, ${formatted(compared)}`
}

/** Formats a number with three significant digits, or without decimals from 1,000 on. */
export function formatted(value: number): string {
  const rounded = Math.abs(value) >= 1_000 ? Math.round(value) : Number(value.toPrecision(3))
  return rounded.toLocaleString('en', { maximumFractionDigits: 20 })
}
