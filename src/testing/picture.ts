import { drawDiagrams, type Mark } from './diagram.js'

/** An expected diagram and the actual one. */
export interface Comparison {
  /** What it shows: `commits of orders-0`. */
  readonly name: string
  readonly expected: readonly Mark[]
  readonly actual: readonly Mark[]
  /** The meanings of marks that are not obvious. */
  readonly legend?: ReadonlyMap<string, string>
}

/** A diagram that is not compared: an input, or something else that happened. */
export interface Context {
  readonly name: string
  readonly marks: readonly Mark[]
  readonly legend?: ReadonlyMap<string, string>
}

/** The end of a row, if nothing more happens in it. */
const idleEnd = /( +[\d.]+(ms|s|m) -*)+$/

/** Whether the two diagrams are equal. */
export function isAsExpected({ expected, actual }: Comparison): boolean {
  return firstDifference({ expected, actual }) === undefined
}

/**
 * A picture of expected and actual diagrams for the message of an error: all diagrams with common columns, differences
 * underlined, and marks explained. Plain text, for any test runner.
 *
 * @param context The inputs, drawn above.
 * @param failed Comparisons with a difference.
 */
export function picture(context: readonly Context[], failed: readonly Comparison[]): string {
  const compared = failed.flatMap(comparison => [
    { name: comparison.name, role: 'expected', marks: comparison.expected },
    { name: '', role: 'actual', marks: comparison.actual },
    { name: '', role: '', marks: differences(comparison) },
  ])
  const rows = [...context.map(({ name, marks }) => ({ name, role: '', marks })), ...compared]
  const names = Math.max(...rows.map(({ name }) => name.length))
  const roles = Math.max(...rows.map(({ role }) => role.length))
  const diagrams = drawDiagrams(rows.map(({ marks }) => marks))
  const lines = rows.map(({ name, role }, at) => {
    const isUnderline = at >= context.length && role === ''
    const diagram = isUnderline ? underline(diagrams[at]!) : diagrams[at]!
    return `  ${name.padEnd(names)}  ${role.padEnd(roles)}  ${diagram.replace(idleEnd, '')}`.trimEnd()
  })
  if (context.length > 0) lines.splice(context.length, 0, '')
  return [failed.map(headline).join('\n'), '', ...lines, ...explained([...context, ...failed])].join('\n')
}

/** A picture of rows without a comparison. */
export function drawing(rows: readonly Context[]): string {
  return picture(rows, []).trim().replace(/^/, '  ')
}

/** `commits of orders-0, frame 5: expected 1, and nothing came`. */
function headline(comparison: Comparison): string {
  const { frame, expected, actual } = firstDifference(comparison)!
  const came = actual === '' ? 'and nothing came' : `and ${actual} came`
  return `${comparison.name}, frame ${frame}: ${expected === '' ? 'expected nothing' : `expected ${expected}`}, ${came}`
}

function firstDifference({ expected, actual }: Pick<Comparison, 'expected' | 'actual'>) {
  return framesOf(expected, actual)
    .map(frame => ({ frame, expected: marksAt(expected, frame), actual: marksAt(actual, frame) }))
    .find(({ expected, actual }) => expected !== actual)
}

function differences({ expected, actual }: Comparison): Mark[] {
  return framesOf(expected, actual)
    .filter(frame => marksAt(expected, frame) !== marksAt(actual, frame))
    .map(frame => ({ frame, mark: '^' }))
}

/** The row of `^` below differences. */
function underline(diagram: string): string {
  return diagram.replace(/[^^]/g, ' ')
}

function framesOf(...rows: readonly (readonly Mark[])[]): number[] {
  return [...new Set(rows.flat().map(({ frame }) => frame))].sort((one, other) => one - other)
}

function marksAt(row: readonly Mark[], frame: number): string {
  return row
    .filter(mark => mark.frame === frame)
    .map(({ mark }) => mark)
    .join('')
}

/** The legend: the marks of these rows with their meanings. */
function explained(rows: readonly (Context | Comparison)[]): string[] {
  const lines = new Set<string>()
  for (const row of rows) {
    const drawn = 'marks' in row ? row.marks : [...row.expected, ...row.actual]
    for (const { mark } of drawn) {
      const meaning = row.legend?.get(mark)
      if (meaning !== undefined) lines.add(`  ${mark}  ${meaning}`)
    }
  }
  return lines.size === 0 ? [] : ['', ...lines]
}
