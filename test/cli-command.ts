import { EventEmitter } from 'node:events'
import { PassThrough } from 'node:stream'
import { firstValueFrom, ReplaySubject } from 'rxjs'
import { filter } from 'rxjs/operators'
import { type CommandProcess, run } from '../src/cli/program'

export interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}

export interface CommandOptions {
  readonly env?: NodeJS.ProcessEnv
  /** The width of the terminal on stdout and stderr; undefined: they are pipes. */
  readonly columns?: number
}

/** One command line, run in this process with its own streams and signals. */
export class Running {
  readonly ended: Promise<Ended>
  readonly #signals = new EventEmitter()
  readonly #lines = new ReplaySubject<string>()
  readonly #stdout = new PassThrough()
  #out = ''
  #err = ''

  constructor(args: readonly string[], { env = {}, columns }: CommandOptions = {}) {
    const [stdout, stderr] = [this.#stdout, new PassThrough()].map(stream =>
      Object.assign(stream, columns === undefined ? {} : { isTTY: true, columns }),
    )
    let rest = ''
    stdout!.on('data', chunk => {
      this.#out += chunk
      const lines = (rest + chunk).split('\n')
      rest = lines.pop()!
      for (const line of lines) this.#lines.next(line)
    })
    stderr!.on('data', chunk => {
      this.#err += chunk
    })
    const signals = this.#signals
    const process = {
      env,
      stdin: new PassThrough(),
      stdout,
      stderr,
      on: signals.on.bind(signals),
      off: signals.off.bind(signals),
    }
    this.ended = run(args, process as unknown as CommandProcess).then(code => {
      this.#lines.complete()
      return { code, out: this.#out, err: this.#err }
    })
  }

  /** The first line on stdout that matches, also among earlier lines. */
  line(like: (line: string) => boolean): Promise<string> {
    return firstValueFrom(this.#lines.pipe(filter(like)))
  }

  /** The first JSON document on stdout that matches. */
  async document(like: (document: Record<string, unknown>) => boolean): Promise<Record<string, unknown>> {
    return JSON.parse(await this.line(line => like(JSON.parse(line))))
  }

  interrupt(): void {
    this.#signals.emit('SIGINT')
  }

  /** Called when the reader of stdout has ended. */
  closeStdout(): void {
    this.#stdout.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
  }
}

export function command(args: readonly string[], options?: CommandOptions): Promise<Ended> {
  return new Running(args, options).ended
}
