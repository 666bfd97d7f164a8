import { once } from 'node:events'
import Table from 'cli-table3'
import { CommandFailure, exitCode } from './failure.js'
import { visible, visibleJson, visibleLines } from './visible.js'

/** Where a command writes: its results to `stdout`, everything else to `stderr`. */
export interface Output {
  /** False once the reader of `stdout` has closed it, as `head` does. */
  readonly isRead: boolean
  /** Whether `stdout` is a terminal, so that people read it. */
  readonly isTerminal: boolean
  /**
   * Resolves once the reader of `stdout` has caught up, or has closed it. A command that writes as much as it reads waits for
   * it, because unread output stays in memory. Rejects with a `CommandFailure` if `stdout` cannot be written to.
   */
  caughtUp(): Promise<void>
  /** Writes one JSON document as one line. */
  json(document: object): void
  /** Writes rows below their column names. A column without a value in any row is left out. */
  table(columns: readonly string[], rows: readonly (readonly string[])[]): void
  /**
   * Begins a page that replaces the last one: clears the terminal, if the page fits into it. In a pipe, or if the page is
   * longer, an empty line separates the two.
   */
  newPage(lines: number): void
  /** Writes lines of text. */
  line(text: string): void
  /** Writes fields as one line. In a terminal that it is too wide for, fields that do not fit begin further lines. */
  fields(first: string, ...others: readonly string[]): void
  /** Writes a message for people to `stderr`. */
  note(text: string): void
}

/** Between columns. */
const gap = '  '

/** No frames and no colours: a pipe would pass them on. */
const plain = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: gap,
}

interface Terminal {
  readonly stdout: NodeJS.WriteStream
  readonly stderr: NodeJS.WriteStream
}

/** The output of a process. Control characters in what it writes are shown as escapes. */
export function terminal({ stdout, stderr }: Terminal): Output {
  let isRead = true
  let pages = 0
  let failure: Error | undefined
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    isRead = false
    if (error.code !== 'EPIPE') failure = error
  })
  // There is no other place to report it to.
  stderr.on('error', () => {})
  return {
    get isRead() {
      return isRead
    },
    isTerminal: stdout.isTTY === true,
    async caughtUp() {
      if (isRead && stdout.writableNeedDrain) await drained(stdout)
      if (failure === undefined) return
      const message = `stdout cannot be written to: ${failure.message}`
      throw new CommandFailure(message, exitCode.failed, { cause: failure })
    },
    newPage(lines) {
      if (stdout.isTTY && lines < stdout.rows) stdout.write('\u001b[2J\u001b[H')
      else if (pages++ > 0) stdout.write('\n')
    },
    json: document => void stdout.write(`${visibleJson(document)}\n`),
    line: text => void stdout.write(`${visibleLines(text)}\n`),
    fields: (...fields) => void stdout.write(`${fieldLines(fields.map(visible), widthOf(stdout)).join('\n')}\n`),
    note: text => void stderr.write(`${visibleLines(text)}\n`),
    table(columns, rows) {
      const used = columns.map((_, at) => at).filter(at => rows.some(row => row[at] !== ''))
      const shown = rows.map(row => used.map(at => visible(row[at]!)))
      const names = used.map(at => columns[at]!.toUpperCase())
      const lines = tableLines(names, shown)
      // A terminal would wrap the rows.
      const fits = lines.every(line => line.length <= widthOf(stdout))
      stdout.write(`${(fits ? lines : blockLines(names, shown)).join('\n')}\n`)
    },
  }
}

/** Also resolves if the stream is closed or fails. */
async function drained(stream: NodeJS.WritableStream): Promise<void> {
  const over = new AbortController()
  const events = ['drain', 'close'].map(name => once(stream, name, { signal: over.signal }))
  await Promise.race(events).catch(() => {})
  over.abort()
}

/** A pipe has no width: its reader wants one row in one line. */
function widthOf({ isTTY, columns }: NodeJS.WriteStream): number {
  return isTTY ? columns : Number.POSITIVE_INFINITY
}

function fieldLines([first = '', ...others]: readonly string[], width: number): string[] {
  const lines = [first]
  for (const field of others) {
    const line = `${lines.at(-1)}${gap}${field}`
    if (line.length <= width) lines[lines.length - 1] = line
    else lines.push(`${gap}${field}`)
  }
  return lines.map(line => line.trimEnd())
}

function tableLines(names: readonly string[], rows: readonly string[][]): string[] {
  const style = { head: [], border: [], 'padding-left': 0, 'padding-right': 0 }
  const table = new Table({ head: [...names], chars: plain, style })
  table.push(...rows)
  return table
    .toString()
    .split('\n')
    .map(line => line.trimEnd())
}

/** Each row as lines of name and value, with an empty line between two rows. */
function blockLines(names: readonly string[], rows: readonly string[][]): string[] {
  const width = Math.max(...names.map(({ length }) => length))
  return rows.flatMap((row, at) => [
    ...(at === 0 ? [] : ['']),
    ...row.map((value, column) => `${names[column]!.padEnd(width)}  ${value}`.trimEnd()),
  ])
}
