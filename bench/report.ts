import type { Figures } from './figures.js'
import { median } from './median.js'
import type { Row } from './row.js'
import { formatted, judged } from './target.js'

/** Formats the figures of a row as a Markdown table for docs/benchmarks.md, with its failures below. */
export function report(name: string, row: Row, figures: Figures, rounds: number, records: number): string {
  const columns = [row.figure, ...figures.columns.filter(column => column !== row.figure)]
  const head = [`\`${name}\``, ...columns, `to ${row.base}`, 'target']
  const base = figures.median(row.base, row.figure)
  const lines = figures.contenders.map(contender => {
    const own = figures.median(contender, row.figure)
    const ratio = own === undefined || base === undefined ? '' : formatted(own / base)
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

/** The median of the rounds, with the lowest and the highest in brackets. */
function spread(values: readonly number[]): string {
  if (values.length === 0) return ''
  const sorted = [...values].sort((one, other) => one - other)
  const middle = formatted(median(values))
  return values.length === 1 ? middle : `${middle} (${formatted(sorted[0]!)} – ${formatted(sorted.at(-1)!)})`
}

/** A table whose columns are padded, so that its source is readable. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(3, ...rows.map(row => row[column]!.length)))
  const line = (cells: readonly string[]) => `| ${cells.map((cell, at) => cell.padEnd(widths[at]!)).join(' | ')} |`
  return [line(rows[0]!), `|${widths.map(width => '-'.repeat(width + 2)).join('|')}|`, ...rows.slice(1).map(line)]
}
