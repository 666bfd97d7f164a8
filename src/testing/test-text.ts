import type { Line } from './script.js'

/** The parts of a marble test to print. */
export interface TestText {
  readonly title: string
  /** The first statement, if there is one: `const clients = play(scenario, …)`. */
  readonly opening: readonly string[]
  /** Helpers that the opening and the closing use. */
  readonly helpers: readonly string[]
  readonly lines: readonly Line[]
  readonly closing?: readonly string[]
  /** The second argument of `runMarbles`, without undefined options. */
  readonly options: Readonly<Record<string, unknown>>
}

/** Prints a test for `runMarbles`, to be pasted into a test file of any runner that has `it`. */
export function testText({ title, opening, helpers, lines, closing = [], options }: TestText): string {
  const used = [...new Set([...helpers, ...lines.map(({ helper }) => helper)])].join(', ')
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  const calls = lines.map(({ helper, args, options }) => {
    const all = [...args.map(literal), ...(options === undefined ? [] : [optionsLiteral(options)])]
    return `${helper}(${all.join(', ')})`
  })
  return [
    `it(${literal(title)}, () =>`,
    '  runMarbles(',
    `    ({ ${used} }) => {`,
    ...[...opening, ...calls, ...closing].map(statement => `      ${statement}`),
    '    },',
    ...(given.length === 0 ? [] : [`    ${literal(Object.fromEntries(given))},`]),
    '  ))',
  ].join('\n')
}

/** A value as TypeScript code. */
export function literal(value: unknown): string {
  if (typeof value === 'string')
    return `'${JSON.stringify(value).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`
  if (typeof value === 'bigint') return `${value}n`
  if (Buffer.isBuffer(value)) return `Buffer.from('${value.toString('base64')}', 'base64')`
  if (Array.isArray(value)) return `[${value.map(literal).join(', ')}]`
  if (typeof value === 'object' && value !== null)
    return braces(Object.entries(value).map(([name, of]) => [name, literal(of)]))
  return String(value)
}

function optionsLiteral({ client, ...rest }: NonNullable<Line['options']>): string {
  const entries = Object.entries(rest).map(([name, of]): [string, string] => [name, literal(of)])
  return braces(client === undefined ? entries : [['client', `clients[${client}]`], ...entries])
}

function braces(entries: readonly (readonly [string, string])[]): string {
  if (entries.length === 0) return '{}'
  return `{ ${entries.map(([name, of]) => `${/^[\p{L}_$][\p{L}\p{N}_$]*$/u.test(name) ? name : literal(name)}: ${of}`).join(', ')} }`
}
