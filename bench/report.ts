import type { Figures } from './figures.js'
import { median } from './median.js'
import type { Row } from './row.js'
import { judged, shown } from './target.js'

/** A row's figures as a Markdown table, ready for docs/benchmarks.md; what failed is said below it. */
export function report(name: string, row: Row, figures: Figures, rounds: number, records: number): string {
  const columns = [row.figure, ...figures.columns.filter(column => column !== row.figure)]
  const head = [`\`${name}\``, ...columns, `to ${row.base}`, 'target']
  const base = figures.median(row.base, row.figure)
  const lines = figures.contenders.map(contender => {
    const own = figures.median(contender, row.figure)
    const ratio = own === undefined || base === undefined ? '' : shown(own / base)
    const targets = (row.targets[contender] ?? []).map(target => judged(target, contender, row.figure, figures))
    return [contender, ...columns.map(column => spread(figures.of(contender, column))), ratio, targets.join('; ')]
  })
  const failures = figures.failures.map(failure => `- ${failure}`)
  const title = `${row.title[0]!.toUpperCase()}${row.title.slice(1)}.`
  return [
    `${title} ${records.toLocaleString('en')} records, ${rounds} ${rounds === 1 ? 'round' : 'rounds'}.`,
    '',
    ...table([head, ...lines]),
    ...(failures.length === 0 ? [] : ['', ...failures]),
    '',
  ].join('\n')
}

/** The median, and the lowest and highest of the rounds. */
function spread(values: readonly number[]): string {
  if (values.length === 0) return ''
  const sorted = [...values].sort((one, other) => one - other)
  const middle = shown(median(values))
  return values.length === 1 ? middle : `${middle} (${shown(sorted[0]!)} – ${shown(sorted.at(-1)!)})`
}

/** Columns as wide as their longest cell, so that it is a table for the eye too. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(3, ...rows.map(row => row[column]!.length)))
  const line = (cells: readonly string[]) => `| ${cells.map((cell, at) => cell.padEnd(widths[at]!)).join(' | ')} |`
  return [line(rows[0]!), `|${widths.map(width => '-'.repeat(width + 2)).join('|')}|`, ...rows.slice(1).map(line)]
}
