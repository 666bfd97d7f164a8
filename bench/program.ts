import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Measurement, Task } from './row.js'
import { compiled, type Script } from './scripts.js'

/** A program whose last argument is the task as JSON, and which prints its measurement as JSON. */
export interface Program {
  /** The program and its first arguments. Rejects with `Unavailable` if the program cannot run on this machine. */
  readonly command: () => Promise<readonly string[]>
}

const run = promisify(execFile)

/** The command for a compiled script. Node runs it directly, so that a kill reaches the script itself. */
export const script = (name: Script, args: readonly string[], node = process.execPath): readonly string[] => [
  node,
  compiled(name),
  ...args,
]

/** Runs a program once. It is killed after 5 minutes. */
export async function measured(command: readonly string[], task: Task): Promise<Measurement> {
  const [program, ...args] = command
  const { stdout } = await run(program!, [...args, JSON.stringify(task)], {
    timeout: 300_000,
    killSignal: 'SIGKILL',
  })
  return JSON.parse(stdout)
}
