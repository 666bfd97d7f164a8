import Table from 'cli-table3'

/** Where a command writes: what it found on `out`, everything else on `note`. */
export interface Output {
  /** One JSON document a line. */
  json(document: object): void
  table(columns: readonly string[], rows: readonly (readonly string[])[]): void
  line(text: string): void
  note(text: string): void
}

/** Without colours and frames that a pipe would carry along. */
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
  middle: '  ',
}

export function terminal(out: NodeJS.WritableStream, err: NodeJS.WritableStream): Output {
  return {
    json: document => void out.write(`${JSON.stringify(document)}\n`),
    line: text => void out.write(`${text}\n`),
    note: text => void err.write(`${text}\n`),
    table(columns, rows) {
      const table = new Table({
        head: columns.map(name => name.toUpperCase()),
        chars: plain,
        style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
      })
      table.push(...rows.map(row => [...row]))
      const lines = table.toString().split('\n')
      out.write(`${lines.map(line => line.trimEnd()).join('\n')}\n`)
    },
  }
}
