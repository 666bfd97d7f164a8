import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const tsx = new URL('../../node_modules/tsx/dist/loader.mjs', import.meta.url).href

/** A program of `examples`, run in its own process as a user runs it. It is killed at the end of the test. */
export class Example {
  output = ''
  /** Matches errors and Node's warnings in the output. A test fails by a match that it does not expect. */
  stderr = ''
  /** Matches the lines on stderr that the test provokes. */
  expected: RegExp | undefined
  readonly #process: ChildProcess
  readonly #ended: Promise<unknown>
  readonly #looks = new Set<() => void>()

  /** @param folder The folder of `examples/<name>.ts`, or a package with `src/<name>.ts` or another `src/<name>`. */
  constructor(name: string, env: Readonly<Record<string, string>> = {}, folder = root) {
    const { KAFKA_BROKERS: _, ...others } = process.env
    const file = name.endsWith('.mjs') ? name : `${name}.ts`
    const program = folder === root ? `examples/${file}` : `src/${file}`
    const loader = file.endsWith('.ts') ? ['--import', tsx] : []
    this.#process = spawn(process.execPath, [...loader, program], {
      cwd: folder,
      env: { ...others, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    onTestFinished(() => {
      this.kill('SIGKILL')
      const lines = this.stderr.split('\n').filter(line => line !== '' && this.expected?.test(line) !== true)
      expect(lines).toEqual([])
    })
    this.#process.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    for (const stream of [this.#process.stdout!, this.#process.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.output += text
        for (const look of this.#looks) look()
      })
    }
    this.#ended = once(this.#process, 'close').then(() => {
      for (const look of this.#looks) look()
    })
  }

  get lines(): string[] {
    return this.output.split('\n')
  }

  /** Resolves when `count` lines match. Rejects if the program ends before that. */
  async printed(line: RegExp, times = 1): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const look = () => {
        if (this.lines.filter(printed => line.test(printed)).length >= times) resolve()
        else if (this.#process.exitCode !== null) reject(new Error(`it ended before ${line}:\n${this.output}`))
      }
      this.#looks.add(look)
      look()
    })
  }

  kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal)
  }

  /** Resolves with the exit code, once the process has ended and all output was read. */
  async exitCode(): Promise<number | null> {
    await this.#ended
    return this.#process.exitCode
  }
}
