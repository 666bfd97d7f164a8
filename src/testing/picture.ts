import { drawDiagrams, type Mark } from './diagram.js'

/** What one diagram was expected to be, and what it was. */
export interface Comparison {
  /** What it shows: `commits of orders-0`. */
  readonly name: string
  readonly expected: readonly Mark[]
  readonly actual: readonly Mark[]
  /** What marks stand for; those that are not in it speak for themselves. */
  readonly legend?: ReadonlyMap<string, string>
}

/** A diagram that is not compared: what was put in, or what else happened. */
export interface Context {
  readonly name: string
  readonly marks: readonly Mark[]
  readonly legend?: ReadonlyMap<string, string>
}

/** Time in which nothing more happens in a row. */
const idleEnd = /( +[\d.]+(ms|s|m) -*)+$/

/** Whether the diagrams say the same. */
export function isAsExpected({ expected, actual }: Comparison): boolean {
  return firstDifference({ expected, actual }) === undefined
}

/**
 * A picture of what was expected and what happened, for the message of an error: all diagrams in the same columns, what
 * differs underlined, and the marks explained. Plain text, for any test runner.
 *
 * @param context What was put in, drawn above.
 * @param failed Comparisons that are not as expected.
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

/** A picture of rows that are compared with nothing. */
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

/** Where there is no difference an underline is blank. */
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

/** The marks that are drawn, each with what it stands for. */
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
