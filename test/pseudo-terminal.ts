import { spawn } from 'node:child_process'
import { firstValueFrom, ReplaySubject } from 'rxjs'
import { filter, map, scan } from 'rxjs/operators'

export interface TerminalOptions {
  readonly columns: number
  readonly rows: number
  readonly env: NodeJS.ProcessEnv
}

/** Runs a program in its own terminal, by `script` of util-linux, and types into it. */
export class PseudoTerminal {
  /** The exit code of the program. */
  readonly ended: Promise<number | null>
  readonly #child
  readonly #output = new ReplaySubject<string>()
  #text = ''

  constructor(program: string, args: readonly string[], { columns, rows, env }: TerminalOptions) {
    const words = [program, ...args].map(word => `'${word.replaceAll("'", "'\\''")}'`).join(' ')
    const command = `stty rows ${rows} columns ${columns} && exec ${words}`
    this.#child = spawn('script', ['--quiet', '--return', '--flush', '--command', command, '/dev/null'], {
      env: { ...env, TERM: 'xterm-256color' },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.#child.stdout.on('data', chunk => {
      this.#text += chunk
      this.#output.next(String(chunk))
    })
    this.ended = new Promise((resolve, reject) => {
      this.#child.on('error', reject)
      this.#child.on('close', code => {
        this.#output.complete()
        resolve(code)
      })
    })
  }

  /** Everything that it has written, on stdout and stderr. */
  get text(): string {
    return this.#text
  }

  /** Resolves once this text has been shown. Rejects if the program ends before that. */
  async shows(like: RegExp): Promise<void> {
    const all = this.#output.pipe(
      scan((text, chunk) => text + chunk, ''),
      map(visibleOf),
      filter(text => like.test(text)),
    )
    await firstValueFrom(all).catch(() => {
      throw new Error(`it ended and never showed ${like}:\n${this.#text}`)
    })
  }

  type(text: string): void {
    this.#child.stdin.write(text)
  }
}

/** Control sequences of terminals. */
const sequences = /\p{Cc}(?:\[[\d;?]*[A-Za-z]|[78])/gu

/** The characters that were shown, with `\n` between the lines. An overwritten line counts as several lines. */
export function visibleOf(text: string): string {
  return text.replaceAll('\u001b[1G', '\n').replace(sequences, '').replace(/\r\n?/g, '\n')
}
